"""Optimizers on two-dimensional surfaces, to see what each does: ``downslope race``."""

from .run import RUNNERS, Lane, Path, race, runners
from .surfaces import SURFACES, Surface, surface

__all__ = ["RUNNERS", "SURFACES", "Lane", "Path", "Surface", "race", "runners", "surface"]
