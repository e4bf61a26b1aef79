"""From the races to the learning rate of the planned run: the numbers that were fitted.

A rule is a record of numbers for a family of optimizers; ``benchmarks/range_test`` measures it on
problems that it was not fitted on.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, cast

from ._races import Races, Run, best

__all__ = [
    "HIGH",
    "LEAST_FALL",
    "RULE",
    "Confidence",
    "Rule",
    "confidence",
    "moved",
    "planned_lr",
    "usual_lr",
]

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
        depth: more for each decade of layers: each adds to what a step changes.
    """

    usual: float
    pull: float
    shift: Shift
    depth: Shift


@dataclass(frozen=True)
class Rule:
    """All numbers that were fitted: how the answer goes by the optimizer and by what is known.

    Args:
        sgd: momentum or none.
        adaptive: a step is divided by the gradient's root mean square.
        sign: all numbers of a step are alike.
        unknown: any other optimizer.
        classes: more for classes than for values: cross-entropy has no bound on what rows learnt
            by heart cost.
        capacity: more for each decade of weights a target: what can learn its rows by heart does
            so in a long run.
        slowest: more for each decade by which the matrix that a step changes least lies below all
            weights together, which is what the usual rate goes by.
    """

    sgd: Family
    adaptive: Family
    sign: Family
    unknown: Family
    classes: Shift
    capacity: Shift
    slowest: Shift

    def of(self, optimizer: str) -> Family:
        """The family of an optimizer's class, in lower case."""
        return cast(Family, getattr(self, _FAMILIES.get(optimizer, "unknown")))


# Fitted by what `python -m benchmarks.range_test.fit` does, on replayed races of problems that the
# figures in `benchmarks/results/range_test` are not about (dev/LOG.md); `unknown` lies between the
# others. The usual rates are an older fit, of no race at all.
RULE = Rule(
    sgd=Family(-1.34, 0.51, Shift(0.01, -0.67), Shift(-1.66, -0.17)),
    adaptive=Family(-1.19, 0.26, Shift(0.17, -0.72), Shift(-0.89, 0.39)),
    sign=Family(-1.59, 0.65, Shift(0.01, -0.89), Shift(-0.29, -0.19)),
    unknown=Family(-1.35, 0.47, Shift(0.06, -0.76), Shift(-0.95, 0.01)),
    classes=Shift(-0.25, -0.42),
    capacity=Shift(-0.15, -0.17),
    slowest=Shift(0.27, 0.30),
)
_FAMILIES = {
    **dict.fromkeys(("sgd", "asgd"), "sgd"),
    **dict.fromkeys(("adam", "adamw", "adamax", "nadam", "radam", "rmsprop"), "adaptive"),
    **dict.fromkeys(("lion", "signum", "normalizedsgd"), "sign"),
}

HIGH = 0.65  # decades above the usual rate the races begin: what diverges is cheap

# The usual rate's pull on the races' answer.
ALONE = 0.45  # more of it where the held-out loss hardly fell
WELL = 0.3  # of the loss: where it fell by less there may be a plateau, and the pull down is weaker
APART = 1.2  # decades between the two, beyond which it grows no more: few were seen there


@dataclass(frozen=True)
class Span:
    """Of something known of a run: what there was of it among the problems measured.

    Args:
        least: what is less counts as that.
        middle: where it moves nothing.
        most: likewise.
    """

    least: float
    middle: float
    most: float

    def of(self, value: float | None) -> float:
        """How far from the middle; nothing where it is not known."""
        return 0.0 if value is None else min(max(value, self.least), self.most) - self.middle


CLASSES = Span(0.0, 0.5, 1.0)  # classes are 1, values 0
CAPACITY = Span(-0.5, 0.5, 1.5)  # decades of weights for each target
DEPTH = Span(0.3, 0.5, 0.85)  # decades of layers
SLOWEST = Span(-0.25, 0.25, 1.5)  # decades below

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
    return 10 ** RULE.of(optimizer).usual * weights / step


def planned_lr(
    optimizer: str, races: Races, usual: float | None, steps: int, rule: Rule = RULE
) -> float:
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
    by = moved(optimizer, steps / races.steps, races.run, rule)
    by += _pull(rule.of(optimizer), races.fall, apart) * min(max(apart, -APART), APART)
    return float(at * 10**by)


def _pull(family: Family, fall: float, apart: float) -> float:
    """The share of the answer that is the usual rate's, so many decades away from the races'.

    Higher rates are sooner off a plateau: where the loss fell little it draws up, but not down.
    """
    pull = family.pull
    if apart < 0:
        pull *= min(max(fall / WELL, 0.0), 1.0)
    return pull + (ALONE if fall < LITTLE_FALL else 0.0)


def moved(optimizer: str, ratio: float, run: Run, rule: Rule = RULE) -> float:
    """Decades from the best of the races to the best of a run ``ratio`` times as long.

    Args:
        optimizer: its class in lower case.
        ratio: the planned run's steps over those of a race.
        run: what is known of it.
        rule: the numbers.
    """
    beyond = min(max(math.log10(ratio / NEAR), 0.0), FARTHEST)
    family = rule.of(optimizer)
    known = (
        (rule.classes, CLASSES.of(run.classes)),
        (rule.capacity, CAPACITY.of(_decades(run.capacity))),
        (rule.slowest, SLOWEST.of(run.slowest)),
        (family.depth, DEPTH.of(_decades(run.depth))),
    )
    return family.shift.at(beyond) + sum(shift.at(beyond) * far for shift, far in known)


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
