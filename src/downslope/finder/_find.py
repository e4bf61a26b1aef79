"""`find_lr`: its arguments checked, and what a task leaves to be built."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sized
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
from ._range_test import RangeTest
from ._snapshot import randomness_restored
from ._sweep import LossFunction, Sweep

__all__ = ["find_lr"]

FEWEST_ITERATIONS = 10
USUAL_STEPS = 1_000


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
    end: float = ...,
    iterations: int = ...,
    growth: Literal["exponential", "linear"] = ...,
    clip_norm: float | None = ...,
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
    end: float = ...,
    iterations: int = ...,
    growth: Literal["exponential", "linear"] = ...,
    clip_norm: float | None = ...,
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
    end: float = 10.0,
    iterations: int = 100,
    growth: Literal["exponential", "linear"] = "exponential",
    clip_norm: float | None = None,
    autocast: torch.dtype | None = None,
    scaler: GradScaler | None = None,
    progress: bool = True,
    on_step: Callable[[dict[str, Any]], None] | None = None,
) -> RangeTest:
    """Find a learning rate: train a little at ever larger ones, and see where the loss falls.

    Called with a model, its loss function, a loader and an optimizer, or with a
    :class:`~downslope.Task` and the name of an optimizer, for which it builds the rest.

    Afterwards everything is as it was, to the bit, also when the model raises or the test is
    interrupted: parameters, buffers, gradients, train/eval modes, the optimizer's state and groups,
    the scaler, and the random generators of Python, NumPy, torch and the loader.

    The sweep stops early when the smoothed loss is 4 times its best (fastai's rule) or the loss is
    not a finite number. The suggestion is the learning rate at which 70% of the fall is done,
    divided by a factor fitted for the optimizer on planned runs with warmup and cosine. Where the
    curve has no answer, ``suggestion`` is None and ``reason`` says why.

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
        end: the last one.
        iterations: steps from one to the other, at least 10.
        growth: ``"exponential"`` multiplies by the same factor each step, ``"linear"`` adds.
        clip_norm: clip the gradient's norm here, as training will.
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
    >>> test = find_lr(model, nn.functional.mse_loss, [(x, y)], optimizer)
    >>> test.band[0] < test.suggestion < test.steepest
    True
    >>> optimizer.param_groups[0]["lr"]
    0.1
    """
    lrs = _learning_rates(start, end, iterations, growth)
    if clip_norm is not None and finite("find_lr: clip_norm", clip_norm) <= 0:
        raise InputError(f"find_lr: clip_norm must be a number > 0 or None, got {clip_norm!r}")
    planned = steps if steps is None else whole("find_lr: steps", steps)
    sweep = partial(
        Sweep,
        lrs=lrs,
        clip_norm=clip_norm,
        autocast=autocast,
        scaler=scaler,
        progress=progress,
        on_step=on_step,
    )
    if isinstance(model, Task):
        with randomness_restored():
            parts = _parts_of(model, optimizer, hyperparameters, batch_size, seed, device)
            return sweep(steps=planned or parts[2].planned_steps).run(*parts)
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
    return sweep(steps=planned or USUAL_STEPS).run(model, loss_fn, loader, optimizer)


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
    """A task's training batches; each time it is read, another permutation of the rows."""

    def __init__(self, task: Task, batch_size: int, seed: int) -> None:
        self._task, self._batch_size, self._seed = task, batch_size, seed
        self._rows = len(cast(Sized, task.train))
        self._epoch = 0

    @property
    def planned_steps(self) -> int:
        """Optimizer steps in the task's own number of epochs."""
        return self._task.epochs * math.ceil(self._rows / self._batch_size)

    def __iter__(self) -> Iterator[Any]:
        order = permutation(self._rows, self._seed, self._epoch)
        self._epoch += 1
        return iter(batches(self._task.train, self._batch_size, order=order))


def _learning_rates(start: float, end: float, iterations: int, growth: str) -> list[float]:
    first, last = finite("find_lr: start", start), finite("find_lr: end", end)
    if not 0 < first < last:
        raise InputError(f"find_lr: need 0 < start < end, got start={start!r} and end={end!r}")
    count = whole("find_lr: iterations", iterations, least=FEWEST_ITERATIONS)
    if growth not in ("exponential", "linear"):
        raise unknown("growth", growth, ("exponential", "linear"))
    space = np.geomspace if growth == "exponential" else np.linspace
    return [float(lr) for lr in space(first, last, count)]
