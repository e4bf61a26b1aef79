"""What precedes a training: the range test of what a recipe is going to train."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from ..finder import RangeTest, find_lr
from ..tasks import Task
from .precision import Precision
from .recipe import Recipe

__all__ = ["range_test"]


def range_test(
    task: Task, recipe: Recipe, on_step: Callable[[dict[str, Any]], None] | None = None
) -> RangeTest:
    """The range test of what a resolved recipe trains, as long as that is, at its precision."""
    device = torch.device(recipe.device)
    precision = Precision(recipe.precision, device)
    return find_lr(
        task,
        optimizer=recipe.optimizer,
        hyperparameters=recipe.optimizer_arguments(),
        batch_size=recipe.batch_size,
        seed=recipe.seed,
        device=device,
        steps=recipe.total_steps(task),
        clip_norm=recipe.clip_norm,
        autocast=precision.dtype,
        scaler=precision.scaler if precision.scales else None,
        progress=False,
        on_step=on_step,
    )
