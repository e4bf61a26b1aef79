"""`find_lr`: what it takes and gives. How it goes is in ``_run.py``.

torch is imported when it is called: the command line's options are made from its arguments.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any, Literal, overload

from ..errors import InputError, InputTypeError

if TYPE_CHECKING:
    import torch
    from torch import nn
    from torch.amp.grad_scaler import GradScaler
    from torch.optim import Optimizer

    from ..tasks import Task
    from ._range_test import RangeTest
    from ._trial import LossFunction

__all__ = ["find_lr"]


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
    curve, its steepest point and where it diverges. The *races*, three or a few more, then train at
    rates 0.7 decades apart for as long as the budget allows, all from where the model stands now
    and on the same batches, and are judged by batches that none of them trains on. The suggestion
    lies between the vertex of the parabola through the best of them and the *usual* rate, at which
    a step is a certain share of the weights, and is moved by what was fitted for the optimizer: a
    longer run wants a lower one, the more so for classes than for values and with many weights for
    each target; so do deep networks in short runs. How good it is was measured: see
    ``benchmarks/range_test``. On a loss that does not fall it says so: ``suggestion`` is None and
    ``reason`` says why.

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
        iterations: steps from ``start`` to ``end`` (or to 10), at least 10. None: an eighth of what
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
    from torch import nn
    from torch.optim import Optimizer

    from ..randomness import randomness_restored
    from ..schedules._schedule import finite, whole
    from ..tasks import Task
    from ._progress import reporter
    from ._run import USUAL_STEPS, parts_of, plan_of, run
    from ._trial import Trial

    plan = partial(plan_of, start, end, iterations, growth)
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
            parts = parts_of(model, optimizer, hyperparameters, batch_size, seed, device)
            length = planned or max(parts[2].planned_steps // accumulation, 1)
            return run(trial(*parts), plan(length), tell)
    if (
        not isinstance(model, nn.Module)
        or not callable(loss_fn)
        or not isinstance(loader, Iterable)
        or not isinstance(optimizer, Optimizer)
    ):
        given = ", ".join(type(v).__name__ for v in (model, loss_fn, loader, optimizer))
        raise InputTypeError(
            f"find_lr takes (model, loss_fn, loader, optimizer) or a task, got ({given}). The "
            "optimizer of a model is made of its parameters: optim.AdamW(model.parameters())"
        )
    own = set(map(id, model.parameters()))
    if not any(id(p) in own for group in optimizer.param_groups for p in group["params"]):
        raise InputError(
            f"find_lr: the optimizer ({type(optimizer).__name__}) has no parameter of this model, "
            "so its steps change nothing here. Make it of model.parameters()"
        )
    return run(trial(model, loss_fn, loader, optimizer), plan(planned or USUAL_STEPS), tell)
