"""How far to go along a direction: the strong Wolfe conditions, on numbers alone."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

from torch import Tensor

__all__ = ["Point", "strong_wolfe"]

#: A number, or a tensor of one element in the precision of the gradients.
Number = float | Tensor

#: What the loss must fall by at least, as a share of what the slope at the start promises, and
#: what may be left of that slope (Nocedal & Wright, 3.7).
FALL, SLOPE = 1e-4, 0.9


class Point(NamedTuple):
    """A point on the line, with what the closure said of it.

    Args:
        step: its distance from the start, in directions.
        loss: there; infinite if loss or slope is not finite: it is too far.
        grad: all gradients in one vector.
        slope: the loss's derivative along the direction.
    """

    step: Any
    loss: float
    grad: Tensor
    slope: Any

    @classmethod
    def of(cls, step: Number, loss: float, grad: Tensor, direction: Tensor) -> Point:
        """The point at a step along a direction."""
        slope = grad.dot(direction)
        return cls(step, loss if math.isfinite(loss + float(slope)) else math.inf, grad, slope)


def strong_wolfe(
    evaluate: Callable[[Number], Point],
    start: Point,
    step: Number,
    *,
    longest: Number,
    tolerance: float,
    most: int,
) -> tuple[Point, int]:
    """Find a point where the loss has fallen enough and the slope is nearly flat.

    Nocedal & Wright, Numerical Optimization (2006), algorithms 3.5 and 3.6: the step grows until an
    interval holds such a point, which then shrinks. As torch does it, so that the closure is called
    at the same points; but where loss or slope is infinite or NaN, the interval is halved.

    Args:
        evaluate: the point at a step.
        start: the one at step 0.
        step: the first to try.
        longest: the largest element of the direction, by its size.
        tolerance: the smallest interval times ``longest`` that is looked into.
        most: evaluations after the first. Then the lowest point so far is taken.

    Returns:
        the point, and how often ``evaluate`` was called.

    >>> import torch
    >>> def parabola(x):  # of (x - 3)**2, from 0 along 1
    ...     return Point.of(x, (x - 3.0) ** 2, torch.tensor([2.0 * (x - 3.0)]), torch.ones(1))
    >>> point, calls = strong_wolfe(
    ...     parabola, parabola(0.0), 0.1, longest=1.0, tolerance=1e-9, most=20
    ... )
    >>> round(float(point.step), 3), calls
    (1.0, 2)
    """
    search = _Search(evaluate, start, most)
    before, point = start, search.at(step)
    while search.calls <= most:
        rising = search.too_high(point) or (search.calls > 2 and point.loss >= before.loss)
        if not rising and search.flat(point):
            return point, search.calls
        if rising or point.slope >= 0:
            return search.zoom([before, point], longest, tolerance), search.calls
        bounds = point.step + 0.01 * (point.step - before.step), point.step * 10
        before, point = point, search.at(_lowest(before, point, bounds))
    return min(start, point, key=lambda p: p.loss), search.calls


class _Search:
    """What a search along one line knows: its start, and how often it looked."""

    def __init__(self, evaluate: Callable[[Number], Point], start: Point, most: int) -> None:
        self._evaluate, self._start, self._most = evaluate, start, most
        self.calls = 0

    def at(self, step: Number) -> Point:
        """The point at a step."""
        self.calls += 1
        return self._evaluate(step)

    def too_high(self, point: Point) -> bool:
        """Whether the loss has not fallen enough."""
        return bool(point.loss > self._start.loss + FALL * point.step * self._start.slope)

    def flat(self, point: Point) -> bool:
        """Whether little enough is left of the slope."""
        return bool(abs(point.slope) <= -SLOPE * self._start.slope)

    def zoom(self, ends: list[Point], longest: Number, tolerance: float) -> Point:
        """Shrink an interval; see :func:`strong_wolfe`."""
        near_end = False
        low, high = _ordered(ends)
        while self.calls <= self._most and not _width(ends) * longest < tolerance:
            left, right = sorted((ends[0].step, ends[1].step))
            step = _lowest(ends[0], ends[1], (left, right))
            margin = 0.1 * (right - left)
            if min(right - step, step - left) < margin:
                if near_end or step >= right or step <= left:
                    # A second time so near an end: well inside instead, so that it shrinks.
                    closer = abs(step - right) < abs(step - left)
                    step = right - margin if closer else left + margin
                    near_end = False
                else:
                    near_end = True
            else:
                near_end = False
            point = self.at(step)
            if self.too_high(point) or point.loss >= ends[low].loss:
                ends[high] = point
                low, high = _ordered(ends)
            elif self.flat(point):
                return point
            else:
                if point.slope * (ends[high].step - ends[low].step) >= 0:
                    ends[high] = ends[low]
                ends[low] = point
        return ends[low]


def _ordered(ends: list[Point]) -> tuple[int, int]:
    """Which end is lower, and which higher."""
    return (0, 1) if ends[0].loss <= ends[1].loss else (1, 0)


def _width(ends: list[Point]) -> Any:
    return abs(ends[1].step - ends[0].step)


def _lowest(a: Point, b: Point, bounds: tuple[Any, Any]) -> Any:
    """Where the cubic through both points' losses and slopes is lowest (Nocedal & Wright, 3.59).

    Within bounds; their middle where the cubic has no minimum.
    """
    a, b = sorted((a, b), key=lambda point: point.step)
    low, high = bounds
    mean = a.slope + b.slope - 3 * (a.loss - b.loss) / (a.step - b.step)
    square = mean**2 - a.slope * b.slope
    if square >= 0:
        root = square**0.5
        share = (b.slope + root - mean) / (b.slope - a.slope + 2 * root)
        lowest = b.step - (b.step - a.step) * share
        if math.isfinite(lowest):
            return min(max(lowest, low), high)
    return (low + high) / 2.0
