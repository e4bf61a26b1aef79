"""The formulas of the schedules and of the scheduler classes: numbers in, a number out."""

from __future__ import annotations

import math

__all__ = [
    "decayed",
    "half_cosine",
    "inverse_sqrt",
    "mixed",
    "one_minus_sqrt",
    "progress",
    "remaining",
    "restart",
    "rex",
    "triangle",
]


def progress(steps: float, at: float) -> float:
    """The share of ``steps`` that is done: 0 at step 0, 1 from ``steps`` on."""
    return min(at, steps) / steps


def remaining(steps: float, at: float) -> float:
    """The share of ``steps`` still to go: 1 at step 0, 0 from ``steps`` on."""
    return max(steps - at, 0.0) / steps


def half_cosine(share: float) -> float:
    r"""From 1 to 0 along half a cosine, :math:`(1 + \cos(\pi (1 - s))) / 2` for a share ``s``.

    Written as a squared sine of the share still to go, which keeps its precision near the end,
    where the textbook form subtracts two numbers close to 1.
    """
    root = math.sin(0.5 * math.pi * share)
    return root * root


def rex(share: float) -> float:
    """From 1 to 0, slowly first and quickly at the end, for the share still to go."""
    return share / (0.5 + 0.5 * share)


def one_minus_sqrt(share: float) -> float:
    """From 1 to 0, quickly first, for the share still to go: 1 minus the root of what is done.

    Written as a quotient, which keeps its precision near the end.
    """
    return share / (1.0 + math.sqrt(1.0 - share))


def mixed(start: float, end: float, weight: float) -> float:
    """``start`` where the weight is 1, ``end`` where it is 0; exact at both."""
    return start * weight + end * (1.0 - weight)


def decayed(gamma: float, every: float, at: float) -> float:
    """``gamma`` to the power of how often ``every`` steps have passed."""
    return math.pow(gamma, at // every)


def inverse_sqrt(timescale: float, at: float) -> float:
    """From 1 down with the root of the time: a half after three timescales."""
    return math.sqrt(timescale / (timescale + at))


def triangle(up: float, down: float, at: float) -> tuple[int, float]:
    """Which cycle it is, from 1, and the height in it: 0 to 1 over ``up``, back over ``down``."""
    cycles, within = divmod(at, up + down)
    return int(cycles) + 1, within / up if within <= up else (up + down - within) / down


def restart(first: float, mult: float, at: float) -> tuple[float, float]:
    """How far into its cycle a step is, and the cycle's length, which grows by ``mult``."""
    if mult == 1:
        return at % first, first
    begin, length = 0.0, float(first)
    while at >= begin + length:
        begin, length = begin + length, length * mult
    return at - begin, length
