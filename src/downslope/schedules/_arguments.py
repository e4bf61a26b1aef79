"""The arguments of the functions that build schedules: checked, with errors that name them."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from ..errors import InputTypeError
from ._schedule import finite, whole

__all__ = ["function_of", "length", "optional", "ramp", "steps_of"]


def ramp(name: str, steps: int, start: float | None, end: float) -> tuple[int, float | None, float]:
    return (
        whole(f"{name}: steps", steps),
        optional(f"{name}: start", start),
        finite(f"{name}: end", end),
    )


def optional(name: str, value: float | None) -> float | None:
    return None if value is None else finite(name, value)


def length(name: str, steps: int | None) -> int | None:
    return None if steps is None else whole(f"{name}: steps", steps)


def steps_of(name: str, milestones: Sequence[int]) -> tuple[int, ...]:
    if isinstance(milestones, str) or not isinstance(milestones, Sequence):
        raise InputTypeError(f"{name}: milestones must be a list of steps, got {milestones!r}")
    return tuple(whole(f"{name}: a milestone", bound) for bound in milestones)


def function_of(name: str, function: Callable[[int], float]) -> Callable[[int], float]:
    if not callable(function):
        raise InputTypeError(f"{name} needs a function of the step, got {function!r}")
    return function
