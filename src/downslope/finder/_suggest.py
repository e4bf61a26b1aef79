"""From the races to the learning rate of the planned run: the numbers that were fitted.

A rule is a record of numbers for a family of optimizers; ``benchmarks/range_test`` measures it on
problems that it was not fitted on.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from ._races import Races, Run, best

__all__ = ["HIGH", "LEAST_FALL", "Confidence", "confidence", "moved", "planned_lr", "usual_lr"]

Confidence = Literal["high", "medium", "low", "none"]


@dataclass(frozen=True)
class Shift:
    """Decades from the best of the races to the best of the planned run.

    Args:
        near: for a run :data:`NEAR` times as long as a race.
        longer: more for each decade that it is longer still.
    """

    near: float
    longer: float

    def at(self, beyond: float) -> float:
        """For a run that is so many decades longer than one nearby."""
        return self.near + self.longer * beyond


@dataclass(frozen=True)
class Family:
    """What was fitted for optimizers of a kind, in decades of the learning rate.

    Args:
        usual: where a step's length is this share of the weights': the answer of no race at all.
        pull: its share in the answer, beside the races'. Both are right to half a decade or so, and
            where they differ the few short races are mostly too far out.
        shift: from between them to the best of a run.
    """

    usual: float
    pull: float
    shift: Shift


# Fitted on runs of problems that the figures in ``benchmarks/results/range_test`` are not about:
# the shifts by ``python -m benchmarks.range_test.fit``, the pulls and the effects below by
# replaying races (dev/LOG.md).
_SGD = Family(-1.34, 0.30, Shift(0.08, -0.50))
_ADAPTIVE = Family(-1.19, 0.20, Shift(0.16, -0.82))
_SIGN = Family(-1.59, 0.45, Shift(-0.04, -0.88))
_UNKNOWN = Family(-1.35, 0.30, Shift(0.07, -0.73))
_FAMILIES = {
    **dict.fromkeys(("sgd", "asgd"), _SGD),
    **dict.fromkeys(("adam", "adamw", "adamax", "nadam", "radam", "rmsprop"), _ADAPTIVE),
    **dict.fromkeys(("lion", "signum", "normalizedsgd"), _SIGN),
}

HIGH = 0.65  # decades above the usual rate the races begin: what diverges is cheap

# The usual rate's pull on the races' answer.
ALONE = 0.45  # more of it where the held-out loss hardly fell
WELL = 0.3  # of the loss: where it fell by less there may be a plateau, and the pull down is weaker
APART = 1.2  # decades between the two, beyond which it grows no more: few were seen there


@dataclass(frozen=True)
class Effect:
    """How the answer goes by what is known of a run beforehand.

    Args:
        shift: of the answer, for each unit.
        middle: of the problems measured, where it is nothing.
        least: of them; what is less counts as that.
        most: likewise.
    """

    shift: Shift
    middle: float
    least: float
    most: float

    def at(self, value: float | None, beyond: float) -> float:
        """The shift for a value; nothing where it is not known."""
        if value is None:
            return 0.0
        return self.shift.at(beyond) * (min(max(value, self.least), self.most) - self.middle)


# Classes (1) or values (0): cross-entropy has no bound on what rows learnt by heart cost.
CLASSES = Effect(Shift(-0.30, -0.40), 0.5, 0.0, 1.0)
# Decades of weights for each target: what can learn its rows by heart does so in a long run.
CAPACITY = Effect(Shift(-0.12, -0.25), 0.5, -0.5, 1.5)
# Decades of layers: each adds to what a step changes, until the run is long enough.
DEPTH = Effect(Shift(-0.45, 0.40), 0.5, 0.3, 0.85)

NEAR = 5.5  # a run of 300 steps over races of 54
FARTHEST = 0.65  # decades beyond it that were seen, 1,500 steps; longer runs get no lower rate
SURE = 10.0  # times the races' length: longer runs want rates that short ones do not show

LEAST_FALL = 0.01  # of the held-out loss, or there is no answer
LEAST_CERTAINTY = 3.0  # unless the fall, small as it is, is that many standard errors
LITTLE_FALL = 0.05  # below it the usual rate says more than the races
LITTLE_LEARNT = 0.2  # of the training loss; below it too, the races say nothing
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

    It lies between that of the best race and the usual one, and is moved for the length of the run
    and what is known of it beforehand. On a plateau, where neither the held-out loss nor the
    training loss fell, it is the usual one.
    """
    plateau = races.fall < LITTLE_FALL and races.learnt < LITTLE_LEARNT
    if plateau and usual is not None:
        return usual
    at = best(races)
    apart = 0.0 if usual is None else math.log10(usual / at)
    by = moved(optimizer, steps / races.steps, races.run)
    by += _pull(optimizer, races.fall, apart) * min(max(apart, -APART), APART)
    return float(at * 10**by)


def _pull(optimizer: str, fall: float, apart: float) -> float:
    """The share of the answer that is the usual rate's, so many decades away from the races'.

    Higher rates are sooner off a plateau: where the loss fell little it draws up, but not down.
    """
    pull = _FAMILIES.get(optimizer, _UNKNOWN).pull
    if apart < 0:
        pull *= min(max(fall / WELL, 0.0), 1.0)
    return pull + (ALONE if fall < LITTLE_FALL else 0.0)


def moved(optimizer: str, ratio: float, run: Run | None = None) -> float:
    """Decades from the best of the races to the best of a run ``ratio`` times as long.

    Args:
        optimizer: its class in lower case.
        ratio: the planned run's steps over those of a race.
        run: what is known of it.
    """
    beyond = min(max(math.log10(ratio / NEAR), 0.0), FARTHEST)
    by = _FAMILIES.get(optimizer, _UNKNOWN).shift.at(beyond)
    if run is None:
        return by
    known = (
        (CLASSES, run.classes),
        (CAPACITY, _decades(run.capacity)),
        (DEPTH, _decades(run.depth)),
    )
    return by + sum(effect.at(value, beyond) for effect, value in known)


def _decades(value: float | None) -> float | None:
    return math.log10(value) if value else None


def confidence(races: Races, steps: int) -> Confidence:
    """How clear the answer is for a run of so many steps."""
    if races.fall < LEAST_FALL and races.certainty < LEAST_CERTAINTY:
        return "none"
    if races.fall < CLEAR_FALL:
        return "low"
    sure = races.bounded and steps <= SURE * races.steps and races.run.labels >= ENOUGH
    return "high" if sure else "medium"
