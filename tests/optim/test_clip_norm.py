"""``clip_norm``: the norm over all gradients, one read of them, and a factor in the update."""

from __future__ import annotations

import copy
import math
import pickle
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torch.autograd import gradcheck

from downslope import optim
from downslope.errors import DownslopeError, InputError, InputTypeError
from downslope.schedules import linear

from .catalogue import BACKWARD, CATALOGUE, DRIVEN, TWINS, Entry, each, each_implementation
from .harness import (
    assert_equal_state,
    assert_same,
    assert_same_bits,
    build,
    detached,
    drive,
    follow_oracle,
    gradients,
    in_full_precision,
    leaves,
    rows_of,
    snapshot,
    start_of,
    zoo,
)
from .test_determinism import end, large, threads, widest

STEPS = 5
ROWS = gradients(zoo(), STEPS)


def rows(entry: Entry) -> tuple[tuple[Tensor, ...], ...]:
    """The gradients of a few steps, in the form that an optimizer takes."""
    return rows_of(entry, start_of(entry), STEPS)


LIMIT = 1.5  # the zoo's gradients have a norm of about 35


def norm(row: Iterable[Tensor]) -> float:
    """The norm of all of these, in float64."""
    dense = [g.to_dense() if g.is_sparse else g for g in row]
    parts = [torch.view_as_real(g) if g.is_complex() else g for g in dense]
    return math.sqrt(sum(float((g.double().numpy() ** 2).sum()) for g in parts))


def near(flags: dict[str, Any]) -> float:
    """How near a norm is: the compiled engine begins sums of float32 squares in float32."""
    operations = flags.get("foreach") is not None or flags.get("differentiable")
    return 1e-12 if operations else 2e-7


def shortened(row: Sequence[Tensor], limit: float = LIMIT) -> list[Tensor]:
    """The gradients as torch's recipe leaves them, computed in float64."""
    share = min(1.0, limit / (norm(row) + 1e-6))
    wide = (g.to(torch.complex128 if g.is_complex() else torch.float64) for g in row)
    return [g * share for g in wide]


def expected(entry: Entry, kwargs: Any = (), limit: float = LIMIT) -> list[Tensor]:
    """Where the oracle goes with the shortened gradients."""
    short = [shortened(row, limit) for row in rows(entry)]
    ends, _ = follow_oracle(entry, start_of(entry), short, dict(kwargs))
    return [e.float() for e in ends]


@each_implementation(DRIVEN)
def test_follows_the_oracle(entry: Entry, flags: dict[str, Any]) -> None:
    """In every engine the step is the oracle's with gradients that were shortened before."""
    for variant in entry.variants[:3]:
        params = leaves(start_of(entry), flags)
        optimizer = build(entry.ours, params, variant.kwargs, flags, {"clip_norm": LIMIT})
        with in_full_precision():
            drive(optimizer, rows(entry))
        assert_same(params, expected(entry, variant.kwargs))


@each_implementation(DRIVEN)
def test_short_gradients_are_left_alone(entry: Entry, flags: dict[str, Any]) -> None:
    """Below the threshold the step has the bits of one without clipping."""
    plain, clipped = leaves(start_of(entry), flags), leaves(start_of(entry), flags)
    drive(build(entry.ours, plain, flags), rows(entry))
    drive(build(entry.ours, clipped, flags, {"clip_norm": 1e3}), rows(entry))
    assert_same_bits(detached(clipped), detached(plain))


@each_implementation(BACKWARD, without=("differentiable",))
def test_gradients_are_not_rewritten(entry: Entry, flags: dict[str, Any]) -> None:
    """After the step each gradient has its bits."""
    params = leaves(start_of(entry))
    optimizer = build(entry.ours, params, flags, {"clip_norm": LIMIT})
    drive(optimizer, rows(entry)[:1])
    assert_same_bits((p.grad for p in params), rows(entry)[0])


@each_implementation(DRIVEN)
def test_grad_norm_is_the_norm_of_all_gradients(entry: Entry, flags: dict[str, Any]) -> None:
    """``grad_norm`` is the whole norm before clipping; ``inf`` measures without clipping."""
    for limit in (LIMIT, math.inf):
        optimizer = build(entry.ours, leaves(start_of(entry), flags), flags, {"clip_norm": limit})
        assert optimizer.grad_norm is None
        for row in rows(entry)[:2]:
            drive(optimizer, [row])
            assert optimizer.grad_norm == pytest.approx(norm(row), rel=near(flags))


def test_no_norm_without_a_reason() -> None:
    """An optimizer that does not clip computes no norm."""
    optimizer = optim.AdamW(leaves(zoo()))
    drive(optimizer, ROWS[:1])
    assert optimizer.grad_norm is None


@each(DRIVEN)
@pytest.mark.parametrize("count", [2, 3])
def test_same_bits_at_any_thread_count(entry: Entry, count: int) -> None:
    """The norm and the step after it do not depend on the number of threads."""
    ends = []
    for n in (1, count):
        with threads(n):
            ends.append(end(entry, widest(entry), {"clip_norm": LIMIT}))
    assert_same_bits(*ends)
    assert norm(rows_of(entry, large(entry), 3)[0]) > LIMIT


@each_implementation(DRIVEN, without=("differentiable",))
def test_order_of_parameters_does_not_matter(entry: Entry, flags: dict[str, Any]) -> None:
    """The norm has the same bits in any order of the parameters."""
    forth, back = leaves(start_of(entry)), leaves(start_of(entry)[::-1])
    turned = [row[::-1] for row in rows(entry)]
    drive(build(entry.ours, forth, flags, {"clip_norm": LIMIT}), rows(entry))
    drive(build(entry.ours, back, flags, {"clip_norm": LIMIT}), turned)
    assert_same_bits(detached(forth), detached(back[::-1]))


def test_one_norm_for_all_groups_engines_and_kinds() -> None:
    """Float, double, half, complex, sparse and strided tensors in five groups share one norm."""
    make = torch.Generator().manual_seed(3)
    draw = [torch.randn(5, 4, generator=make, dtype=torch.float64) for _ in range(12)]
    start = [
        draw[0].float(), draw[1], draw[2].half(), torch.complex(draw[3], draw[4]),
        draw[5].float(), draw[6].float()[::2, ::2], draw[7].float(), draw[8],
    ]  # fmt: skip
    flags: list[dict[str, Any]] = [{}, {}, {}, {}, {}, {}, {"foreach": False}, {"foreach": True}]
    row = [3 * t.clone() for t in start]
    dense = [*row]
    row[4] = torch.sparse_coo_tensor(
        torch.tensor([[0, 3, 3]]), draw[9][:3].float(), (5, 4), check_invariants=True
    )
    dense[4] = row[4].to_dense()
    params = leaves(start)
    groups = [{"params": [p], **f} for p, f in zip(params, flags, strict=True)]
    optimizer = optim.SGD(groups, lr=1.0, clip_norm=LIMIT)
    drive(optimizer, [row])
    assert optimizer.grad_norm == pytest.approx(norm(dense), rel=1e-6)
    for p, before, g in zip(params, start, shortened(dense), strict=True):
        wanted = (before.to(g.dtype) - g).to(p.dtype)
        near = 4 * torch.finfo(p.dtype).eps
        torch.testing.assert_close(p.detach(), wanted, rtol=near, atol=near)


def test_squares_do_not_overflow_or_vanish() -> None:
    """The norm of float32 gradients of any size is right, where float32 squares are not."""
    for size in (1e30, 1e-30):
        p = torch.nn.Parameter(torch.zeros(1000))
        for flags in ({}, {"foreach": False}, {"foreach": True}):
            optimizer = optim.SGD([p], lr=1.0, clip_norm=math.inf, **flags)
            drive(optimizer, [[torch.full((1000,), size)]])
            assert optimizer.grad_norm == pytest.approx(math.sqrt(1000) * size, rel=1e-6)


@pytest.mark.parametrize("size", [1e30, 1e19, 1.0, 1e-13, 1e-21, 1e-30])
def test_norms_of_long_gradients_are_right(size: float) -> None:
    """Where squares are begun in float32, norms of gradients of any size are those of float64."""
    make = torch.Generator().manual_seed(11)
    drawn = torch.randn(70_001, generator=make) * size
    alone = torch.zeros(70_001)
    alone[69_000] = size
    for g, rel in ((drawn, 1e-9), (torch.full((70_001,), 0.7 * size), 2e-7), (alone, 1e-7)):
        optimizer = optim.SGD(leaves([g]), lr=0.0, clip_norm=math.inf)
        drive(optimizer, [[g]])
        assert optimizer.grad_norm == pytest.approx(norm([g]), rel=rel, abs=0)


@given(
    sizes=st.lists(st.integers(0, 700), min_size=1, max_size=4),
    limit=st.floats(1e-3, 1e3),
    scale=st.floats(1e-6, 1e6),
    foreach=st.sampled_from([None, True, False]),
    seed=st.integers(0, 2**31),
)
def test_never_longer_than_the_limit(
    sizes: list[int], limit: float, scale: float, foreach: bool | None, seed: int
) -> None:
    """For any shapes, thresholds and gradients: the step's length is the shorter of the two."""
    make = torch.Generator().manual_seed(seed)
    row = [torch.randn(n, generator=make) * scale for n in sizes]
    params = [torch.zeros(n, requires_grad=True) for n in sizes]
    drive(optim.SGD(params, lr=1.0, clip_norm=limit, foreach=foreach), [row])
    wanted = min(norm(row), limit * norm(row) / (norm(row) + 1e-6))
    assert norm(detached(params)) == pytest.approx(wanted, rel=1e-5, abs=1e-30)


@each(tuple(e for e in TWINS if e in BACKWARD))
def test_same_as_torchs_recipe(entry: Entry) -> None:
    """It goes where torch's class goes after ``torch.nn.utils.clip_grad_norm_``."""
    ours, theirs = leaves(start_of(entry)), leaves(start_of(entry))
    drive(build(entry.ours, ours, {"clip_norm": LIMIT}), rows(entry))
    drive(
        build(entry.torch, theirs, entry.one_by_one),
        rows(entry),
        before=lambda _: torch.nn.utils.clip_grad_norm_(theirs, LIMIT),
    )
    near = 1e-6 + entry.slack
    torch.testing.assert_close(detached(ours), detached(theirs), rtol=1e-5, atol=near)


def test_accumulated_gradients_are_clipped_as_one() -> None:
    """Gradients added up over micro-batches, or by DDP over ranks, are one gradient."""
    parts, whole = leaves(zoo()), leaves(zoo())
    split, joined = (optim.SGD(p, lr=0.1, clip_norm=LIMIT) for p in (parts, whole))
    for p, a, b in zip(parts, ROWS[0], ROWS[1], strict=True):
        p.grad = a.clone()
        p.grad += b
    split.step()
    drive(joined, [[a + b for a, b in zip(ROWS[0], ROWS[1], strict=True)]])
    assert_same_bits(detached(parts), detached(whole))


# -- groups ---------------------------------------------------------------------------------------


def two_groups(**second: Any) -> tuple[list[Tensor], optim.Optimizer]:
    """SGD by 1 over two groups from zero, the first clipped by the optimizer's threshold of 1."""
    params = [torch.zeros(3, requires_grad=True) for _ in range(3)]
    groups = [{"params": params[:1]}, {"params": params[1:2], **second}, {"params": params[2:]}]
    return params, optim.SGD(groups, lr=1.0, clip_norm=1.0)


def lengths(params: Iterable[Tensor]) -> list[float]:
    return [float(p.detach().norm()) for p in params]


FULL = [torch.full((3,), g) for g in (4 / math.sqrt(3), 2 / math.sqrt(3), 3 / math.sqrt(3))]


@pytest.mark.parametrize(
    ("second", "wanted"),
    [
        ({}, [4 / math.sqrt(29), 2 / math.sqrt(29), 3 / math.sqrt(29)]),
        ({"clip_norm": 0.5}, [0.8, 0.5, 0.6]),
        ({"clip_norm": None}, [0.8, 2.0, 0.6]),
        (
            {"clip_norm": 0.5, "clip_norm_over": "optimizer"},
            [4 / math.sqrt(29), 1 / math.sqrt(29), 3 / math.sqrt(29)],
        ),
    ],
    ids=["joint", "alone", "unclipped", "joint-with-its-own-threshold"],
)
def test_groups(second: dict[str, Any], wanted: list[float]) -> None:
    """Groups are clipped together, but for one that gives its own threshold, or None."""
    params, optimizer = two_groups(**second)
    drive(optimizer, [FULL])
    assert lengths(params) == pytest.approx(wanted, rel=1e-5)
    assert optimizer.grad_norm == pytest.approx(math.sqrt(29), rel=1e-6)


def test_a_threshold_set_later_counts() -> None:
    """One that is put into a group, changed or removed there is the next step's."""
    p = torch.zeros(3, requires_grad=True)
    optimizer = optim.SGD([p], lr=1.0)
    seen = []
    for limit in ("none yet", 1.0, 0.5, None):
        if limit != "none yet":
            optimizer.param_groups[0]["clip_norm"] = limit
        before = p.detach().clone()
        drive(optimizer, [FULL[:1]])
        seen.append(float((p.detach() - before).norm()))
    assert seen == pytest.approx([4.0, 1.0, 0.5, 4.0], rel=1e-5)


def test_a_group_added_later_is_clipped_with_the_others() -> None:
    """``add_param_group`` gives the new group the optimizer's threshold."""
    first, second = (torch.zeros(3, requires_grad=True) for _ in range(2))
    optimizer = optim.SGD([first], lr=1.0, clip_norm=1.0)
    drive(optimizer, [FULL[:1]])
    optimizer.add_param_group({"params": [second]})
    drive(optimizer, [FULL[:2]])
    assert lengths([second]) == pytest.approx([2 / math.sqrt(20)], rel=1e-5)


def test_a_schedule_of_thresholds() -> None:
    """A schedule in place of the number is evaluated every step, for each group."""
    p = torch.zeros(3, requires_grad=True)
    optimizer = optim.SGD([p], lr=1.0, clip_norm=linear(4, start=1.0, end=0.5))
    seen = []
    for _ in range(3):
        before = p.detach().clone()
        drive(optimizer, [FULL[:1]])
        seen.append(float((p.detach() - before).norm()))
    assert seen == pytest.approx([1.0, 0.875, 0.75], rel=1e-5)


def test_a_tensor_threshold_is_read_every_step() -> None:
    """A one-element tensor may change in place."""
    limit, p = torch.tensor(1.0), torch.zeros(3, requires_grad=True)
    optimizer = optim.SGD([p], lr=1.0, clip_norm=limit)
    drive(optimizer, [FULL[:1]])
    limit.fill_(0.5)
    drive(optimizer, [FULL[:1]])
    assert lengths([p]) == pytest.approx([1.5], rel=1e-5)


def test_many_groups_with_their_own_thresholds() -> None:
    """A hundred groups, each clipped alone, move by their thresholds."""
    params = [torch.zeros(3, requires_grad=True) for _ in range(100)]
    limits = np.linspace(0.1, 1.0, 100)
    groups = [{"params": [p], "clip_norm": c} for p, c in zip(params, limits, strict=True)]
    drive(optim.SGD(groups, lr=1.0), [[FULL[0]] * 100])
    assert lengths(params) == pytest.approx(limits, rel=1e-5)


# -- bad input ------------------------------------------------------------------------------------


@each(CATALOGUE)
@pytest.mark.parametrize("limit", [0, -1.0, float("nan"), True, "1.0"])
def test_bad_thresholds(entry: Entry, limit: Any) -> None:
    """A threshold that would stop or turn the training is refused: given, in a group, or later."""
    p = torch.ones(2, 2, requires_grad=True)
    tries = [
        lambda: build(entry.ours, [p], {"clip_norm": limit}),
        lambda: build(entry.ours, [{"params": [p], "clip_norm": limit}]),
    ]
    for attempt in tries:
        with pytest.raises(DownslopeError, match=r"clip_norm must be a number > 0"):
            attempt()
    optimizer = build(entry.ours, [p], {"clip_norm": 2.0})
    optimizer.param_groups[0]["clip_norm"] = limit
    with pytest.raises(DownslopeError, match="clip_norm"):
        drive(optimizer, [[torch.ones(2, 2)]])
    assert torch.equal(p.detach(), torch.ones(2, 2))


@each(CATALOGUE)
def test_an_unknown_argument_is_refused(entry: Entry) -> None:
    """An argument that no optimizer has is a TypeError that offers the nearest."""
    with pytest.raises(InputTypeError, match=r"unexpected keyword argument 'clip_nrm'.*clip_norm"):
        build(entry.ours, [torch.ones(2, 2, requires_grad=True)], {"clip_nrm": 1.0})


def test_a_misspelt_group_key_is_refused() -> None:
    """A group's key near ``clip_norm`` is refused, whether or not the optimizer clips."""
    group = {"params": [torch.ones(2, requires_grad=True)], "clipnorm": 1.0}
    with pytest.raises(InputError, match="Did you mean 'clip_norm'"):
        optim.SGD([group])


# -- saving ---------------------------------------------------------------------------------------


def with_groups(entry: Entry, cls: Any, **kwargs: Any) -> tuple[list[Tensor], Any]:
    """Two groups; ours clip the second alone."""
    params = leaves(start_of(entry))
    own = {"clip_norm": 0.3} if "clip_norm" in kwargs else {}
    groups = [{"params": params[:2]}, {"params": params[2:], **own}]
    return params, cls(groups, **kwargs)


@each(TWINS)
def test_torch_loads_ours_and_we_load_torchs(entry: Entry) -> None:
    """A clipping checkpoint loads in torch; torch's loads here, and our thresholds stay."""
    _, ours = with_groups(entry, entry.ours, clip_norm=LIMIT)
    drive(ours, rows(entry)[:2])
    _, theirs = with_groups(entry, entry.torch)
    theirs.load_state_dict(snapshot(ours))
    drive(theirs, rows(entry)[2:4])
    params, resumed = with_groups(entry, entry.ours, clip_norm=LIMIT)
    resumed.load_state_dict(snapshot(theirs))
    assert [g["clip_norm"] for g in resumed.param_groups] == [LIMIT, 0.3]
    drive(resumed, rows(entry)[4:])
    assert resumed.grad_norm == pytest.approx(norm(rows(entry)[4]), rel=near({}))
    assert all(p.isfinite().all() for p in params)


@each(TWINS)
def test_thresholds_survive_a_checkpoint_without_them(entry: Entry) -> None:
    """What torch's checkpoint does not know keeps its value here, each group its own."""
    _, theirs = with_groups(entry, entry.torch)
    drive(theirs, rows(entry)[:2])
    _, ours = with_groups(entry, entry.ours, clip_norm=LIMIT)
    ours.load_state_dict(snapshot(theirs))
    assert [(g["clip_norm"], g["clip_norm_over"]) for g in ours.param_groups] == [
        (LIMIT, "optimizer"),
        (0.3, "group"),
    ]


@each(DRIVEN)
def test_resuming_changes_no_bit(entry: Entry) -> None:
    """The thresholds are saved: a fresh optimizer without any goes on in the same bits."""
    params, optimizer = with_groups(entry, entry.ours, clip_norm=LIMIT)
    drive(optimizer, rows(entry)[:2])
    again = leaves(params)
    resumed = build(entry.ours, [{"params": again[:2]}, {"params": again[2:]}])
    resumed.load_state_dict(snapshot(optimizer))
    for o in (optimizer, resumed):
        drive(o, rows(entry)[2:])
    assert_same_bits(detached(again), detached(params))
    assert_equal_state(snapshot(resumed), snapshot(optimizer))


@each(DRIVEN)
@pytest.mark.parametrize("duplicate", [copy.deepcopy, lambda o: pickle.loads(pickle.dumps(o))])
def test_copies_clip_too(entry: Entry, duplicate: Any) -> None:
    """A deep copy or a pickle clips as the original, and keeps what it does about NaN."""
    params, optimizer = with_groups(entry, entry.ours, clip_norm=LIMIT, on_nonfinite="skip")
    drive(optimizer, rows(entry)[:1])
    twin = duplicate(optimizer)
    for o in (optimizer, twin):
        drive(o, rows(entry)[1:3])
    moved = [p for group in twin.param_groups for p in group["params"]]
    assert_same_bits(detached(moved), detached(params))
    assert twin.on_nonfinite == "skip"


# -- autograd and scaling -------------------------------------------------------------------------


@pytest.mark.parametrize("limit", [0.5, 50.0])
@each(tuple(e for e in CATALOGUE if e.name in {"SGD", "AdamW", "RMSprop"}))
def test_differentiable_through_the_norm(entry: Entry, limit: float) -> None:
    """``differentiable=True`` follows the norm too: gradients equal central differences."""

    def end(start: Tensor, threshold: Tensor) -> Tensor:
        p = start.clone()
        kwargs = {"momentum": 0.5} if entry.name == "SGD" else {"eps": 0.1}
        optimizer = build(entry.ours, [p], kwargs, {"lr": 0.05, "differentiable": True})
        optimizer.param_groups[0]["clip_norm"] = threshold
        for _ in range(3):
            loss = ((p - 0.3) ** 4).sum() + (p * p.roll(1)).sum()
            (p.grad,) = torch.autograd.grad(loss, p, create_graph=True)
            optimizer.step()
        return p

    start = torch.tensor([0.7, -1.3, 0.4], dtype=torch.float64, requires_grad=True)
    threshold = torch.tensor(limit, dtype=torch.float64, requires_grad=True)
    assert gradcheck(end, (start, threshold), eps=1e-6, atol=1e-5, rtol=1e-5)


@each_implementation(BACKWARD, without=("differentiable",))
def test_scaled_gradients_are_unscaled_before_they_are_measured(
    entry: Entry, flags: dict[str, Any]
) -> None:
    """Under a GradScaler the norm is that of the unscaled gradients, however they are unscaled."""
    for unscale_first in (False, True):
        params = leaves(start_of(entry))
        optimizer = build(entry.ours, params, flags, {"clip_norm": LIMIT})
        scaler = torch.amp.GradScaler("cpu", init_scale=2.0**10, growth_interval=1000)
        for row in rows(entry):
            loss = torch.stack([(p * g).sum() for p, g in zip(params, row, strict=True)]).sum()
            optimizer.zero_grad()
            scaler.scale(loss).backward()
            if unscale_first:
                scaler.unscale_(optimizer)
            with in_full_precision():
                scaler.step(optimizer)
            scaler.update()
            assert optimizer.grad_norm == pytest.approx(norm(row), rel=1e-6)
        assert_same(params, expected(entry))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=["fp16", "bf16"])
@pytest.mark.parametrize("flags", [{"fused": True}, {"foreach": True}, {"foreach": False}])
def test_half_precision(dtype: torch.dtype, flags: dict[str, Any]) -> None:
    """The norm of 16-bit gradients is that of their values, though their squares overflow."""
    g = torch.full((4000,), 300.0).to(dtype)
    p = torch.zeros(4000, dtype=dtype, requires_grad=True)
    optimizer = optim.SGD([p], lr=1.0, clip_norm=float(g[0]) * math.sqrt(4000) / 2, **flags)
    drive(optimizer, [[g]])
    assert optimizer.grad_norm == pytest.approx(float(g[0]) * math.sqrt(4000), rel=1e-9)
    torch.testing.assert_close(p.detach(), -g / 2, rtol=2 * torch.finfo(dtype).eps, atol=0)


def test_fp16_parameters_under_a_grad_scaler() -> None:
    """``fused=True`` takes fp16 gradients still scaled, which torch's ``unscale_`` refuses."""
    p = torch.zeros(100, dtype=torch.float16, requires_grad=True)
    optimizer = optim.SGD([p], lr=1.0, clip_norm=1.0, fused=True)
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0**8)
    scaler.scale((p * 2.0).sum()).backward()
    scaler.step(optimizer)
    scaler.update()
    assert optimizer.grad_norm == pytest.approx(20.0)
    torch.testing.assert_close(p.detach(), torch.full_like(p, -0.1), rtol=2e-3, atol=0)


def test_maximize_turns_the_clipped_gradient() -> None:
    """``maximize`` steps up by the threshold."""
    p = torch.zeros(3, requires_grad=True)
    drive(optim.SGD([p], lr=1.0, maximize=True, clip_norm=1.0), [FULL[:1]])
    torch.testing.assert_close(p.detach(), FULL[0] / 4, rtol=1e-5, atol=0)


def test_widest_variants_are_clipped_too() -> None:
    """Momentum, weight decay and amsgrad leave the norm that of the gradients alone."""
    for entry in DRIVEN:
        optimizer = build(entry.ours, leaves(start_of(entry)), widest(entry), {"clip_norm": LIMIT})
        drive(optimizer, rows(entry)[:2])
        assert optimizer.grad_norm == pytest.approx(norm(rows(entry)[1]), rel=near({}))
