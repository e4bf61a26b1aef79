"""`find_lr`: its arguments checked, and what a task leaves to be built."""

from __future__ import annotations

import inspect
import itertools
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sized
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal, cast, overload

import numpy as np
import torch
from torch import nn
from torch.amp.grad_scaler import GradScaler
from torch.optim import Optimizer

from .. import optim
from ..errors import InputError, InputTypeError, unknown
from ..randomness import seed_everything
from ..schedules._schedule import finite, whole
from ..tasks import Task
from ..tasks.batches import batches, permutation
from ._curve import band, steepest
from ._progress import reporter
from ._races import Races, search
from ._range_test import RangeTest
from ._snapshot import randomness_restored
from ._suggest import LEAST_FALL, Confidence, confidence, fell, first_race, planned_lr
from ._sweep import Curve, sweep
from ._trial import LossFunction, Trial

__all__ = ["find_lr"]

FEWEST_ITERATIONS, MOST_ITERATIONS = 10, 100  # of the sweep
USUAL_STEPS = 1_000
USUAL_END, FARTHEST_END = 10.0, 1e3

# What the test may cost in training iterations, and how long a race is.
LEAST_BUDGET, SHARE = 200, 0.15
FEWEST_STEPS, MOST_STEPS = 10, 200

NO_LOSS = (
    "no clear answer: the loss was not a finite number before the first step: look for NaN in the "
    "data, or for a loss that takes the logarithm of 0"
)


@overload
def find_lr(
    model: Task,
    *,
    optimizer: str = ...,
    hyperparameters: Mapping[str, Any] | None = ...,
    batch_size: int | None = ...,
    seed: int = ...,
    device: str | torch.device | None = ...,
    steps: int | None = ...,
    start: float = ...,
    end: float | None = ...,
    iterations: int | None = ...,
    growth: Literal["exponential", "linear"] = ...,
    clip_norm: float | None = ...,
    accumulation: int = ...,
    autocast: torch.dtype | None = ...,
    scaler: GradScaler | None = ...,
    progress: bool = ...,
    on_step: Callable[[dict[str, Any]], None] | None = ...,
) -> RangeTest: ...
@overload
def find_lr(
    model: nn.Module,
    loss_fn: LossFunction,
    loader: Iterable[Any],
    optimizer: Optimizer,
    *,
    steps: int | None = ...,
    start: float = ...,
    end: float | None = ...,
    iterations: int | None = ...,
    growth: Literal["exponential", "linear"] = ...,
    clip_norm: float | None = ...,
    accumulation: int = ...,
    autocast: torch.dtype | None = ...,
    scaler: GradScaler | None = ...,
    progress: bool = ...,
    on_step: Callable[[dict[str, Any]], None] | None = ...,
) -> RangeTest: ...
def find_lr(
    model: nn.Module | Task,
    loss_fn: LossFunction | None = None,
    loader: Iterable[Any] | None = None,
    optimizer: Optimizer | str = "adamw",
    *,
    hyperparameters: Mapping[str, Any] | None = None,
    batch_size: int | None = None,
    seed: int = 0,
    device: str | torch.device | None = None,
    steps: int | None = None,
    start: float = 1e-7,
    end: float | None = None,
    iterations: int | None = None,
    growth: Literal["exponential", "linear"] = "exponential",
    clip_norm: float | None = None,
    accumulation: int = 1,
    autocast: torch.dtype | None = None,
    scaler: GradScaler | None = None,
    progress: bool = True,
    on_step: Callable[[dict[str, Any]], None] | None = None,
) -> RangeTest:
    """Find a learning rate for a run of a planned length, by a sweep and a few short races.

    Called with a model, its loss function, a loader and an optimizer, or with a
    :class:`~downslope.Task` and the name of an optimizer, for which it builds the rest.

    The *sweep* is the range test of the tutorials: a step at each of ever larger learning rates,
    until the smoothed loss is 4 times its best (fastai's rule) or not a finite number. It shows the
    curve, its steepest point and where it diverges. The *races* then train a few dozen steps at
    each of a few rates, all from where the model stands now and on the same batches, and are
    judged by batches that none of them trains on. The suggestion is the best race's rate, moved by
    what was fitted for the optimizer: a longer run wants a lower one. How good it is was measured:
    see ``benchmarks/range_test``. On a loss that does not fall it says so: ``suggestion`` is None
    and ``reason`` says why.

    It costs 200 training iterations or 15% of the planned run, whichever is more, evaluation
    counted (a forward pass as half an iteration).

    Afterwards everything is as it was, to the bit, also when the model raises or the test is
    interrupted: parameters, buffers, gradients, train/eval modes, the optimizer's state and groups,
    the scaler, and the random generators of Python, NumPy, torch and the loader.

    Args:
        model: the model, or a task.
        loss_fn: ``(outputs, targets) -> scalar``, the mean over the batch.
        loader: gives ``(inputs, targets)``; read again from the beginning when it ends.
        optimizer: of the model's parameters, with a number as ``lr``; groups keep the ratio of
            their learning rates, and the results are the largest group's. With a task: a name.
        hyperparameters: the optimizer's other arguments (with a task).
        batch_size: rows a step (with a task; its own by default).
        seed: of the weights and the order of rows (with a task).
        device: where to train (with a task); CUDA if there is one, else the CPU.
        steps: optimizer steps of the run that is planned: a longer one wants a lower lr. None: the
            task's own epochs, or 1,000 with a model.
        start: the first learning rate.
        end: the last one of the sweep; None goes to 10, and on to 1,000 if it has not diverged.
        iterations: steps from ``start`` to ``end`` (or to 10), at least 10. None: a fifth of what
            the test may cost, at most 100.
        growth: ``"exponential"`` multiplies by the same factor each step, ``"linear"`` adds.
        clip_norm: clip the gradient's norm here, as training will.
        accumulation: batches a step, as training will have.
        autocast: a 16-bit dtype for the forward pass.
        scaler: the GradScaler that training will use; a copy of it scales this test's losses.
        progress: show a progress bar where there is a terminal.
        on_step: called after each iteration with ``event``, ``iteration``, ``iterations``, ``lr``
            and ``loss``.

    Raises:
        InputError: a value out of range, an empty loader, a loss that is no scalar, an optimizer
            whose lr is a schedule.

    Smith, Cyclical Learning Rates for Training Neural Networks, arXiv 1506.01186, section 3.3.

    >>> import torch
    >>> from torch import nn
    >>> _ = torch.manual_seed(0)
    >>> x = torch.randn(256, 4)
    >>> y = x @ torch.tensor([[1.0], [-2.0], [0.5], [3.0]])
    >>> model = nn.Linear(4, 1)
    >>> optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    >>> test = find_lr(model, nn.functional.mse_loss, [(x, y)], optimizer, steps=300)
    >>> 0.01 < test.suggestion < 0.5, test.confidence
    (True, 'medium')
    >>> optimizer.param_groups[0]["lr"]
    0.1
    """
    plan = partial(_plan, start, end, iterations, growth)
    plan(USUAL_STEPS)  # refuses bad arguments before anything is built
    if clip_norm is not None and finite("find_lr: clip_norm", clip_norm) <= 0:
        raise InputError(f"find_lr: clip_norm must be a number > 0 or None, got {clip_norm!r}")
    planned = steps if steps is None else whole("find_lr: steps", steps)
    trial = partial(
        Trial,
        clip_norm=clip_norm,
        autocast=autocast,
        scaler=scaler,
        accumulation=whole("find_lr: accumulation", accumulation),
    )
    tell = partial(reporter, on_step=on_step, show=progress)
    if isinstance(model, Task):
        with randomness_restored():
            parts = _parts_of(model, optimizer, hyperparameters, batch_size, seed, device)
            length = planned or max(parts[2].planned_steps // accumulation, 1)
            return _test(trial(*parts), plan(length), tell)
    if (
        not isinstance(model, nn.Module)
        or not callable(loss_fn)
        or not isinstance(loader, Iterable)
        or not isinstance(optimizer, Optimizer)
    ):
        given = ", ".join(type(v).__name__ for v in (model, loss_fn, loader, optimizer))
        raise InputTypeError(
            f"find_lr takes (model, loss_fn, loader, optimizer) or a task, got ({given})"
        )
    return _test(trial(model, loss_fn, loader, optimizer), plan(planned or USUAL_STEPS), tell)


@dataclass(frozen=True)
class _Plan:
    """How long the run is, what the test may cost, and the sweep's learning rates."""

    steps: int
    budget: int
    lrs: tuple[float, ...]
    further: tuple[float, ...]  # on which it goes while it has not diverged


def _plan(
    start: float, end: float | None, iterations: int | None, growth: str, steps: int
) -> _Plan:
    budget = max(LEAST_BUDGET, int(SHARE * steps))
    if iterations is None:
        count = min(MOST_ITERATIONS, budget // 5)
    else:
        count = whole("find_lr: iterations", iterations, least=FEWEST_ITERATIONS)
        budget = max(budget, count + LEAST_BUDGET // 2)  # a longer sweep leaves the races theirs
    lrs = _learning_rates(start, USUAL_END if end is None else end, count, growth)
    further: list[float] = []
    if end is None and growth == "exponential":
        ratio = lrs[1] / lrs[0]
        while (further or lrs)[-1] * ratio <= FARTHEST_END:
            further.append((further or lrs)[-1] * ratio)
    return _Plan(steps, budget, tuple(lrs), tuple(further))


def _test(trial: Trial, plan: _Plan, tell: Callable[[int], Any]) -> RangeTest:
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
        races, cost = _races(trial, plan, name, curve, plan.budget - swept, report)
    sure = confidence(races)
    last = curve.diverged_at or curve.lrs[-1]
    return result(
        suggestion=None if sure == "none" else planned_lr(name, races, plan.steps),
        reason=_reason(sure, races, curve.lrs[0], last),
        confidence=sure,
        races=tuple((r.lr, r.loss) for r in races.races if math.isfinite(r.loss)),
        cost=swept + cost,
    )


def _races(
    trial: Trial,
    plan: _Plan,
    name: str,
    curve: Curve,
    budget: int,
    report: Callable[[float, float], None],
) -> tuple[Races, float]:
    """The races that the budget allows, and what they cost."""
    length = min(max(budget // 4, FEWEST_STEPS), MOST_STEPS, max(plan.steps, 2))
    pool = trial.pool(length)
    first = trial.judged(pool)
    begin = first_race(name, curve.diverged_at or curve.lrs[-1], curve.losses[0])
    left = budget - pool.evaluation
    found = search(
        lambda lr: trial.race(lr, pool, length, first, report),
        begin,
        left,
        length + 2 * pool.evaluation,
    )
    return Races(found, length, first), pool.evaluation + sum(race.cost for race in found)


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
        return f"the loss hardly fell, by {fell(races):.1%}, so the answer is not a clear one"
    return ""


def _parts_of(
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
