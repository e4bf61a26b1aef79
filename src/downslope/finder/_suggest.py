"""From the races to the learning rate of the planned run: the numbers that were fitted.

A rule is a record of numbers for a family of optimizers; ``benchmarks/range_test`` measures it on
problems that it was not fitted on.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from ._races import Races, best

__all__ = ["LEAST_FALL", "Confidence", "confidence", "first_race", "moved", "planned_lr"]

Confidence = Literal["high", "medium", "low", "none"]


@dataclass(frozen=True)
class Family:
    """What was fitted for optimizers of a kind, in decades of the learning rate.

    Args:
        start: where the races begin: so far that a step's length is this share of the weights'.
        offset: from the best of the races to the best of a run :data:`NEAR` times as long.
        length: more of that for each decade that the run is longer still.
    """

    start: float
    offset: float
    length: float


# Fitted by ``python -m benchmarks.range_test.fit`` on runs of problems that the figures in
# ``benchmarks/results/range_test`` are not about.
_SGD = Family(-0.69, 0.02, -0.53)
_ADAPTIVE = Family(-0.54, 0.18, -0.81)
_SIGN = Family(-0.94, -0.12, -0.78)
_UNKNOWN = Family(-0.7, 0.0, -0.7)
_FAMILIES = {
    **dict.fromkeys(("sgd", "asgd"), _SGD),
    **dict.fromkeys(("adam", "adamw", "adamax", "nadam", "radam", "rmsprop"), _ADAPTIVE),
    **dict.fromkeys(("lion", "signum", "normalizedsgd"), _SIGN),
}

NEAR = 5.5  # a run of 300 steps over races of 54
FARTHEST = 1.0  # decades beyond it that were seen, roughly; longer runs get no lower rate
SURE = 10.0  # times the races' length, up to which 92% of suggestions were within 1.5x

LEAST_FALL = 0.01  # of the held-out loss, or there is no answer
LEAST_CERTAINTY = 3.0  # unless the fall, small as it is, is that many standard errors
CLEAR_FALL = 0.1  # from which on the answer may be called clear


def first_race(optimizer: str, weights: float, step: float) -> float:
    """The learning rate of the first race: a share of the weights' norm over that of a step.

    Where the loss times c makes the step c times as long (SGD), that gives a learning rate of 1/c.

    Args:
        optimizer: its class in lower case.
        weights: the norm of all weights.
        step: the norm of a step at a learning rate of 1.

    >>> round(first_race("sgd", 5.0, 2.0) / first_race("sgd", 5.0, 60.0), 9)
    30.0
    """
    return 10 ** _FAMILIES.get(optimizer, _UNKNOWN).start * weights / step


def planned_lr(optimizer: str, races: Races, steps: int) -> float:
    """The learning rate of a run of ``steps`` steps.

    It is that of the best race, moved by what was fitted: a longer run wants a lower rate.
    """
    return best(races) * 10 ** moved(optimizer, steps / races.steps)


def moved(optimizer: str, ratio: float) -> float:
    """Decades from the best of the races to the best of a run ``ratio`` times as long."""
    family = _FAMILIES.get(optimizer, _UNKNOWN)
    beyond = min(max(math.log10(ratio / NEAR), 0.0), FARTHEST)
    return family.offset + family.length * beyond


def confidence(races: Races, steps: int) -> Confidence:
    """How clear the answer is for a run of so many steps."""
    if races.fall < LEAST_FALL and races.certainty < LEAST_CERTAINTY:
        return "none"
    if races.fall < CLEAR_FALL:
        return "low"
    return "high" if races.bounded and steps <= SURE * races.steps else "medium"
