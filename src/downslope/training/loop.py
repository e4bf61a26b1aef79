"""The loop of every tutorial.

It changes a :class:`~downslope.training.state.State` and tells what happened as *events*, which
are the records of :mod:`downslope.monitor.records`. It opens no file.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, Literal

from ..errors import NonfiniteGradientError
from ..tasks import Task
from .outcome import StopAskedError, diverged
from .recipe import Recipe
from .state import State
from .validation import validate, validation_due

__all__ = ["Reason", "train"]

Event = dict[str, Any]
Reason = Literal["finished", "early stop", "interrupted", "time limit"]

SMALLEST_SCALE = 1.0  # below it unscaled gradients overflow fp16: lowering it further helps nobody


def train(
    state: State,
    task: Task,
    recipe: Recipe,
    *,
    emit: Callable[[Event], None],
    save: Callable[[Literal["last", "best"]], None],
    stop: Callable[[], bool],
) -> Reason:
    """Train until the last step, an early stop, or a request to stop; returns which it was.

    Args:
        state: where to begin; changed in place.
        task: loss, data and metric.
        recipe: resolved.
        emit: is told every event.
        save: writes the checkpoint of that name.
        stop: asked after every step, and while the model is validated.

    Raises:
        TrainingDivergedError: the loss or the gradient is not finite.
    """
    model, optimizer, precision, at = state.model, state.optimizer, state.precision, state.progress

    def judge() -> None:
        emit(event := validate(state, task, recipe, stop))
        if event["best"]:
            save("best")

    try:
        while True:
            training = False
            for parts in state.rest_of_epoch():
                if validation_due(state, recipe, at_end=False):
                    judge()
                    training = False
                if _over(state, recipe):
                    break
                if not training:
                    state.train_mode()
                    training = True
                lr = state.lr.before_step(at.step)
                optimizer.zero_grad()
                mean_loss, rows = 0.0, 0
                for inputs, targets, share in parts:
                    inputs, targets = inputs.to(state.device), targets.to(state.device)
                    with precision.autocast():
                        loss = task.loss(model(inputs), targets)
                    precision.backward(loss if share == 1 else loss * share)
                    mean_loss += loss.item() * share
                    rows += len(targets)
                emit(_update(state, lr, mean_loss, rows))
                _obey(state, recipe, stop)
                if _checkpoint_due(state, recipe):
                    save("last")
            if validation_due(state, recipe, at_end=True):
                judge()
            if at.batch >= state.steps_per_epoch:
                at.next_epoch()
            save("last")
            if _over(state, recipe):
                return "finished" if _steps_over(state) else "early stop"
    except StopAskedError:
        save("last")
        return "interrupted" if stop() else "time limit"


def _update(state: State, lr: float, loss: float, rows: int) -> Event:
    """Step on the gradients at hand and count the step; returns its event.

    Raises:
        TrainingDivergedError: the loss is not finite; or a gradient is not, and a lower scale will
            not help. Neither has reached the weights.
    """
    at, optimizer = state.progress, state.optimizer
    if not math.isfinite(loss):
        raise diverged(state, f"loss {loss}", lr)
    scale = state.precision.scale
    try:
        updated = state.precision.step(optimizer)
    except NonfiniteGradientError as error:
        what = f"loss {loss}, gradient norm {optimizer.grad_norm}"
        raise diverged(state, what, lr) from error
    if not updated and scale < SMALLEST_SCALE:
        raise diverged(state, f"loss {loss}, gradients that overflow at scale {scale}", lr)
    at.batch += 1
    at.step += updated
    at.loss_sum += loss * rows
    at.rows += rows
    place = {"step": at.step, "epoch": at.epoch + 1}
    if not updated:
        return {"event": "skip", **place, "scale": state.precision.scale}
    if state.average is not None:
        state.average.update(at.step)
    return {
        "event": "train",
        **place,
        "loss": loss,
        "lr": lr,
        "grad_norm": optimizer.grad_norm,
        "samples_per_second": rows / state.watch.lap(),
        "seconds": state.watch.seconds,
    }


def _checkpoint_due(state: State, recipe: Recipe) -> bool:
    """Whether a checkpoint is wanted here; the epoch's end has its own, after the validation."""
    at, every, minutes = state.progress, recipe.checkpoint_every, recipe.checkpoint_minutes
    due = every is not None and at.step % every == 0
    if minutes is not None:
        due |= state.watch.seconds - state.watch.saved_at >= 60 * minutes
    return due and at.batch < state.steps_per_epoch


def _obey(state: State, recipe: Recipe, stop: Callable[[], bool]) -> None:
    """Raise if this session is to end here."""
    minutes = recipe.max_minutes
    late = minutes is not None and state.watch.seconds - state.watch.began >= 60 * minutes
    if stop() or late:
        raise StopAskedError


def _over(state: State, recipe: Recipe) -> bool:
    """Whether no further step is wanted."""
    patience = recipe.early_stop
    return _steps_over(state) or (patience is not None and state.progress.since_best >= patience)


def _steps_over(state: State) -> bool:
    return state.progress.step >= state.total_steps or state.progress.epoch >= state.epochs
