"""The learning rate: changed between steps, a tensor, driven by torch's schedulers, a Schedule."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch.optim import lr_scheduler

from downslope import schedules

from .catalogue import DRIVEN, TWINS, Entry, each, each_implementation
from .harness import (
    assert_same,
    assert_same_bits,
    build,
    detached,
    drive,
    leaves,
    rows_of,
    snapshot,
    start_of,
)

STEPS = 11
LRS = [0.01 * 0.8**i for i in range(STEPS)]


def start(entry: Entry) -> tuple[torch.Tensor, ...]:
    """The parameters' first values."""
    return start_of(entry, torch.float64)


def rows(entry: Entry) -> tuple[tuple[torch.Tensor, ...], ...]:
    """Their gradients."""
    return rows_of(entry, start(entry), STEPS)


Before = Callable[[torch.optim.Optimizer], Callable[[int], object]]


def end(
    entry: Entry, cls: type[torch.optim.Optimizer], *kwargs: Any, before: Before | None = None
) -> list[torch.Tensor]:
    """Where the parameters are after STEPS steps."""
    params = leaves(start(entry), kwargs[-1] if kwargs else None)
    optimizer = build(cls, params, *kwargs)
    drive(optimizer, rows(entry), before(optimizer) if before else None)
    return detached(params)


def by_hand(optimizer: torch.optim.Optimizer) -> Callable[[int], object]:
    """Set ``LRS[i]`` before step i."""

    def set_lr(i: int) -> None:
        for group in optimizer.param_groups:
            group["lr"] = LRS[i]

    return set_lr


def in_place(optimizer: torch.optim.Optimizer) -> Callable[[int], object]:
    """Fill the tensor lr with ``LRS[i]`` before step i."""
    return lambda i: optimizer.param_groups[0]["lr"].fill_(LRS[i])


@each_implementation(TWINS)
def test_changed_between_steps(entry: Entry, flags: dict[str, Any]) -> None:
    """A learning rate set in the group counts from the next step on, as in torch."""
    assert_same(
        end(entry, entry.ours, flags, before=by_hand), end(entry, entry.torch, before=by_hand)
    )


@each_implementation(DRIVEN)
def test_tensor_changed_in_place(entry: Entry, flags: dict[str, Any]) -> None:
    """A float64 tensor lr that is filled in place gives the numbers of a float set by hand."""
    if flags.get("foreach") and entry.name in {"Adam", "AdamW"}:
        flags = {"foreach": False}  # refused with a tensor lr, as in torch
    tensor = {"lr": torch.tensor(1.0, dtype=torch.float64)}
    assert_same(
        end(entry, entry.ours, tensor, flags, before=in_place),
        end(entry, entry.ours, flags, before=by_hand),
    )


@each(DRIVEN)
@pytest.mark.parametrize("shape", [(), (1,), (1, 1)])
def test_one_element_tensors_of_any_shape(entry: Entry, shape: tuple[int, ...]) -> None:
    """A tensor lr may have any shape of one element, as in torch."""
    tensor = torch.full(shape, 0.01, dtype=torch.float64)
    assert_same(end(entry, entry.ours, {"lr": tensor}), end(entry, entry.ours, {"lr": 0.01}))


SCHEDULERS: dict[str, Callable[[torch.optim.Optimizer], Any]] = {
    "step": lambda o: lr_scheduler.StepLR(o, step_size=3, gamma=0.5),
    "cosine": lambda o: lr_scheduler.CosineAnnealingLR(o, T_max=STEPS),
    "warmup": lambda o: lr_scheduler.LinearLR(o, start_factor=0.1, total_iters=5),
    "lambda": lambda o: lr_scheduler.LambdaLR(o, lambda step: 0.9**step),
    "sequence": lambda o: lr_scheduler.SequentialLR(
        o,
        [lr_scheduler.LinearLR(o, total_iters=4), lr_scheduler.ExponentialLR(o, 0.8)],
        milestones=[4],
    ),
    "one-cycle": lambda o: lr_scheduler.OneCycleLR(
        o, max_lr=0.05, total_steps=STEPS + 1, cycle_momentum=False
    ),
}


@each(TWINS)
@pytest.mark.parametrize("name", SCHEDULERS)
def test_driven_by_torchs_schedulers(entry: Entry, name: str) -> None:
    """Torch's scheduler classes drive our optimizer as they drive torch's."""
    ends = []
    for cls in (entry.ours, entry.torch):
        params = leaves(start(entry))
        optimizer = build(cls, params)
        scheduler = SCHEDULERS[name](optimizer)
        for row in rows(entry):
            drive(optimizer, [row])
            scheduler.step()
        ends.append(params)
    assert_same(*ends, entry.slack)


@each(tuple(e for e in TWINS if e.name in {"SGD", "Adam", "AdamW"}))
def test_momentum_cycled_by_torchs_scheduler(entry: Entry) -> None:
    """OneCycleLR cycles our momentum or beta1 as it cycles torch's."""
    momentum = {"momentum": 0.9} if entry.name == "SGD" else {}
    ends = []
    for cls in (entry.ours, entry.torch):
        params = leaves(start(entry))
        optimizer = build(cls, params, momentum)
        scheduler = lr_scheduler.OneCycleLR(optimizer, max_lr=0.05, total_steps=STEPS + 1)
        for row in rows(entry):
            drive(optimizer, [row])
            scheduler.step()
        ends.append(params)
    assert_same(*ends, entry.slack)


SCHEDULE = schedules.warmup(4) >> schedules.cosine(6)


@each_implementation(DRIVEN)
def test_schedule_in_place_of_lr(entry: Entry, flags: dict[str, Any]) -> None:
    """A Schedule as ``lr`` gives the numbers of setting its values by hand, step after step."""
    schedule = SCHEDULE.scaled(0.02)

    def set_lr(optimizer: torch.optim.Optimizer) -> Callable[[int], object]:
        return lambda i: optimizer.param_groups[0].update(lr=schedule(i))

    by_schedule = end(entry, entry.ours, {"lr": schedule}, flags)
    assert_same(by_schedule, end(entry, entry.ours, flags, before=set_lr))


@each(DRIVEN)
def test_schedule_of_one_group(entry: Entry) -> None:
    """Groups may follow different schedules, or none."""
    schedule = SCHEDULE.scaled(0.02)

    def groups(first: Any) -> tuple[list[torch.Tensor], list[dict[str, Any]]]:
        params = leaves(start(entry))
        return params, [{"params": params[:2], "lr": first}, {"params": params[2:]}]

    scheduled, two = groups(schedule)
    drive(build(entry.ours, two), rows(entry))
    expected, two = groups(0.01)
    by_hand = build(entry.ours, two)
    drive(by_hand, rows(entry), lambda i: by_hand.param_groups[0].update(lr=schedule(i)))
    assert_same(scheduled, expected)


@each(DRIVEN)
def test_schedule_resumes_from_the_state_dict(entry: Entry) -> None:
    """A run with a Schedule that is saved and resumed ends in the same bits."""
    kwargs = {"lr": SCHEDULE.scaled(0.02)}
    params = leaves(start(entry))
    optimizer = build(entry.ours, params, kwargs)
    drive(optimizer, rows(entry)[:5])
    resumed = leaves(params)
    second = build(entry.ours, resumed, kwargs)
    second.load_state_dict(snapshot(optimizer))
    for o in (optimizer, second):
        drive(o, rows(entry)[5:])
    assert_same_bits(detached(resumed), detached(params))


@each(DRIVEN)
def test_tensor_lr_is_not_copied(entry: Entry) -> None:
    """The group keeps the caller's tensor, so that changing it changes the steps."""
    lr = torch.tensor(0.01)
    optimizer = entry.ours(leaves(start(entry)), lr=lr)
    assert optimizer.param_groups[0]["lr"] is lr
    drive(optimizer, rows(entry)[:2])
    assert torch.equal(lr, copy.deepcopy(torch.tensor(0.01)))
