"""What schedulers refuse: bad arguments, and the states of others."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, cast

import pytest
import torch
import torch.optim.lr_scheduler as theirs
from torch.optim import Optimizer

from downslope.errors import InputError, InputTypeError
from downslope.optim import SGD
from downslope.optim import lr_scheduler as ours
from downslope.schedules import cosine

from .lr_cases import (
    now,
    sequential,
    sgd,
)

BAD: dict[str, tuple[Callable[[Optimizer], Any], str]] = {
    "step_size 0": (lambda o: ours.StepLR(o, 0), "step_size must be a whole number >= 1, got 0"),
    "step_size nan": (lambda o: ours.StepLR(o, cast(int, math.nan)), "step_size .* got nan"),
    "gamma nan": (lambda o: ours.StepLR(o, 3, math.nan), "gamma must be a finite number, got nan"),
    "gamma negative": (lambda o: ours.StepLR(o, 3, -1), "gamma .* >= 0, got -1"),
    "T_max 0": (lambda o: ours.CosineAnnealingLR(o, 0), "T_max must be a finite number > 0, got 0"),
    "T_max negative": (lambda o: ours.CosineAnnealingLR(o, -5), "T_max .* > 0, got -5"),
    "eta_min nan": (lambda o: ours.CosineAnnealingLR(o, 5, math.nan), "eta_min .* got nan"),
    "eta_min negative": (lambda o: ours.CosineAnnealingLR(o, 5, -1e-3), "eta_min .* >= 0"),
    "total_iters 0": (lambda o: ours.LinearLR(o, total_iters=0), "total_iters .* > 0, got 0"),
    "start_factor 0": (lambda o: ours.LinearLR(o, 0), "start_factor .* > 0 and <= 1, got 0"),
    "start_factor nan": (lambda o: ours.LinearLR(o, math.nan), "start_factor .* got nan"),
    "end_factor 2": (lambda o: ours.LinearLR(o, 0.1, 2), "end_factor .* >= 0 and <= 1, got 2"),
    "factor 1": (lambda o: ours.ReduceLROnPlateau(o, factor=1), "factor .* < 1, got 1"),
    "factor nan": (lambda o: ours.ReduceLROnPlateau(o, factor=math.nan), "factor .* got nan"),
    "patience -1": (lambda o: ours.ReduceLROnPlateau(o, patience=-1), "patience .* >= 0, got -1"),
    "min_lr nan": (lambda o: ours.ReduceLROnPlateau(o, min_lr=[math.nan]), "min_lr .* got nan"),
    "min_lr count": (lambda o: ours.ReduceLROnPlateau(o, min_lr=[0, 0]), "expected 1 min_lrs"),
    "mode": (
        lambda o: ours.ReduceLROnPlateau(o, mode=cast(Any, "mim")),
        "Unknown mode .*'mim'. Did you mean",
    ),
    "no parts": (lambda o: ours.SequentialLR(o, [], []), "at least one scheduler"),
    "milestone count": (
        lambda o: ours.SequentialLR(o, [ours.StepLR(o, 3)], [3]),
        "got 1 schedulers and 1 milestones",
    ),
    "milestones falling": (
        lambda o: ours.SequentialLR(o, [ours.StepLR(o, 3) for _ in range(3)], [5, 2]),
        r"must not decrease, got \[5, 2\]",
    ),
    "another optimizer": (
        lambda o: ours.SequentialLR(o, [ours.StepLR(sgd(), 3)], []),
        r"schedulers\[0\], a StepLR, is of another optimizer",
    ),
    "torch's plateau": (
        lambda o: ours.SequentialLR(o, [theirs.ReduceLROnPlateau(o)], []),
        "use downslope.optim.lr_scheduler.ReduceLROnPlateau",
    ),
    "replaying a plateau": (
        lambda o: ours.SequentialLR(o, [ours.ReduceLROnPlateau(o)], [], last_epoch=3),
        "last_epoch cannot resume a ReduceLROnPlateau",
    ),
    "milestone -1": (lambda o: ours.MultiStepLR(o, [-1]), "milestone .* >= 0, got -1"),
    "milestone 2.5": (lambda o: ours.MultiStepLR(o, [2.5]), "milestone .* got 2.5"),  # type: ignore[list-item]  # on purpose
    "factor 2": (lambda o: ours.ConstantLR(o, factor=2), "factor .* <= 1, got 2"),
    "exponential gamma nan": (lambda o: ours.ExponentialLR(o, math.nan), "gamma .* got nan"),
    "power 0": (lambda o: ours.PolynomialLR(o, power=0), "power .* > 0, got 0"),
    "polynomial total_iters 0": (lambda o: ours.PolynomialLR(o, 0), "total_iters .* > 0, got 0"),
    "T_0 0": (lambda o: ours.CosineAnnealingWarmRestarts(o, 0), "T_0 .* got 0"),
    "T_mult 0": (lambda o: ours.CosineAnnealingWarmRestarts(o, 3, 0), "T_mult .* got 0"),
    "max_lr nan": (lambda o: ours.CyclicLR(o, 0.1, math.nan), "max_lr .* got nan"),
    "step_size_up 0": (lambda o: ours.CyclicLR(o, 0.1, 0.2, 0), "step_size_up .* got 0"),
    "cyclic mode": (lambda o: ours.CyclicLR(o, 0.1, 0.2, mode="triangle"), "Did you mean 'triang"),  # type: ignore[arg-type]  # on purpose
    "total_steps": (lambda o: ours.OneCycleLR(o, 0.1), "either total_steps OR"),
    "pct_start 2": (lambda o: ours.OneCycleLR(o, 0.1, 9, pct_start=2), "pct_start .* got 2"),
    "div_factor 0": (lambda o: ours.OneCycleLR(o, 0.1, 9, div_factor=0), "div_factor .* > 0"),
    "no chain": (lambda o: ours.ChainedScheduler([]), "at least one scheduler"),
    "average 0": (lambda o: ours.ReduceLROnPlateau(o, average=0), "average .* >= 1, got 0"),
}


@pytest.mark.parametrize(("build", "message"), BAD.values(), ids=BAD)
def test_bad_arguments_are_refused(build: Callable[[Optimizer], Any], message: str) -> None:
    """A ValueError says what came and what is allowed, and the optimizer keeps its lr."""
    optimizer = sgd(0.1)
    with pytest.raises(ValueError, match=message):
        build(optimizer)
    assert now(optimizer) == [0.1]


@pytest.mark.parametrize(
    "build",
    [lambda o: ours.StepLR(o, 3), ours.ReduceLROnPlateau, lambda o: ours.OneCycleLR(o, 1, 9)],
    ids=["StepLR", "ReduceLROnPlateau", "OneCycleLR"],
)
def test_what_a_schedule_drives_no_scheduler_can(build: Callable[[Optimizer], Any]) -> None:
    """A scheduler whose lr the optimizer would set back at the next step is refused."""
    driven = SGD([torch.zeros(1, requires_grad=True)], lr=0.1 * cosine(10), momentum=0.9)
    with pytest.raises(InputError, match=r"lr of group 0 is the schedule cosine\(10\) \* 0.1"):
        build(driven)


def test_the_second_guides_sequential_says_what_to_write() -> None:
    """Without optimizer and milestones, the error gives the call that was meant."""
    optimizer = sgd(0.1)
    parts = [
        ours.LinearLR(optimizer, start_factor=0.1, total_iters=5),
        ours.CosineAnnealingLR(optimizer, T_max=195),
    ]
    with pytest.raises(InputTypeError, match=r"Write SequentialLR\(optimizer, .*milestones=\[5\]"):
        ours.SequentialLR(parts)  # type: ignore[arg-type]  # the guide's mistake
    with pytest.raises(InputTypeError, match=r"milestones=\[5\]"):
        ours.SequentialLR(optimizer, parts)


def test_a_plateau_needs_its_metric() -> None:
    """Stepping a plateau phase without a metric is a clear error."""
    optimizer = sgd(0.1)
    scheduler = ours.SequentialLR(optimizer, [ours.ReduceLROnPlateau(optimizer)], [])
    with pytest.raises(InputTypeError, match=r"step\(val_loss\)"):
        scheduler.step()


def test_the_state_of_another_class_is_refused() -> None:
    """A state dict loads only into the class that wrote it (torch takes any)."""
    state = ours.StepLR(sgd(), 3).state_dict()
    for other in (
        ours.CosineAnnealingLR(sgd(), 5),
        ours.LinearLR(sgd()),
        ours.ReduceLROnPlateau(sgd()),
        sequential(ours, sgd()),
    ):
        with pytest.raises(InputError, match="is of another class: it has no"):
            other.load_state_dict(state)


def test_the_state_of_another_sequence_is_refused() -> None:
    """A SequentialLR's state needs as many schedulers as it was saved with."""
    optimizer = sgd()
    short = ours.SequentialLR(optimizer, [ours.StepLR(optimizer, 3)], [])
    with pytest.raises(InputError, match="of 3 schedulers, this one has 1"):
        short.load_state_dict(sequential(ours, sgd()).state_dict())
