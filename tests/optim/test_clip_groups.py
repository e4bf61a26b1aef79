"""Thresholds of ``clip_norm``: each group's, those that are refused, and how they are saved."""

from __future__ import annotations

import copy
import math
import pickle
from collections.abc import Iterable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from downslope import optim
from downslope.errors import DownslopeError, InputError, InputTypeError
from downslope.schedules import linear

from .catalogue import CATALOGUE, DRIVEN, TWINS, Entry, each
from .clipping import FULL, LIMIT, near, norm, rows
from .harness import (
    assert_equal_state,
    assert_same_bits,
    build,
    detached,
    drive,
    leaves,
    snapshot,
    start_of,
)

# -- groups ---------------------------------------------------------------------------------------


def two_groups(**second: Any) -> tuple[list[Tensor], optim.Optimizer]:
    """SGD by 1 over two groups from zero, the first clipped by the optimizer's threshold of 1."""
    params = [torch.zeros(3, requires_grad=True) for _ in range(3)]
    groups = [{"params": params[:1]}, {"params": params[1:2], **second}, {"params": params[2:]}]
    return params, optim.SGD(groups, lr=1.0, clip_norm=1.0)


def lengths(params: Iterable[Tensor]) -> list[float]:
    return [float(p.detach().norm()) for p in params]


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
    with pytest.raises(InputTypeError, match=r"argument 'learning_rate'.*\blr\b"):
        build(entry.ours, [torch.ones(2, 2, requires_grad=True)], {"learning_rate": 1.0})


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
