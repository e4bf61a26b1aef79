"""Reading a sweep's curve: smoothing, divergence, the steepest point, the tutorials' band.

Pure functions of numbers; nothing here trains.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

__all__ = ["Average", "band", "decay", "diverged", "memory", "steepest"]

# The loss has diverged when its average is this many times its best: fastai's rule
# (`fastai/callback/schedule.py`, LRFinder), after Smith, arXiv 1506.01186.
DIVERGED = 4.0

# The share of the steepest point's learning rate that tutorials recommend.
BAND = (0.1, 0.5)

# How far back the average looks, as a share of the sweep: half a decade of the default one. Bound
# to the sweep and not to a number of iterations, it lags by as much on a longer sweep.
MEMORY = 1 / 16
LEAST_MEMORY = 5


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


def steepest(lrs: Sequence[float], smoothed: Sequence[float], settled: int) -> float | None:
    """The learning rate where the average falls fastest per decade, up to its minimum.

    None where it was lowest at the start.
    """
    lowest = settled + int(np.argmin(smoothed[settled:])) if len(smoothed) > settled else 0
    return lrs[_steepest(lrs, smoothed, lowest, settled)] if lowest > settled else None


def band(steepest: float) -> tuple[float, float]:
    """A tenth to a half of the steepest point, as tutorials have it.

    >>> band(1.0)
    (0.1, 0.5)
    """
    return BAND[0] * steepest, BAND[1] * steepest


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
