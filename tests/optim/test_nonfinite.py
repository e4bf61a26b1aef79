"""``on_nonfinite``: a gradient that is infinite or NaN reaches neither parameters nor state."""

from __future__ import annotations

import copy
import math
import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from downslope import optim
from downslope.errors import InputError, NonfiniteGradientError
from downslope.schedules import linear

from .catalogue import BACKWARD, CATALOGUE, DRIVEN, Entry, each, each_implementation
from .harness import (
    assert_equal_state,
    assert_same_bits,
    build,
    detached,
    drive,
    gradients,
    leaves,
    rows_of,
    snapshot,
    start_of,
    tensors,
    zoo,
)

ROWS = gradients(zoo(), 4)
BAD = (math.nan, math.inf, -math.inf)
SKIPS = pytest.mark.filterwarnings("ignore:.*skipped_steps counts them")


def rows(entry: Entry) -> tuple[tuple[Tensor, ...], ...]:
    """The gradients of four steps, in the form that an optimizer takes."""
    return rows_of(entry, start_of(entry), 4)


def damaged(row: Sequence[Tensor], value: float, tensor: int = -1, at: int = 5) -> list[Tensor]:
    """The gradients with one number replaced."""
    out = [g.clone() for g in row]
    values = out[tensor]._values() if out[tensor].is_sparse else out[tensor]
    values[np.unravel_index(at, values.shape)] = value
    return out


@SKIPS
@each_implementation(DRIVEN, without=("differentiable",))
@pytest.mark.parametrize("value", BAD)
def test_a_skipped_step_changes_nothing(entry: Entry, flags: dict[str, Any], value: float) -> None:
    """With ``"skip"`` parameters and state keep their bits, and the next step is as if alone."""
    for variant in entry.variants[:2]:
        plain, skipping = leaves(start_of(entry)), leaves(start_of(entry))
        other = build(entry.ours, plain, variant.kwargs, flags)
        optimizer = build(entry.ours, skipping, variant.kwargs, flags, {"on_nonfinite": "skip"})
        first, second, *others = rows(entry)
        drive(other, rows(entry))
        drive(optimizer, [first, damaged(second, value), second, *others])
        assert_same_bits(detached(skipping), detached(plain))
        assert_equal_state(snapshot(optimizer), snapshot(other))
        assert optimizer.skipped_steps == 1


@SKIPS
@each_implementation(DRIVEN, without=("differentiable",))
def test_a_skipped_first_step_leaves_no_state(entry: Entry, flags: dict[str, Any]) -> None:
    """A first step that is skipped makes no state, and the second is the first."""
    plain, skipping = leaves(start_of(entry)), leaves(start_of(entry))
    other = build(entry.ours, plain, widest_momentum(entry), flags)
    optimizer = build(entry.ours, skipping, widest_momentum(entry), flags, {"on_nonfinite": "skip"})
    before = snapshot(optimizer)
    drive(optimizer, [damaged(rows(entry)[0], math.nan)])
    assert snapshot(optimizer)["state"].keys() == before["state"].keys()
    assert_same_bits(tensors(snapshot(optimizer)), tensors(before))
    first, *others = rows(entry)
    some = [g if k % 2 else None for k, g in enumerate(first)]  # makes buckets of other tensors
    for o in (other, optimizer):
        drive(o, [some, *others])
    assert_same_bits(detached(skipping), detached(plain))


def widest_momentum(entry: Entry) -> dict[str, Any]:
    """Arguments whose first step differs from the others, where there are such."""
    return {"momentum": 0.9, "dampening": 0.3} if entry.name == "SGD" else {}


@pytest.mark.parametrize("value", BAD)
@pytest.mark.parametrize("tensor", range(len(zoo())))
@pytest.mark.parametrize("flags", [{}, {"foreach": True}, {"foreach": False}], ids=str)
def test_found_at_any_place(value: float, tensor: int, flags: dict[str, Any]) -> None:
    """The first, the last and a middle number of every tensor are looked at."""
    count = zoo()[tensor].numel()
    for at in {0, count // 2, count - 1} if count else ():
        params = leaves(zoo())
        optimizer = optim.SGD(params, lr=0.1, on_nonfinite="raise", **flags)
        row = [g.contiguous() for g in ROWS[0]]
        with pytest.raises(NonfiniteGradientError, match=rf"parameter {tensor} of group 0 "):
            drive(optimizer, [damaged(row, value, tensor, at)])
        assert_same_bits(detached(params), zoo())


def test_found_beyond_the_first_chunk() -> None:
    """In a tensor of several chunks the last number counts too."""
    p = torch.zeros(100_003, requires_grad=True)
    g = torch.ones(100_003)
    g[-1] = math.nan
    with pytest.raises(NonfiniteGradientError, match="1 NaN and 0 infinite of 100003 numbers"):
        drive(optim.SGD([p], on_nonfinite="raise"), [[g]])


def test_the_error_names_the_parameter() -> None:
    """Named parameters are named, and how many others are not finite is said."""
    model = torch.nn.Sequential(torch.nn.Linear(2, 2), torch.nn.Linear(2, 1))
    optimizer = optim.AdamW(model.named_parameters(), on_nonfinite="raise")
    for p in model.parameters():
        p.grad = torch.zeros_like(p)
    assert model[1].weight.grad is not None
    assert model[1].bias.grad is not None
    model[1].weight.grad[0, 1] = math.inf
    model[1].bias.grad[0] = math.nan
    with pytest.raises(
        NonfiniteGradientError, match=r"AdamW: .*'1\.weight' has 0 NaN and 1 infinite of 2.*1 other"
    ) as caught:
        optimizer.step()
    assert "\n" not in str(caught.value)
    assert not optimizer.state


@pytest.mark.parametrize("flags", [{}, {"foreach": True}, {"foreach": False}], ids=str)
def test_one_bad_gradient_stops_all_groups(flags: dict[str, Any]) -> None:
    """No tensor of any group or kind of number moves when one gradient is NaN."""
    params = [torch.ones(3, dtype=d, requires_grad=True) for d in (torch.float64, torch.float32)]
    groups = [{"params": [p]} for p in params]
    optimizer = optim.AdamW(groups, on_nonfinite="raise", **flags)
    row = [torch.ones(3, dtype=torch.float64), torch.tensor([1.0, math.nan, 1.0])]
    with pytest.raises(NonfiniteGradientError, match="parameter 0 of group 1"):
        drive(optimizer, [row])
    assert all(torch.equal(p.detach(), torch.ones_like(p)) for p in params)


def test_sparse_gradients_are_looked_at() -> None:
    """A NaN in a sparse gradient is found."""
    p = torch.ones(7, 3, requires_grad=True)
    g = torch.sparse_coo_tensor(
        torch.tensor([[1, 1]]), torch.tensor([[1.0, 1, 1], [1, math.nan, 1]]), (7, 3),
        check_invariants=True,
    )  # fmt: skip
    with pytest.raises(NonfiniteGradientError, match="1 NaN"):
        drive(optim.SGD([p], on_nonfinite="raise"), [[g]])


@SKIPS
def test_schedules_wait() -> None:
    """A skipped step does not count for a schedule."""
    p = torch.zeros(2, requires_grad=True)
    optimizer = optim.SGD([p], lr=linear(4, start=1.0, end=0.0), on_nonfinite="skip")
    good, bad = torch.ones(2), torch.tensor([1.0, math.nan])
    for g in (good, bad, bad, good):
        drive(optimizer, [[g]])
    assert optimizer.param_groups[0]["schedule_step"] == 2
    torch.testing.assert_close(p.detach(), torch.full((2,), -1.75))


def test_the_first_skip_is_told() -> None:
    """The first skipped step warns with the parameter's name, the second is only counted."""
    optimizer = optim.SGD([("w", torch.zeros(2, requires_grad=True))], on_nonfinite="skip")
    bad = [[torch.full((2,), math.nan)]]
    with pytest.warns(UserWarning, match=r"gradient of 'w' has 2 NaN.*skipped_steps"):
        drive(optimizer, bad)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        drive(optimizer, bad)
    assert optimizer.skipped_steps == 2


@SKIPS
def test_skips_are_counted_in_copies_and_not_in_state_dicts() -> None:
    """A deep copy goes on counting; a state dict is torch's."""
    optimizer = optim.SGD([torch.zeros(2, requires_grad=True)], on_nonfinite="skip")
    drive(optimizer, [[torch.full((2,), math.nan)]])
    assert copy.deepcopy(optimizer).skipped_steps == 1
    assert optimizer.state_dict().keys() == {"state", "param_groups"}
    assert "on_nonfinite" not in optimizer.param_groups[0]


@each_implementation(BACKWARD, without=("differentiable",))
def test_steps_that_a_grad_scaler_skips_are_counted(entry: Entry, flags: dict[str, Any]) -> None:
    """Where the step itself is told of an overflow, it counts; else GradScaler does not call it."""
    params = leaves(start_of(entry))
    optimizer = build(entry.ours, params, flags)
    scaler = torch.amp.GradScaler("cpu", init_scale=4.0)
    row = damaged(rows(entry)[0], math.inf)
    loss = torch.stack([(p * g).sum() for p, g in zip(params, row, strict=True)]).sum()
    scaler.scale(loss).backward()
    scaler.step(optimizer)
    scaler.update()
    assert optimizer.skipped_steps == int(bool(flags.get("fused")))
    assert_same_bits(detached(params), start_of(entry))


@each_implementation(tuple(e for e in DRIVEN if e.name in {"SGD", "AdamW"}))
def test_without_it_nan_goes_where_torchs_recipe_takes_it(
    entry: Entry, flags: dict[str, Any]
) -> None:
    """By default a NaN steps, as in torch, and with ``clip_norm`` it reaches every parameter."""
    params = leaves(zoo(), flags)
    optimizer = build(entry.ours, params, flags)
    drive(optimizer, [damaged(ROWS[0], math.nan)])
    assert all(p.isfinite().all() for p in params[:-1])
    clipped = leaves(zoo(), flags)
    drive(build(entry.ours, clipped, flags, {"clip_norm": 1.0}), [damaged(ROWS[0], math.nan)])
    assert all(p.isnan().all() for p in clipped)


@SKIPS
def test_the_norm_says_what_was_seen() -> None:
    """After a skipped step ``grad_norm`` is not finite; after the next it is."""
    optimizer = optim.SGD([torch.zeros(2, requires_grad=True)], on_nonfinite="skip")
    drive(optimizer, [[torch.tensor([1.0, math.inf])]])
    assert optimizer.grad_norm == math.inf
    drive(optimizer, [[torch.tensor([3.0, 4.0])]])
    assert optimizer.grad_norm == 5.0


def test_differentiable_steps_are_stopped_too() -> None:
    """Inside autograd a NaN is an error as well, and nothing was changed."""
    p = torch.ones(3, requires_grad=True).clone()
    optimizer = optim.SGD([p], differentiable=True, on_nonfinite="raise")
    p.grad = torch.tensor([1.0, math.nan, 1.0])
    with pytest.raises(NonfiniteGradientError):
        optimizer.step()
    assert torch.equal(p.detach(), torch.ones(3))


@each(CATALOGUE)
@pytest.mark.parametrize("value", ["ignore", True, 1])
def test_bad_policy(entry: Entry, value: Any) -> None:
    """Another word than the two is refused."""
    with pytest.raises(InputError, match=r"on_nonfinite must be 'skip', 'raise' or None"):
        build(entry.ours, leaves(start_of(entry)), {"on_nonfinite": value})


def test_gradients_of_a_skipped_step_are_not_kept() -> None:
    """A step that is not taken keeps no gradient's memory alive."""
    p = torch.zeros(5, requires_grad=True)
    optimizer = optim.SGD([p], on_nonfinite="raise")
    p.grad = torch.full((5, 5), math.nan)[:, 0]  # strided, so that it is copied
    with pytest.raises(NonfiniteGradientError):
        optimizer.step()
    assert not optimizer._buckets.placed
