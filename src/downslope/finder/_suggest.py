"""From the races to the learning rate of the planned run: the numbers that were fitted.

A rule is a record of numbers for a family of optimizers; ``benchmarks/range_test`` measures it on
problems that it was not fitted on.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from ._races import Races, best

__all__ = ["LEAST_FALL", "Confidence", "confidence", "fell", "first_race", "planned_lr"]

Confidence = Literal["high", "medium", "low", "none"]


@dataclass(frozen=True)
class Family:
    """What was fitted for optimizers of a kind, in decades of the learning rate.

    Args:
        start: where the races begin: this, plus ``diverged`` times the decades at which the sweep
            diverged, minus ``scale`` times those of the first loss. Where the loss times c must
            give a learning rate of 1/c (SGD), the two shares make 1.
        diverged: see there.
        scale: see there.
        offset: from the best of the races to the best of a run :data:`NEAR` times as long.
        length: more of that for each decade that the run is longer still.
        trend: share of the way from the best at half of the races to the best at their end that is
            gone on.
    """

    start: float
    diverged: float
    scale: float
    offset: float
    length: float
    trend: float


_SGD = Family(-1.49, 0.56, 0.44, -0.12, -0.40, 0.18)
_ADAPTIVE = Family(-1.65, 0.20, 0.0, 0.04, -0.21, 0.37)
_SIGN = Family(-1.98, 0.26, 0.0, -0.32, -1.15, 0.18)
_UNKNOWN = Family(-1.6, 1.0, 0.0, -0.17, -0.62, 0.49)
_FAMILIES = {
    **dict.fromkeys(("sgd", "asgd"), _SGD),
    **dict.fromkeys(("adam", "adamw", "adamax", "nadam", "radam", "rmsprop"), _ADAPTIVE),
    **dict.fromkeys(("lion", "signum", "normalizedsgd"), _SIGN),
}

NEAR = 7.5  # a run of 300 steps over races of 40
FARTHEST = 1.0  # decades beyond it that were seen, roughly; longer runs get no lower rate

LEAST_FALL = 0.01  # of the held-out loss, or there is no answer
CLEAR_FALL = 0.1  # from which on the answer may be called clear


def first_race(optimizer: str, diverged_at: float, loss: float) -> float:
    """The learning rate of the first race.

    Args:
        optimizer: its class in lower case.
        diverged_at: where the sweep diverged, or its last learning rate.
        loss: before training; only SGD's family looks at it, where it is above 0.

    >>> ratio = first_race("sgd", 0.1 / 30, 30.0) / first_race("sgd", 0.1, 1.0)  # the loss times 30
    >>> round(30 * ratio, 9)
    1.0
    """
    family = _FAMILIES.get(optimizer, _UNKNOWN)
    shares = family.diverged * math.log10(diverged_at)
    if family.scale and loss > 0:
        shares -= family.scale * math.log10(loss)
    elif family.scale:  # the scale of the loss is unknown: the sweep's alone
        shares = math.log10(diverged_at)
    return float(10 ** (family.start + shares))


def planned_lr(optimizer: str, races: Races, steps: int) -> float:
    """The learning rate of a run of ``steps`` steps.

    It is that of the best race, moved by what was fitted: a longer run wants a lower rate, and
    more so where the best rate fell already between the middle and the end of the races.
    """
    family = _FAMILIES.get(optimizer, _UNKNOWN)
    end, middle = best(races), best(races.halfway)
    beyond = min(max(math.log10(steps / (NEAR * races.steps)), 0.0), FARTHEST)
    moved = family.offset + family.length * beyond + family.trend * math.log10(end / middle)
    return float(end * 10**moved)


def fell(races: Races) -> float:
    """The share by which the held-out loss fell in the best race."""
    winner = races.winner
    if not math.isfinite(winner.loss):
        return -math.inf
    return (races.first - winner.loss) / abs(races.first) if races.first else 0.0


def confidence(races: Races) -> Confidence:
    """How clear the answer is."""
    if fell(races) < LEAST_FALL:
        return "none"
    if fell(races) >= CLEAR_FALL:
        return "high" if races.bracketed else "medium"
    return "low"
