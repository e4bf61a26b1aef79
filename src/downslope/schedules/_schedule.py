"""Schedules: pure functions from a step to a value.

A schedule is a record of its formula's arguments (`_formulas.py`, `_shapes.py`). Nothing here
counts steps or holds state, so resuming needs the step alone.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate, pairwise
from numbers import Real
from typing import TYPE_CHECKING, Any, SupportsFloat, overload

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..errors import InputError, InputTypeError

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["Chain", "Product", "Schedule", "finite", "in_range", "whole"]

POINTS = 20_000  # of a plot: up to this length it shows every step


class Schedule(ABC):
    """A pure function from the number of optimizer steps already done to a value.

    ``schedule(step)`` is float64: a number for a number, an array for an array of steps, the same
    bits either way. Step 0 is the first optimizer step. Schedules are immutable, hashable and can
    be pickled; their ``repr`` is the expression that builds them.

    ``a >> b`` runs ``a`` for its ``length`` and then ``b``; ``a * b`` is the product at each step,
    where either may be a number.

    >>> from downslope.schedules import cosine, warmup
    >>> lr = 1e-3 * (warmup(4) >> cosine(8))
    >>> lr
    (warmup(4) >> cosine(8)) * 0.001
    >>> lr.length
    12
    >>> lr(4), lr(12)
    (0.001, 0.0)
    >>> lr([0, 1, 2, 3, 4]).round(6).tolist()
    [0.0002, 0.0004, 0.0006, 0.0008, 0.001]
    """

    __array_ufunc__ = None  # or `numpy_number * schedule` would ask numpy, not __rmul__

    @property
    @abstractmethod
    def length(self) -> int | None:
        """Steps until it holds its last value; None for one that never ends."""

    @abstractmethod
    def _at(self, step: float) -> float:
        """The value at a step that was checked."""

    def _after(self, value: float) -> Schedule:
        """This schedule, going on from ``value`` where it was given no start of its own."""
        return self

    @overload
    def __call__(self, step: float) -> float: ...
    @overload
    def __call__(self, step: Sequence[float] | NDArray[Any]) -> NDArray[np.float64]: ...
    def __call__(self, step: ArrayLike) -> float | NDArray[np.float64]:
        if isinstance(step, (int, float)) and 0 <= step < math.inf:  # a training loop's call
            return self._finite_at(float(step))
        try:
            steps = np.asarray(step, dtype=np.float64)
        except (TypeError, ValueError) as error:
            raise InputTypeError(f"{self!r}: a step must be a number, got {step!r}") from error
        if not np.all((steps >= 0) & (steps < math.inf)):
            raise InputError(
                f"{self!r}: a step must be a finite number >= 0 (0 is the first one), got {step!r}"
            )
        # One by one: numpy's vector sine and power round otherwise than its scalar ones.
        values = np.array([self._finite_at(t) for t in steps.ravel().tolist()]).reshape(steps.shape)
        return float(values) if steps.ndim == 0 else values

    def _finite_at(self, step: float) -> float:
        try:
            return self._at(step)
        except OverflowError:
            raise InputError(
                f"{self!r} is beyond the largest float at step {step:.12g}. Give what grows an "
                "end, with sequence([...], milestones=[...]), or a gamma of at most 1"
            ) from None

    def __rshift__(self, other: Schedule) -> Schedule:
        if not isinstance(other, Schedule):
            return NotImplemented
        parts = _parts(self) + _parts(other)
        ends = []
        for part in parts[:-1]:
            if part.length is None:
                raise InputError(
                    f"{part!r} never ends, so nothing can follow it: give it a number of steps, "
                    "or say where it stops with sequence([...], milestones=[...])"
                )
            ends.append(part.length)
        return Chain(parts, tuple(accumulate(ends)))

    def __mul__(self, other: Schedule | float) -> Schedule:
        if isinstance(other, Schedule):
            return Product(self, other)
        if isinstance(other, Real):
            return Product(self, finite("a schedule's factor", other))
        return NotImplemented

    __rmul__ = __mul__

    def scaled(self, base: float) -> Schedule:
        """The same schedule with every value times ``base``: factors become learning rates.

        >>> from downslope.schedules import linear
        >>> linear(10).scaled(0.1)(5)
        0.05
        """
        return self * base

    def sampled(self, steps: int | None = None) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """Steps from 0 to the last, every one of up to 20,000, and the values at them: to draw.

        Args:
            steps: the last step; None is :attr:`length`, which a schedule without end has not.

        >>> from downslope.schedules import linear
        >>> [part.tolist() for part in linear(4).sampled()]
        [[0, 1, 2, 3, 4], [1.0, 0.75, 0.5, 0.25, 0.0]]
        """
        last = self.length if steps is None else whole("steps", steps)
        if last is None:
            raise InputError(
                f"{self!r} never ends: say how many steps to draw (--steps, or steps=...)"
            )
        at = np.unique(np.linspace(0, last, min(last + 1, POINTS)).round().astype(np.int64))
        return at, self(at)

    def plot(self, ax: Axes | None = None, *, steps: int | None = None) -> Axes:
        """Draw the values over the steps.

        Args:
            ax: where to draw; None makes a new figure.
            steps: the last step; None is :attr:`length`, which a schedule without end has not.

        Returns:
            the axes.

        >>> import matplotlib
        >>> matplotlib.use("Agg")
        >>> from downslope.schedules import cosine, warmup
        >>> axes = (warmup(500, peak=1e-3) >> cosine(9_500)).plot()
        >>> axes.get_title()
        'warmup(500, peak=0.001) >> cosine(9500)'
        """
        at, values = self.sampled(steps)
        if ax is None:
            import matplotlib.pyplot as plt

            ax = plt.subplots()[1]
        ax.plot(at, values)
        ax.set(xlabel="step", ylabel="value")
        ax.set_title(repr(self), fontsize="small", wrap=True)
        return ax


@dataclass(frozen=True, repr=False)
class Product(Schedule):
    left: Schedule
    right: Schedule | float

    @property
    def length(self) -> int | None:
        if not isinstance(self.right, Schedule):
            return self.left.length
        lengths = (self.left.length, self.right.length)
        return None if None in lengths else max(n for n in lengths if n is not None)

    def _at(self, step: float) -> float:
        right = self.right._at(step) if isinstance(self.right, Schedule) else self.right
        return self.left._at(step) * right

    def __repr__(self) -> str:
        left = f"({self.left!r})" if isinstance(self.left, Chain) else repr(self.left)
        compound = isinstance(self.right, Chain | Product)
        return f"{left} * " + (f"({self.right!r})" if compound else repr(self.right))


@dataclass(frozen=True, repr=False)
class Chain(Schedule):
    parts: tuple[Schedule, ...]
    milestones: tuple[int, ...]

    @cached_property
    def _begins(self) -> tuple[int, ...]:
        return (0, *self.milestones)

    @cached_property
    def _chained(self) -> bool:
        """Whether each part ends where the next begins, as ``>>`` makes them."""
        lengths = [part.length for part in self.parts[:-1]]
        return lengths == [end - begin for begin, end in pairwise(self._begins)]

    @cached_property
    def _resolved(self) -> tuple[Schedule, ...]:
        """The parts, each going on where the one before would have been at the boundary."""
        done = [self.parts[0]]
        for (begin, end), part in zip(pairwise(self._begins), self.parts[1:], strict=True):
            done.append(part._after(done[-1](end - begin)))
        return tuple(done)

    @property
    def length(self) -> int | None:
        last = self.parts[-1].length
        return None if last is None else self._begins[-1] + last

    def _at(self, step: float) -> float:
        index = bisect_right(self.milestones, step)
        return self._resolved[index]._at(step - self._begins[index])

    def _after(self, value: float) -> Schedule:
        return Chain((self.parts[0]._after(value), *self.parts[1:]), self.milestones)

    def __repr__(self) -> str:
        if self._chained:
            return " >> ".join(map(repr, self.parts))
        return f"sequence({list(self.parts)!r}, milestones={list(self.milestones)!r})"


def _parts(schedule: Schedule) -> tuple[Schedule, ...]:
    """The operands of a chain of ``>>``, so that chaining is associative."""
    if isinstance(schedule, Chain) and schedule._chained:
        return schedule.parts
    return (schedule,)


def whole(name: str, value: SupportsFloat, least: int = 1) -> int:
    """The value as an int, or an error that names it."""
    if isinstance(value, bool) or not isinstance(value, Real):
        raise InputTypeError(
            f"{name} must be a whole number >= {least}, got {value!r} ({type(value).__name__})"
        )
    if not (_is_finite(value) and float(value).is_integer() and float(value) >= least):
        raise InputError(f"{name} must be a whole number >= {least}, got {value!r}")
    return int(float(value))


def finite(name: str, value: SupportsFloat) -> float:
    """The value as a float, or an error that names it."""
    if isinstance(value, bool) or not isinstance(value, Real):
        raise InputTypeError(
            f"{name} must be a finite number, got {value!r} ({type(value).__name__})"
        )
    if not _is_finite(value):
        raise InputError(f"{name} must be a finite number, got {value!r}")
    return float(value)


def in_range(
    name: str, value: SupportsFloat, low: float, high: float = math.inf, *, open_low: bool = False
) -> float:
    """The value as a float, or an error that names it and its range."""
    number = finite(name, value)
    if number < low or number > high or (open_low and number == low):
        bounds = f"{'>' if open_low else '>='} {low:g}"
        bounds += f" and <= {high:g}" if high < math.inf else ""
        raise InputError(f"{name} must be a finite number {bounds}, got {value!r}")
    return number


def _is_finite(value: Real) -> bool:
    """Whether a number is one as a float too; a whole number of 400 digits is not."""
    try:
        return math.isfinite(value)
    except OverflowError:
        return False
