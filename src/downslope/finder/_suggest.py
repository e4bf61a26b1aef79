"""From the races to the learning rate of the planned run: the numbers that were fitted.

A rule is a record of numbers for a family of optimizers; ``benchmarks/range_test`` measures it on
problems that it was not fitted on.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from ._races import Races, best

__all__ = ["HIGH", "LEAST_FALL", "Confidence", "confidence", "moved", "planned_lr", "usual_lr"]

Confidence = Literal["high", "medium", "low", "none"]


@dataclass(frozen=True)
class Family:
    """What was fitted for optimizers of a kind, in decades of the learning rate.

    Args:
        usual: where a step's length is this share of the weights': the answer of no race at all.
        offset: from the best of the races to the best of a run :data:`NEAR` times as long.
        length: more of that for each decade that the run is longer still.
    """

    usual: float
    offset: float
    length: float


# Fitted by ``python -m benchmarks.range_test.fit`` on runs of problems that the figures in
# ``benchmarks/results/range_test`` are not about.
_SGD = Family(-1.34, -0.04, -0.59)
_ADAPTIVE = Family(-1.19, 0.00, -0.69)
_SIGN = Family(-1.59, -0.16, -0.84)
_UNKNOWN = Family(-1.35, -0.07, -0.71)
_FAMILIES = {
    **dict.fromkeys(("sgd", "asgd"), _SGD),
    **dict.fromkeys(("adam", "adamw", "adamax", "nadam", "radam", "rmsprop"), _ADAPTIVE),
    **dict.fromkeys(("lion", "signum", "normalizedsgd"), _SIGN),
}

HIGH = 0.65  # decades above the usual rate the races begin: what diverges is cheap
# How much lower a long run wants its rate for classes than for values, in decades for each decade
# that it is longer: cross-entropy has no bound on what rows learnt by heart cost. Half of what fits
# generated problems best, because real ones differ less.
CLASSES = 0.3
PULL = 0.1  # the usual rate's share in the answer
FAR = 0.2  # decades higher for each decade that the loss fell: there is little noise
LEFT = 0.02  # of the loss, to which it always falls in that count

NEAR = 5.5  # a run of 300 steps over races of 54
FARTHEST = 1.0  # decades beyond it that were seen, roughly; longer runs get no lower rate
SURE = 10.0  # times the races' length: longer runs want rates that short ones do not show

LEAST_FALL = 0.01  # of the held-out loss, or there is no answer
LEAST_CERTAINTY = 3.0  # unless the fall, small as it is, is that many standard errors
LITTLE_FALL = 0.05  # below it the races say less than the usual rate
CLEAR_FALL = 0.1  # from which on the answer may be called clear
ENOUGH = 64  # targets held out; fewer are too unlike the ones that the run will be judged by


def usual_lr(optimizer: str, weights: float, step: float) -> float | None:
    """The learning rate at which a step is the usual share of the weights; None without a step.

    Where the loss times c makes the step c times as long (SGD), that gives a learning rate of 1/c.

    Args:
        optimizer: its class in lower case.
        weights: the norm of all weights.
        step: the norm of a step at a learning rate of 1.

    >>> round(usual_lr("sgd", 5.0, 2.0) / usual_lr("sgd", 5.0, 60.0), 9)
    30.0
    """
    if step == 0:
        return None
    return 10 ** _FAMILIES.get(optimizer, _UNKNOWN).usual * weights / step


def planned_lr(optimizer: str, races: Races, usual: float | None, steps: int) -> float:
    """The learning rate of a run of ``steps`` steps.

    It is that of the best race, a little nearer to the usual one, higher where the loss fell far,
    and moved for the length of the run. Where the loss hardly fell it is the usual one.
    """
    if usual is None:
        usual = best(races)
    elif races.fall < LITTLE_FALL:
        return usual
    fallen = -math.log10(max(1 - races.fall, 0.0) + LEFT)
    between = (1 - PULL) * math.log10(best(races)) + PULL * math.log10(usual)
    by = moved(optimizer, steps / races.steps, races.classes)
    return float(10 ** (between + FAR * fallen + by))


def moved(optimizer: str, ratio: float, classes: bool | None = None) -> float:
    """Decades from the best of the races to the best of a run ``ratio`` times as long.

    Args:
        optimizer: its class in lower case.
        ratio: the planned run's steps over those of a race.
        classes: whether the targets are classes, not values; None where there is no telling.
    """
    family = _FAMILIES.get(optimizer, _UNKNOWN)
    beyond = min(max(math.log10(ratio / NEAR), 0.0), FARTHEST)
    side = 0.0 if classes is None else CLASSES / 2 if classes else -CLASSES / 2
    return family.offset + (family.length - side) * beyond


def confidence(races: Races, steps: int) -> Confidence:
    """How clear the answer is for a run of so many steps."""
    if races.fall < LEAST_FALL and races.certainty < LEAST_CERTAINTY:
        return "none"
    if races.fall < CLEAR_FALL:
        return "low"
    sure = races.bounded and steps <= SURE * races.steps and races.labels >= ENOUGH
    return "high" if sure else "medium"
