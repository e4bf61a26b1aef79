"""The decisions of a comparison as pure functions: how long, which target, which trial."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import Any

from ..errors import InputError
from .outcome import Outcome

__all__ = ["affordable_steps", "chosen", "default_target", "finalists", "needs_trials"]

RANGE_TEST = 200, 0.15  # what a range test costs: steps, or a share of the run, whichever is more
SHARE = 0.99  # of the way from a model that knows nothing to what the optimizers hold
FINALISTS = 2  # trials of each optimizer that are run once more
HALVINGS = 40  # of the interval in which the share of the steps is sought
FEWEST = 20  # steps that a run must have to show anything


def default_target(tuned: Mapping[str, Sequence[Outcome]], *, higher_is_better: bool) -> float:
    """A value that most of the optimizers can be expected to reach, from their tuning alone.

    Of what each optimizer's best trial holds, the best value that at least half of them hold; and
    of the way there, from the worst first validation of any trial, 99 %: the last bit of the way is
    luck.

    Raises:
        InputError: no optimizer has a trial that ended well.
    """
    sign = 1 if higher_is_better else -1
    values = [[v for o in outcomes if (v := o.held()) is not None] for outcomes in tuned.values()]
    best = sorted((max(sign * v for v in held) for held in values if held), reverse=True)
    if not best:
        raise InputError(
            "compare: every trial of every optimizer diverged or was given up, so there is no "
            "target. Look at what the doctor found, or give a goal."
        )
    begin = min(sign * o.curve[0].metric for trials in tuned.values() for o in trials if o.curve)
    held = best[min((len(tuned) - 1) // 2, len(best) - 1)]
    return sign * (begin + SHARE * (held - begin))


def finalists(outcomes: Sequence[Outcome], target: float, *, higher_is_better: bool) -> list[int]:
    """The trials that reach the target first, at most :data:`FINALISTS`; none where all failed.

    Those that do not reach it follow by what they hold.
    """
    sound = [k for k, outcome in enumerate(outcomes) if not outcome.failed]
    merits = {k: _merit([outcomes[k]], target, higher_is_better) for k in sound}
    return sorted(sound, key=lambda k: merits[k])[:FINALISTS]


def chosen(
    runs: Mapping[int, Sequence[Outcome]], target: float, *, higher_is_better: bool
) -> int | None:
    """The trial whose runs, the first and the one with another seed, are at the target first.

    By the mean of the logarithms of their steps: the fastest of several trials is partly lucky, and
    one lucky run of two is not enough. Where none is there twice, the one that holds the best
    value. None where there is no trial.
    """
    if not runs:
        return None
    return min(runs, key=lambda k: _merit(runs[k], target, higher_is_better))


def _merit(runs: Sequence[Outcome], target: float, higher_is_better: bool) -> tuple[float, float]:
    """Lower is better: when they were there, then what they hold."""
    steps = [
        math.inf if o.failed else o.steps_to(target, higher_is_better=higher_is_better)
        for o in runs
    ]
    held = [o.held() for o in runs]
    sign = -1 if higher_is_better else 1
    values = [math.inf if v is None else sign * v for v in held]
    return fmean(map(math.log, steps)), fmean(values)


def needs_trials(plan: Mapping[str, Any]) -> bool:
    """Whether anything depends on tuning runs: the choice among several, or the target."""
    return plan["trials"] > 1 or plan["goal"] is None


def affordable_steps(
    plan: Mapping[str, Any], probes: Mapping[str, Mapping[str, Any]], workers: int
) -> dict[str, int]:
    """The steps of each run for which the budget lasts, never more than the recipes have.

    All are shortened by the same factor.

    Args:
        plan: of the comparison.
        probes: what a short run of each contender took: ``steps``, their ``seconds`` and what it
            cost ``besides``, on a machine that was as busy as it will be.
        workers: how many work side by side.

    Raises:
        InputError: the budget is too small for runs that show anything.
    """
    runs = len(plan["seeds"]) + plan["trials"] * needs_trials(plan)
    runs += FINALISTS if plan["trials"] > 1 else 0
    least, part = RANGE_TEST
    besides = min(p["besides"] for p in probes.values())  # the others' began with imports

    def cost(share: float) -> float:
        """Seconds of all cores together, of runs that are this share of the planned ones."""
        seconds = 0.0
        for label, planned in plan["steps"].items():
            steps = share * planned
            sought = plan["contenders"][label]["lr"] is None
            tested = max(least, part * steps) if sought else 0.0
            step = probes[label]["seconds"] / probes[label]["steps"]
            seconds += step * (runs * steps + tested) + runs * besides
        return seconds

    budget = plan["budget"] * 60 * max(workers, 1)
    low, high = 0.0, 1.0
    if cost(high) <= budget:
        return dict(plan["steps"])
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        low, high = (middle, high) if cost(middle) <= budget else (low, middle)
    steps = {label: int(low * planned) for label, planned in plan["steps"].items()}
    if min(steps.values()) < FEWEST:
        raise InputError(
            f"compare: {plan['budget']:g} minutes pay for runs of {min(steps.values())} steps, and "
            f"{FEWEST} at least are needed to see anything. Give more time, fewer seeds or trials."
        )
    return steps
