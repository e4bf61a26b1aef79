"""How good the model is on the validation part, and whether that is the best so far."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch

from ..tasks import LOSS, Task, size
from ..tasks.batches import Batches
from .outcome import StopAskedError, diverged
from .recipe import Recipe
from .state import State

__all__ = ["evaluate", "validate", "validation_due"]


def validation_due(state: State, recipe: Recipe, *, at_end: bool) -> bool:
    """Whether a validation is wanted here and has not been made.

    Args:
        state: where the run stands.
        recipe: how often.
        at_end: the epoch's steps, or the run's, are over.
    """
    at, every = state.progress, recipe.validate_steps
    if at.validated_at == state.taken:
        return False
    if every is not None and state.taken % every == 0 and state.taken:
        return True
    if not at_end:
        return False
    epochs = at.epoch + 1 if at.batch >= state.steps_per_epoch else at.epoch
    by_epochs = every is None and epochs > at.epoch and epochs % recipe.validate_epochs == 0
    return by_epochs or epochs >= state.epochs or at.step >= state.total_steps


def validate(state: State, task: Task, recipe: Recipe, stop: Callable[[], bool]) -> dict[str, Any]:
    """Evaluate, and remember the best; returns the event.

    Raises:
        TrainingDivergedError: the loss or a metric is not finite.
        StopAskedError: ``stop`` said so before it was done; nothing is remembered.
    """
    at, judge = state.progress, task.judge(recipe.best)
    values = evaluate(state, task, stop)
    value = values[judge.name]
    best = judge.better(value, than=at.best_metric)
    if best:
        at.best_metric, at.best_step, at.since_best = value, at.step, 0
    else:
        at.since_best += 1
    at.validated_at = state.taken
    state.lr.after_validation(at.step, values[LOSS])
    event = {
        "event": "validation",
        "step": at.step,
        "epoch": at.epoch + 1,
        "train_loss": at.loss_sum / at.rows,
        "loss": values[LOSS],
        "metric": value,
        "best": best,
        "seconds": state.watch.seconds,
    }
    others = {k: v for k, v in values.items() if k not in (LOSS, judge.name)}
    return {**event, "metrics": others} if others else event


@torch.inference_mode()
def evaluate(
    state: State, task: Task, stop: Callable[[], bool] = lambda: False
) -> dict[str, float]:
    """Mean loss and metrics on the validation part, in evaluation mode, by their names.

    Raises:
        TrainingDivergedError: one of them is not finite.
        StopAskedError: ``stop`` said so between two batches.
    """
    processes, rows = state.processes, size(task.validation)
    metrics = (task.metric, *task.metrics)
    means = [metric for metric in metrics if metric.mean]
    whole = [metric for metric in metrics if not metric.mean]
    outputs, targets, sums = [], [], [0.0] * (1 + len(means))
    with state.evaluating():
        for inputs, target in Batches(task.validation, _my_rows(state, rows)):
            with state.precision.autocast():
                output = state.model(inputs.to(state.device))
                loss = task.loss(output, target.to(state.device)).item()
            output = output.float().cpu()
            values = [loss, *(metric.function(output, target) for metric in means)]
            sums = [a + value * len(target) for a, value in zip(sums, values, strict=True)]
            if whole:
                outputs.append(output)
                targets.append(target)
            if processes.total([stop()])[0]:
                raise StopAskedError
    sums = processes.total(sums)
    everybody = processes.gathered((torch.cat(outputs), torch.cat(targets))) if whole else []

    def measured() -> dict[str, float]:
        """Of all rows in their order, by the first process."""
        names = [LOSS, *(metric.name for metric in means)]
        values = {name: total / rows for name, total in zip(names, sums, strict=True)}
        if whole:
            all_outputs, all_targets = map(torch.cat, zip(*everybody, strict=True))
            for metric in whole:
                values[metric.name] = metric.function(all_outputs, all_targets)
        return values

    found = processes.by_first(measured)
    if not all(map(math.isfinite, found.values())):
        raise diverged(state, "validation " + ", ".join(f"{k} {v}" for k, v in found.items()))
    return found


def _my_rows(state: State, rows: int) -> list[torch.Tensor]:
    """The rows of each batch; every process has as many batches, for each is a collective."""
    processes, order = state.processes, torch.arange(rows)
    if processes.count == 1:
        return list(torch.split(order, state.evaluation_batch_size))
    most = -(-rows // processes.count)
    mine = order.tensor_split(processes.count)[processes.rank]
    return list(mine.tensor_split(-(-most // state.evaluation_batch_size)))
