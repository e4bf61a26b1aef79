"""How a range test goes: its plan, what a task leaves to be built, the sweep, then the races."""

from __future__ import annotations

import inspect
import itertools
import math
from collections.abc import Callable, Iterator, Mapping, Sized
from dataclasses import dataclass
from functools import partial
from typing import Any, cast

import numpy as np
import torch
from torch import nn
from torch.optim import Optimizer

from .. import optim
from ..errors import InputError, InputTypeError, unknown
from ..randomness import seed_everything
from ..schedules._schedule import finite, whole
from ..tasks import Task
from ..tasks.batches import batches, permutation
from ._curve import band, steepest
from ._races import Races, search
from ._range_test import RangeTest
from ._suggest import HIGH, LEAST_FALL, Confidence, confidence, planned_lr, usual_lr
from ._sweep import sweep
from ._trial import LossFunction, Trial

__all__ = ["USUAL_STEPS", "Plan", "parts_of", "plan_of", "run"]

FEWEST_ITERATIONS, MOST_ITERATIONS = 10, 100  # of the sweep
USUAL_STEPS = 1_000
USUAL_END, FARTHEST_END = 10.0, 1e3

# What the test may cost in training iterations, and how long a race is.
LEAST_BUDGET, SHARE = 200, 0.15
SWEEP = 8  # the share of it that the sweep takes: one in so many
FEWEST_STEPS, MOST_STEPS = 10, 400
NO_IDEA = 1e-3  # where a step's length is not known
RACES = 3  # that go to their end: fewer and longer is better than more and shorter

NO_LOSS = (
    "no clear answer: the loss was not a finite number before the first step: look for NaN in the "
    "data, or for a loss that takes the logarithm of 0"
)


@dataclass(frozen=True)
class Plan:
    """How long the run is, what the test may cost, and the sweep's learning rates."""

    steps: int
    budget: int
    lrs: tuple[float, ...]
    further: tuple[float, ...]  # on which it goes while it has not diverged


def plan_of(
    start: float, end: float | None, iterations: int | None, growth: str, steps: int
) -> Plan:
    budget = max(LEAST_BUDGET, int(SHARE * steps))
    if iterations is None:
        count = min(MOST_ITERATIONS, budget // SWEEP)
    else:
        count = whole("find_lr: iterations", iterations, least=FEWEST_ITERATIONS)
        budget = max(budget, count + LEAST_BUDGET // 2)  # a longer sweep leaves the races theirs
    lrs = _learning_rates(start, USUAL_END if end is None else end, count, growth)
    further: list[float] = []
    if end is None and growth == "exponential":
        ratio = lrs[1] / lrs[0]
        while (further or lrs)[-1] * ratio <= FARTHEST_END:
            further.append((further or lrs)[-1] * ratio)
    return Plan(steps, budget, tuple(lrs), tuple(further))


def run(trial: Trial, plan: Plan, tell: Callable[[int], Any]) -> RangeTest:
    """The sweep, the races, and what they say."""
    name = type(trial.optimizer).__name__.lower()
    with tell(plan.budget) as report:
        curve = sweep(trial, (*plan.lrs, *plan.further), len(plan.lrs), report)
        steep = steepest(curve.lrs, curve.smoothed, curve.settled)
        result = partial(
            RangeTest,
            optimizer=name,
            lrs=tuple(curve.lrs),
            losses=tuple(curve.losses),
            smoothed=tuple(curve.smoothed),
            diverged_at=curve.diverged_at,
            steepest=steep,
            band=None if steep is None else band(steep),
        )
        swept = len(curve.losses) + (curve.diverged_at is not None)
        if not curve.losses:
            return result(suggestion=None, reason=NO_LOSS, cost=swept)
        races, usual, cost = _races(trial, plan, name, plan.budget - swept, report)
    sure = confidence(races, plan.steps)
    answer = planned_lr(name, races, usual, plan.steps)
    last = curve.diverged_at or curve.lrs[-1]
    return result(
        suggestion=None if sure == "none" else answer,
        reason=_reason(sure, races, curve.lrs[0], last),
        confidence=sure,
        usual=usual,
        fallback=answer if sure == "none" and usual is not None else None,
        races=tuple((r.lr, r.loss) for r in races.races if math.isfinite(r.loss)),
        race_steps=races.steps,
        cost=swept + cost,
    )


def _races(
    trial: Trial,
    plan: Plan,
    name: str,
    budget: int,
    report: Callable[[float, float], None],
) -> tuple[Races, float | None, float]:
    """The races that the budget allows, the usual rate, and what they cost."""
    pool = trial.pool(min(max(int(budget) // RACES, FEWEST_STEPS), MOST_STEPS))
    first = trial.judged(pool)
    usual = usual_lr(name, *trial.lengths(pool))
    spent = pool.evaluation + 1
    left = budget - spent
    length = max(int(left / RACES - pool.evaluation), FEWEST_STEPS)
    length = min(length, MOST_STEPS, max(plan.steps, 2))
    found = search(
        lambda lr: trial.race(lr, pool, length, first, report),
        (usual or NO_IDEA) * 10**HIGH,
        left,
        length + pool.evaluation,
        sum(first) / len(first),
    )
    return (
        Races(found, length, first, trial.run(pool)),
        usual,
        spent + sum(race.cost for race in found),
    )


def _reason(sure: Confidence, races: Races, first: float, last: float) -> str:
    tried = f"between {races.races[0].lr:.1e} and {races.races[-1].lr:.1e}"
    if sure == "none" and not math.isfinite(races.winner.loss):
        return f"no clear answer: the loss diverged at every learning rate tried, {tried}"
    if sure == "none":
        return (
            f"no clear answer: the loss on held-out batches fell by less than {LEAST_FALL:.0%} "
            f"{tried} (the sweep went from {first:.1e} to {last:.1e}): is the model trained "
            "already, or do the targets not depend on the inputs?"
        )
    if sure == "low":
        return f"the loss hardly fell, by {races.fall:.1%}, so the answer is not a clear one"
    return ""


def parts_of(
    task: Task,
    optimizer: Optimizer | str,
    hyperparameters: Mapping[str, Any] | None,
    batch_size: int | None,
    seed: int,
    device: str | torch.device | None,
) -> tuple[nn.Module, LossFunction, _Epochs, Optimizer]:
    """A fresh model, the loss, a loader and an optimizer for a task."""
    if not isinstance(optimizer, str):
        raise InputTypeError(
            f"find_lr: with a task, optimizer must be a name, got {type(optimizer).__name__}; its "
            "arguments go into hyperparameters={...}"
        )
    kind, arguments = optim.get(optimizer), hyperparameters or {}
    for name in arguments:
        if name not in inspect.signature(kind).parameters:
            raise unknown(f"argument of {kind.__name__}", name, inspect.signature(kind).parameters)
    rows = batch_size if batch_size is None else whole("find_lr: batch_size", batch_size)
    seed_everything(whole("find_lr: seed", seed, least=0))
    place = device or ("cuda" if torch.cuda.is_available() else "cpu")
    model = task.model().to(place)
    built = cast(Callable[..., Optimizer], kind)(model.parameters(), **arguments)
    return model, task.loss, _Epochs(task, rows or task.batch_size, seed), built


class _Epochs:
    """A task's training batches, epoch after epoch, each another permutation of the rows."""

    def __init__(self, task: Task, batch_size: int, seed: int) -> None:
        self._task, self._batch_size, self._seed = task, batch_size, seed
        self._rows = len(cast(Sized, task.train))

    def __len__(self) -> int:
        return math.ceil(self._rows / self._batch_size)

    @property
    def planned_steps(self) -> int:
        """Optimizer steps in the task's own number of epochs."""
        return self._task.epochs * len(self)

    def __iter__(self) -> Iterator[Any]:
        for epoch in itertools.count():
            order = permutation(self._rows, self._seed, epoch)
            yield from batches(self._task.train, self._batch_size, order=order)


def _learning_rates(start: float, end: float, iterations: int, growth: str) -> list[float]:
    first, last = finite("find_lr: start", start), finite("find_lr: end", end)
    if not 0 < first < last:
        raise InputError(f"find_lr: need 0 < start < end, got start={start!r} and end={end!r}")
    count = whole("find_lr: iterations", iterations, least=FEWEST_ITERATIONS)
    if growth not in ("exponential", "linear"):
        raise unknown("growth", growth, ("exponential", "linear"))
    space = np.geomspace if growth == "exponential" else np.linspace
    return [float(lr) for lr in space(first, last, count)]
