"""The monitor beside the loop: what it sees becomes events of the run."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch

from ..monitor import BUDGET, Monitor, constant_loss
from ..randomness import randomness_restored
from ..tasks import Task, batches
from .recipe import Recipe
from .state import State

__all__ = ["Watch"]

Event = dict[str, Any]


class Watch:
    """Follows the loop's events and adds those of a :class:`~downslope.Monitor`.

    A model that is compiled, or spread over several processes, is not looked into: hooks would
    break the one's graph and see a share of the other.

    Args:
        state: what is trained.
        task: of which the loss of constant outputs is computed.
        recipe: resolved.
        emit: is told the monitor's events.
    """

    def __init__(
        self, state: State, task: Task, recipe: Recipe, emit: Callable[[Event], None]
    ) -> None:
        self._monitor: Monitor | None = None
        if recipe.compile or state.processes.count > 1:
            return
        self._monitor = Monitor(
            state.model,
            state.optimizer,
            total_steps=state.total_steps,
            constant_loss=_worthless(state, task),
            done=state.progress.step,
            losses=False,
            # Healing depends on what was seen: a budget of time would make it a matter of luck.
            budget=math.inf if recipe.heal else BUDGET,
            on_event=[emit],
        )

    def follow(self, event: Event) -> None:
        """Take note of an event of the loop, after it was recorded."""
        if self._monitor is None:
            return
        if event["event"] == "train":
            self._monitor.step(event["loss"])
        elif event["event"] == "skip":
            self._monitor.skip()

    def trace(self) -> None:
        """Look for the origin of a number that is not finite."""
        if self._monitor is not None:
            self._monitor.trace()

    def __enter__(self) -> Watch:
        return self

    def __exit__(self, *_: object) -> None:
        if self._monitor is not None:
            self._monitor.close()


@torch.no_grad()
def _worthless(state: State, task: Task) -> float | None:
    """The loss of the best constant outputs, on the first validation batch.

    Only of torch's own losses: one of the user's may count its calls, or draw.
    """
    if getattr(task.loss, "__module__", "") != "torch.nn.functional":
        return None
    inputs, targets = next(iter(batches(task.validation, state.evaluation_batch_size)))
    was = state.model.training
    with randomness_restored():  # a model may draw even while it is evaluated
        outputs = state.model.eval()(inputs.to(state.device))
    state.model.train(was)
    return constant_loss(task.loss, outputs, targets.to(state.device))
