"""Training a task by a recipe: the loop, precision, checkpoints and the run's directory.

Read ``loop.py`` first: it is the loop of every tutorial, and everything else serves it.
"""

from typing import TYPE_CHECKING

from ..lazy import importer

if TYPE_CHECKING:
    from . import checkpoint
    from ._export import Exported, export
    from ._fit import fit
    from ._predict import predict, write_predictions
    from .outcome import TrainingDivergedError
    from .recipe import Recipe
    from .run import Run

_HOME = {
    "Recipe": "recipe",
    "Run": "run",
    "TrainingDivergedError": "outcome",
    "checkpoint": "checkpoint",
    "fit": "_fit",
    "Exported": "_export",
    "export": "_export",
    "predict": "_predict",
    "write_predictions": "_predict",
}

__all__ = [
    "Exported",
    "Recipe",
    "Run",
    "TrainingDivergedError",
    "checkpoint",
    "export",
    "fit",
    "predict",
    "write_predictions",
]

__getattr__ = importer(__name__, _HOME)


def __dir__() -> list[str]:
    return __all__
