"""Training a task by a recipe: the loop, precision, checkpoints and the run's directory.

Read ``loop.py`` first: it is the loop of every tutorial, and everything else serves it.
"""

from typing import TYPE_CHECKING

from ..lazy import importer

if TYPE_CHECKING:
    from . import checkpoint
    from ._fit import fit
    from .outcome import TrainingDivergedError
    from .recipe import Recipe
    from .run import Run

_HOME = {
    "Recipe": "recipe",
    "Run": "run",
    "TrainingDivergedError": "outcome",
    "checkpoint": "checkpoint",
    "fit": "_fit",
}

__all__ = ["Recipe", "Run", "TrainingDivergedError", "checkpoint", "fit"]

__getattr__ = importer(__name__, _HOME)


def __dir__() -> list[str]:
    return __all__
