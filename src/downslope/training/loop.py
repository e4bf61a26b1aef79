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
    model, precision, processes, at = (
        state.stepped,
        state.precision,
        state.processes,
        state.progress,
    )

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
                state.zero_grad()
                mean_loss, rows = 0.0, 0.0
                for k, (inputs, targets, share) in enumerate(parts, start=1):
                    inputs, targets = inputs.to(state.device), targets.to(state.device)
                    if processes.count > 1:
                        processes.sum_gradients(model, now=k == len(parts))
                    with precision.autocast():
                        loss = task.loss(model(inputs), targets)
                    weight = share * processes.count  # gradients are averaged over processes
                    precision.backward(loss if weight == 1 else loss * weight)
                    mean_loss += loss.item() * share
                    rows += len(targets)
                asked = (stop() or _late(state, recipe), _minutes_over(state, recipe))
                mean_loss, rows, ending, saving = processes.total([mean_loss, rows, *asked])
                emit(_update(state, lr, mean_loss, int(rows)))
                if ending:
                    raise StopAskedError  # noqa: TRY301 - one way out, of here and of a validation
                if saving or _checkpoint_due(state, recipe):
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
        return "interrupted" if processes.total([stop()])[0] else "time limit"


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
    at, every = state.progress, recipe.checkpoint_every
    return every is not None and at.step % every == 0 and at.batch < state.steps_per_epoch


def _minutes_over(state: State, recipe: Recipe) -> bool:
    """Whether the newest checkpoint is too old."""
    minutes = recipe.checkpoint_minutes
    return minutes is not None and state.watch.seconds - state.watch.saved_at >= 60 * minutes


def _late(state: State, recipe: Recipe) -> bool:
    """Whether this session has had its time."""
    minutes = recipe.max_minutes
    return minutes is not None and state.watch.seconds - state.watch.began >= 60 * minutes


def _over(state: State, recipe: Recipe) -> bool:
    """Whether no further step is wanted."""
    patience = recipe.early_stop
    return _steps_over(state) or (patience is not None and state.progress.since_best >= patience)


def _steps_over(state: State) -> bool:
    return state.progress.step >= state.total_steps or state.progress.epoch >= state.epochs
