"""What the commands that make experiments have in common: their options."""

from __future__ import annotations

from typing import Annotated

import typer

from ..training import Recipe
from .model import TASK_OPTIONS
from .options import of_fields

__all__ = ["OPTIONS", "Processes", "Quiet"]

#: Fields of the recipe that an experiment decides itself.
_OWN = {"optimizer", "heal", "max_minutes", "strategy"}

#: The options of the task and of the recipe.
OPTIONS = [*TASK_OPTIONS, *(s for s in of_fields(Recipe.model_fields) if s.name not in _OWN)]

Processes = Annotated[
    int | None, typer.Option(help="runs side by side, a process each [default: one a core]")
]
Quiet = Annotated[bool, typer.Option("--quiet", help="print the answer only")]
