"""The loop of every tutorial, and how an epoch is judged.

It changes a :class:`~downslope.training.state.State` and tells what happened as *events*, which
are the records of :mod:`downslope.monitor.records`. It opens no file.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, Literal

import torch
from torch.optim import Optimizer

from ..errors import DownslopeError, NonfiniteGradientError
from ..optim import ScheduleFree
from ..tasks import Task, batches
from .recipe import Recipe
from .state import State

__all__ = ["TrainingDivergedError", "evaluate", "train"]

Event = dict[str, Any]
Reason = Literal["finished", "early stop", "interrupted"]

SMALLEST_SCALE = 1.0  # below it unscaled gradients overflow fp16: lowering it further helps nobody


class TrainingDivergedError(DownslopeError, ArithmeticError):
    """A loss or a gradient is infinite or not a number; the weights were not touched by it."""


def train(
    state: State,
    task: Task,
    recipe: Recipe,
    *,
    emit: Callable[[Event], None],
    save: Callable[[Literal["last", "best"]], None],
    stop: Callable[[], bool],
) -> Reason:
    """Train until the last epoch, an early stop, or a request to stop; returns which it was.

    Args:
        state: where to begin; changed in place.
        task: loss, data and metric.
        recipe: resolved.
        emit: is told every event.
        save: writes the checkpoint of that name.
        stop: asked between two steps.

    Raises:
        TrainingDivergedError: the loss or the norm of the gradient is not finite.
    """
    model, optimizer, precision, at = state.model, state.optimizer, state.precision, state.progress
    while at.epoch < state.epochs and not _patience_over(state, recipe):
        model.train()
        _hold_weights(optimizer, training=True)
        state.watch.lap()
        for inputs, targets in state.rest_of_epoch():
            if stop():
                save("last")
                return "interrupted"
            inputs, targets = inputs.to(state.device), targets.to(state.device)
            lr = state.lr.before_step(at.step)
            optimizer.zero_grad()
            with precision.autocast():
                loss = task.loss(model(inputs), targets)
            precision.backward(loss)
            updated = _step(state, lr, value := loss.item())
            emit(_count(state, updated, lr, value, rows=len(targets)))
            if _checkpoint_due(state, recipe):
                save("last")
        _hold_weights(optimizer, training=False)
        emit(validation := _finish_epoch(state, task))
        if validation["best"]:
            save("best")
        save("last")
    return "early stop" if at.epoch < state.epochs else "finished"


def _hold_weights(optimizer: Optimizer, *, training: bool) -> None:
    """Let a Schedule-Free optimizer put the weights to train, or to evaluate, into the model."""
    if isinstance(optimizer, ScheduleFree):
        (optimizer.train if training else optimizer.eval)()


@torch.inference_mode()
def evaluate(state: State, task: Task) -> tuple[float, float]:
    """Mean loss and metric on the validation part, in evaluation mode.

    Raises:
        TrainingDivergedError: one of them is not finite.
    """
    state.model.eval()
    outputs, targets, loss_sum = [], [], 0.0
    for inputs, target in batches(task.validation, state.evaluation_batch_size):
        with state.precision.autocast():
            output = state.model(inputs.to(state.device))
            loss_sum += task.loss(output, target.to(state.device)).item() * len(target)
        outputs.append(output.float().cpu())
        targets.append(target)
    loss = loss_sum / sum(map(len, targets))
    metric = task.metric.function(torch.cat(outputs), torch.cat(targets))
    if not math.isfinite(loss) or not math.isfinite(metric):
        raise _diverged(state, f"validation loss {loss}, {task.metric.name} {metric}")
    return loss, metric


def _step(state: State, lr: float, loss: float) -> bool:
    """Step; False where the scaled gradients overflowed and nothing was changed.

    Raises:
        TrainingDivergedError: the loss is not finite; or a gradient is not, and a lower scale will
            not help.
    """
    if not math.isfinite(loss):
        raise _diverged(state, f"loss {loss}", lr)
    scale = state.precision.scale
    try:
        updated = state.precision.step(state.optimizer)
    except NonfiniteGradientError as error:
        what = f"loss {loss}, gradient norm {state.optimizer.grad_norm}"
        raise _diverged(state, what, lr) from error
    if not updated and scale < SMALLEST_SCALE:
        raise _diverged(state, f"loss {loss}, gradients that overflow at scale {scale}", lr)
    return updated


def _count(state: State, updated: bool, lr: float, loss: float, rows: int) -> Event:
    """Count a step; returns its event."""
    at = state.progress
    at.batch += 1
    at.step += updated
    at.loss_sum += loss * rows
    at.rows += rows
    place = {"step": at.step, "epoch": at.epoch + 1}
    if not updated:
        return {"event": "skip", **place, "scale": state.precision.scale}
    return {
        "event": "train",
        **place,
        "loss": loss,
        "lr": lr,
        "grad_norm": state.optimizer.grad_norm,
        "samples_per_second": rows / state.watch.lap(),
        "seconds": state.watch.seconds,
    }


def _finish_epoch(state: State, task: Task) -> Event:
    """Validate, remember the best, begin the next epoch's count; returns the event."""
    at = state.progress
    loss, metric = evaluate(state, task)
    best = task.metric.better(metric, than=at.best_metric)
    if best:
        at.best_metric, at.best_step, at.since_best = metric, at.step, 0
    else:
        at.since_best += 1
    state.lr.after_epoch(at.step, loss)
    train_loss = at.loss_sum / at.rows
    at.next_epoch()
    return {
        "event": "validation",
        "step": at.step,
        "epoch": at.epoch,
        "train_loss": train_loss,
        "loss": loss,
        "metric": metric,
        "best": best,
        "seconds": state.watch.seconds,
    }


def _checkpoint_due(state: State, recipe: Recipe) -> bool:
    """Whether a checkpoint is wanted here; the epoch's end has its own, after the validation."""
    at, every, minutes = state.progress, recipe.checkpoint_every, recipe.checkpoint_minutes
    due = every is not None and at.step % every == 0
    if minutes is not None:
        due |= state.watch.seconds - state.watch.saved_at >= 60 * minutes
    return due and at.batch < state.steps_per_epoch


def _patience_over(state: State, recipe: Recipe) -> bool:
    return recipe.early_stop is not None and state.progress.since_best >= recipe.early_stop


def _diverged(state: State, what: str, lr: float | None = None) -> TrainingDivergedError:
    at = state.progress
    rate = "" if lr is None else f" at lr {lr:.3g}"
    advice = "a lower lr" if lr is None else f"a lower lr (try {lr / 10:.1g})"
    return TrainingDivergedError(
        f"Training diverged in epoch {at.epoch + 1} after {at.step} steps{rate}: {what}. The last "
        f"checkpoint is kept. Use {advice}, a smaller clip_norm or a longer warmup, and look for "
        "infinite values in the data."
    )
