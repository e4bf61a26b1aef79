"""The learning rate of each step, by the recipe's schedule."""

from __future__ import annotations

import math
from typing import Any

import torch

from ..optim.lr_scheduler import ReduceLROnPlateau
from ..schedules import Schedule, constant, cosine, linear, step, warmup
from .recipe import Recipe

__all__ = ["LearningRate", "schedule"]

STAIRS = 3  # the "step" schedule divides the lr by ten after each third of the steps


def schedule(recipe: Recipe, total_steps: int) -> Schedule:
    """The recipe's schedule over ``total_steps`` steps, as factors of its learning rate.

    ``plateau`` gives the warmup alone; what follows depends on the validation loss.

    Args:
        recipe: resolved, so that its warmup is a number.
        total_steps: optimizer steps of the whole run, at least 1.

    >>> schedule(Recipe(schedule="cosine", warmup=0.25), total_steps=8)
    warmup(2) >> cosine(6)
    """
    rising = _rising(recipe, total_steps)
    left = total_steps - rising
    body: Schedule
    match recipe.schedule:
        case "warmup-cosine" | "cosine":
            body = cosine(left)
        case "linear":
            body = linear(left)
        case "step":
            body = step(math.ceil(left / STAIRS))
        case "constant" | "plateau":
            body = constant()
    return warmup(rising) >> body if rising else body


def _rising(recipe: Recipe, total_steps: int) -> int:
    """Steps of the warmup."""
    return int((recipe.warmup or 0.0) * total_steps)


class LearningRate:
    """Sets the learning rate in an optimizer's groups, before every step.

    Args:
        optimizer: whose groups are set.
        recipe: resolved; its ``lr`` is the peak.
        total_steps: optimizer steps of the whole run.

    >>> optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)
    >>> lr = LearningRate(optimizer, Recipe(lr=0.5, schedule="linear", warmup=0.0), total_steps=10)
    >>> lr.before_step(5)
    0.25
    """

    def __init__(self, optimizer: torch.optim.Optimizer, recipe: Recipe, total_steps: int) -> None:
        if recipe.lr is None:
            raise ValueError("LearningRate: the recipe has no lr yet")
        self._optimizer = optimizer
        self._schedule = schedule(recipe, total_steps).scaled(recipe.lr)
        self._plateau: ReduceLROnPlateau | None = None
        if recipe.schedule == "plateau":
            self._plateau = ReduceLROnPlateau(optimizer, patience=5)  # the first guide's
        self._rising = _rising(recipe, total_steps)

    def before_step(self, done: int) -> float:
        """Set the learning rate of the step after ``done`` steps, and return it."""
        groups = self._optimizer.param_groups
        if self._plateau is None or done <= self._rising:
            lr = self._schedule(done)
            for group in groups:
                if group["lr"] != lr:  # an optimizer reads a group again that was written to
                    group["lr"] = lr
        return float(groups[0]["lr"])

    def after_validation(self, done: int, validation_loss: float) -> None:
        """Tell a plateau schedule how a validation went; a warmup is left to finish first."""
        if self._plateau is not None and done > self._rising:
            self._plateau.step(validation_loss)

    def state_dict(self) -> dict[str, Any]:
        """What a plateau schedule remembers; schedules of the step remember nothing."""
        return {} if self._plateau is None else self._plateau.state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take up a saved state, after the optimizer's."""
        if self._plateau is not None and state:
            self._plateau.load_state_dict(state)
