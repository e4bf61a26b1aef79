"""Which steps a monitor looks at, and how closely: as far as what looks may take goes."""

from __future__ import annotations

import math
from bisect import insort

__all__ = ["BUDGET", "Plan", "next_sampled"]

BUDGET = 0.005  #: share of the time that looks may take
CLOSELY = 64  # powers of two up to this one are looked at thoroughly, whatever that takes
THOROUGH = 0.5  # share of the budget that later thorough looks may take


def next_sampled(step: int, every: int | None) -> int:
    """The first step after ``step`` that is looked at closely.

    With ``every=None`` often at first and then less: every 8th step up to 128, then 8 to 16 times
    while the number of steps doubles.

    >>> steps = [next_sampled(0, None)]
    >>> while steps[-1] < 160:
    ...     steps.append(next_sampled(steps[-1], None))
    >>> steps
    [1, 2, 4, 8, 16, 24, 32, 40, 48, 56, 64, 72, 80, 88, 96, 104, 112, 120, 128, 144, 160]
    """
    if every is not None:
        return (step // every + 1) * every if step else 1
    if step < 8:
        return 1 << step.bit_length()
    period = max(8, 1 << (step.bit_length() - 4))
    return (step // period + 1) * period


def _in_any_case(step: int) -> bool:
    """Whether a step is a power of two, which is looked at whatever that costs."""
    return step & (step - 1) == 0


class Plan:
    """Says of each step whether it is looked at, from what looks took so far.

    Time is that of usual steps: what goes by between steps (validation, say) pays for no looks.
    Looks are charged with their median: the first ones load, or compile, what they are made with.

    Args:
        every: look at every so many steps; None: as :func:`next_sampled` says and ``budget`` lets.
        budget: share of the time that looks may take where ``every`` is None. Powers of two are
            looked at in any case.
        done: steps that were done before.

    >>> plan = Plan(None, 0.01, 0)
    >>> plan.thorough(1), plan.thorough(3)
    (True, None)
    >>> plan.looked(16, seconds=1.25, usual=1.0)  # a quarter of a step: paid for by 25 steps
    >>> plan.thorough(24), plan.thorough(40)
    (None, False)
    """

    def __init__(self, every: int | None, budget: float, done: int) -> None:
        self.every = every
        self._budget, self._done = budget, done
        self._took: list[float] = []  # seconds beyond a usual step, of each look, in rising order
        self._usual = 0.0  # seconds of a step that was not looked at
        self._thorough, self._thorough_at = 0.0, done  # what the last thorough look took; its step

    def thorough(self, step: int) -> bool | None:
        """Whether a step is looked at thoroughly; None: not at all."""
        if next_sampled(step - 1, self.every) != step:
            return None
        if _in_any_case(step):
            paid = self._steps(self._thorough, THOROUGH * self._budget)
            return step <= CLOSELY or step - self._thorough_at >= paid
        return False if self.every is not None or step >= self._paid else None

    def next_look(self, step: int) -> int:
        """The next step to be looked at, if looks take what they took, after one that is not."""
        if self.every is not None:
            return next_sampled(step, self.every)
        power = 1 << step.bit_length()  # the next one, which is sampled
        paid = math.ceil(min(self._paid, power))
        return next_sampled(max(step, paid - 1), None)

    def looked(self, step: int, *, seconds: float, usual: float, thorough: bool = False) -> None:
        """Charge a look.

        Args:
            step: the one that was looked at.
            seconds: how long it took, with writing what there was to write.
            usual: how long a step takes that is not looked at.
            thorough: how it was looked at.
        """
        took = max(0.0, seconds - usual)
        insort(self._took, took)
        self._usual = usual
        if thorough:
            self._thorough, self._thorough_at = took, step

    @property
    def _paid(self) -> float:
        """The step by which what looks took is the budget's share of the time."""
        count = len(self._took)
        spent = count * self._took[count // 2] if count else 0.0
        return self._done + self._steps(spent, self._budget)

    def _steps(self, seconds: float, share: float) -> float:
        """How many steps pay for a time of which they may take a share."""
        if not seconds or not self._usual:
            return 0.0
        return seconds / (share * self._usual) if share else math.inf
