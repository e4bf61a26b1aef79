"""From a task and a recipe to a trained run: the side effects around the loop."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from ..tasks import Task
from .recipe import Recipe
from .run import Run

__all__ = ["fit"]


def fit(
    task: Task,
    recipe: Recipe | None = None,
    run_dir: str | Path | None = None,
    *,
    resume: bool = False,
    on_event: Sequence[Callable[[dict[str, Any]], None]] = (),
) -> Run: ...
