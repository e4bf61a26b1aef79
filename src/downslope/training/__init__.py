"""Training a task by a recipe: the loop, precision, checkpoints and the run's directory.

Read ``loop.py`` first: it is the loop of every tutorial, and everything else serves it.
"""

from . import checkpoint
from ._fit import fit
from .outcome import TrainingDivergedError
from .recipe import Recipe
from .run import Run

__all__ = ["Recipe", "Run", "TrainingDivergedError", "checkpoint", "fit"]
