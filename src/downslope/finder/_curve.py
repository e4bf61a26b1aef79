"""Reading a range test's curve: smoothing, divergence, the steepest point, the suggestion.

Pure functions of numbers; nothing here trains.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

__all__ = ["Answer", "Average", "decay", "diverged", "factor", "memory", "read"]

# The loss has diverged when its average is this many times its best: fastai's rule
# (`fastai/callback/schedule.py`, LRFinder), after Smith, arXiv 1506.01186.
DIVERGED = 4.0

# The share of the steepest point's learning rate that tutorials recommend.
BAND = (0.1, 0.5)

# The suggestion is the learning rate at which this share of the fall is done, divided by a factor
# that was fitted for each optimizer on planned runs of 300 steps with warmup, cosine and clipping,
# and that grows with the length of the run. (The minimum itself lies anywhere on a flat bottom: its
# learning rate varies three times as much between seeds. dev/LOG.md, 2026-11-21.)
DONE = 0.7
FACTORS = {
    "sgd": 5.0,
    "normalizedsgd": 3.0,
    "rmsprop": 1.5,
    "adagrad": 1.0,
    "adam": 2.0,
    "adamw": 2.0,
}
USUAL_FACTOR = 3.0
FITTED_STEPS = 300
LENGTH_POWER = 0.7

# How far back the average looks, as a share of the sweep: half a decade of the default one. Bound
# to the sweep and not to a number of iterations, it lags by as much on a longer sweep.
MEMORY = 1 / 16
LEAST_MEMORY = 5

# There is no answer unless the loss falls by this many standard errors of its noise (4 in 100
# sweeps over noise alone do; of 60 real ones none fell by less) and by this share of its value.
ERRORS = 3.3
LEAST_FALL = 0.01


class Average:
    r"""An exponential moving average without the bias of its start.

    .. math:: m_t = \beta m_{t-1} + (1 - \beta) x_t, \quad \hat m_t = m_t / (1 - \beta^t)

    with :math:`m_0 = 0` and :math:`t` counted from 1: the first average is the first value itself.
    (Counting from 0 or from 2, as some finders do, starts at infinity or far too low.)

    >>> average = Average(0.9)
    >>> [round(average.add(x), 3) for x in (2.0, 2.0, 1.0)]
    [2.0, 2.0, 1.631]
    """

    def __init__(self, beta: float) -> None:
        self._beta = beta
        self._sum = 0.0
        self._weight = 0.0

    def add(self, value: float) -> float:
        """Take a value and give the average so far."""
        self._sum = self._beta * self._sum + (1 - self._beta) * value
        self._weight = self._beta * self._weight + (1 - self._beta)  # 1 - beta**t
        return self._sum / self._weight


def memory(iterations: int) -> int:
    """How many iterations the average of a sweep looks back; before that it is mostly noise.

    >>> memory(100)
    6
    """
    return max(LEAST_MEMORY, round(MEMORY * iterations))


def decay(settled: int) -> float:
    """The average's beta, for a memory of so many iterations.

    >>> round(decay(memory(100)), 3)
    0.846
    """
    return math.exp(-1 / settled)


def diverged(smoothed: Sequence[float], settled: int) -> bool:
    """Whether the last average is :data:`DIVERGED` times the best one, or not a number.

    Said for losses of either sign: it lies ``(DIVERGED - 1) * |best|`` above the best. The first
    ``settled`` averages, of few values each, do not count.

    >>> diverged([9.0, 1.0, 4.1], settled=1), diverged([-2.0, -1.0], settled=0)
    (True, False)
    """
    if len(smoothed) <= settled:
        return False
    best = min(smoothed[settled:])
    return not smoothed[-1] <= best + (DIVERGED - 1) * abs(best)


@dataclass(frozen=True)
class Answer:
    """What a curve says; the fields are :class:`~downslope.finder.RangeTest`'s."""

    steepest: float | None = None
    band: tuple[float, float] | None = None
    suggestion: float | None = None
    reason: str = ""


def read(
    optimizer: str,
    lrs: Sequence[float],
    losses: Sequence[float],
    smoothed: Sequence[float],
    diverged_at: float | None,
    settled: int,
    steps: int,
) -> Answer:
    """The steepest point, the band and the suggestion, or why there are none.

    Args:
        optimizer: its class in lower case, which decides the factor.
        lrs: the learning rate of each iteration.
        losses: the finite loss of each iteration.
        smoothed: the average at each iteration.
        diverged_at: the learning rate at which it was stopped, if it was.
        settled: how many averages at the start are mostly noise.
        steps: the length of the run that is planned, in optimizer steps.
    """
    if not losses:
        return Answer(
            reason="the loss was not a finite number before the first step: look for NaN in the "
            "data, or for a loss that takes the logarithm of 0"
        )
    lowest = settled + int(np.argmin(smoothed[settled:])) if len(smoothed) > settled else 0
    if lowest <= settled:
        return Answer(
            reason=f"the loss was lowest at the start, {lrs[0]:.1e}{_at(diverged_at)}: start lower"
        )
    before = losses[: (lowest + 1) // 2]
    level = float(np.mean(before))
    fall = level - smoothed[lowest]
    if fall <= max(
        ERRORS * _error(losses[: lowest + 1], len(before), settled), LEAST_FALL * abs(level)
    ):
        return Answer(
            reason=f"the loss never fell by more than its noise between {lrs[0]:.1e} and "
            f"{lrs[-1]:.1e}{_at(diverged_at)}: is the model trained already, or do the targets "
            "not depend on the inputs?"
        )
    done = next(k for k in range(lowest + 1) if k >= settled and smoothed[k] <= level - DONE * fall)
    steepest = lrs[_steepest(lrs, smoothed, lowest, settled)]
    still_falling = diverged_at is None and lowest == len(lrs) - 1
    return Answer(
        steepest,
        (BAND[0] * steepest, BAND[1] * steepest),
        lrs[done] / factor(optimizer, steps),
        f"the loss was still falling at {lrs[-1]:.1e}: with a higher end the suggestion may be "
        "higher"
        if still_falling
        else "",
    )


def factor(optimizer: str, steps: int) -> float:
    """What the learning rate at which most of the fall is done is divided by.

    >>> factor("sgd", steps=300), round(factor("sgd", steps=1500), 1)
    (5.0, 15.4)
    """
    length = max(1.0, steps / FITTED_STEPS)
    return FACTORS.get(optimizer, USUAL_FACTOR) * math.pow(length, LENGTH_POWER)


def _steepest(lrs: Sequence[float], smoothed: Sequence[float], lowest: int, half: int) -> int:
    """Where the average falls fastest per decade, up to its minimum.

    The slope is taken across ``half`` iterations on either side, or noise would win.
    """
    middle = np.arange(half, min(lowest + 1, len(lrs) - half))
    if not len(middle):
        return lowest
    values, decades = np.array(smoothed), np.log10(lrs)
    fall = values[middle - half] - values[middle + half]
    return int(middle[np.argmax(fall / (decades[middle + half] - decades[middle - half]))])


def _error(losses: Sequence[float], before: int, settled: int) -> float:
    """The standard error of a mean of ``before`` losses minus one average, from noise alone.

    The noise is taken from the differences, so that the fall itself does not count.
    """
    noise = float(np.std(np.diff(losses))) / math.sqrt(2)
    beta = decay(settled)
    return noise * math.sqrt(1 / before + (1 - beta) / (1 + beta))


def _at(diverged_at: float | None) -> str:
    return "" if diverged_at is None else f", and diverged at {diverged_at:.1e}"
