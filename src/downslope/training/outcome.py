"""How a run ends before its time: it diverged, or somebody asked it to stop."""

from __future__ import annotations

from ..errors import DownslopeError
from .state import State

__all__ = ["StopAskedError", "TrainingDivergedError", "diverged"]


class TrainingDivergedError(DownslopeError, ArithmeticError):
    """A loss or a gradient is infinite or not a number; the weights were not touched by it."""


class StopAskedError(Exception):
    """A signal or a time limit ends this session; what was going on is done again by the next."""


def diverged(state: State, what: str, lr: float | None = None) -> TrainingDivergedError:
    """The error that says where training was, what it saw, and what helps."""
    at = state.progress
    rate = "" if lr is None else f" at lr {lr:.3g}"
    advice = "a lower lr" if lr is None else f"a lower lr (try {lr / 10:.1g})"
    return TrainingDivergedError(
        f"Training diverged in epoch {at.epoch + 1} after {at.step} steps{rate}: {what}. The last "
        f"checkpoint is kept. Use {advice}, a smaller clip_norm or a longer warmup, and look for "
        "infinite values in the data."
    )
