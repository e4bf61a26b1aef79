"""Schedules: pure functions from a step to a value.

The formulas stand at the top of the file; a schedule is a record of their arguments. Nothing
here counts steps or holds state, so resuming needs the step alone.
"""

from __future__ import annotations

import dataclasses
import math
from abc import ABC, abstractmethod
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate, pairwise
from numbers import Real
from typing import Any, SupportsFloat, overload

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..errors import InputError, InputTypeError

__all__ = [
    "Chain",
    "Constant",
    "Cosine",
    "Linear",
    "Schedule",
    "Step",
    "Warmup",
    "decayed",
    "finite",
    "half_cosine",
    "mixed",
    "remaining",
    "whole",
]


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


def mixed(start: float, end: float, weight: float) -> float:
    """``start`` where the weight is 1, ``end`` where it is 0; exact at both."""
    return start * weight + end * (1.0 - weight)


def decayed(gamma: float, every: float, at: float) -> float:
    """``gamma`` to the power of how often ``every`` steps have passed."""
    return math.pow(gamma, at // every)


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
            return self._at(float(step))
        try:
            steps = np.asarray(step, dtype=np.float64)
        except (TypeError, ValueError) as error:
            raise InputTypeError(f"{self!r}: a step must be a number, got {step!r}") from error
        if not np.all((steps >= 0) & (steps < math.inf)):
            raise InputError(
                f"{self!r}: a step must be a finite number >= 0 (0 is the first one), got {step!r}"
            )
        # One by one: numpy's vector sine and power round otherwise than its scalar ones.
        values = np.array([self._at(t) for t in steps.ravel().tolist()]).reshape(steps.shape)
        return float(values) if steps.ndim == 0 else values

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


class Shape(Schedule):
    """A schedule that one factory builds: a dataclass with the factory's arguments as fields."""

    def __repr__(self) -> str:
        first, *rest = dataclasses.fields(self)  # type: ignore[arg-type]  # subclasses are dataclasses
        values = [(f, getattr(self, f.name)) for f in rest]
        words = [f"{f.name}={value!r}" for f, value in values if value != f.default]
        if getattr(self, first.name) != first.default:
            words.insert(0, repr(getattr(self, first.name)))
        return f"{type(self).__name__.lower()}({', '.join(words)})"


@dataclass(frozen=True, repr=False)
class Constant(Shape):
    steps: int | None = None
    value: float | None = None

    @property
    def length(self) -> int | None:
        return self.steps

    def _at(self, step: float) -> float:
        return _start(self.value)

    def _after(self, value: float) -> Schedule:
        return self if self.value is not None else dataclasses.replace(self, value=value)


@dataclass(frozen=True, repr=False)
class Step(Shape):
    every: int
    gamma: float = 0.1
    start: float | None = None

    @property
    def length(self) -> None:
        return None

    def _at(self, step: float) -> float:
        return _start(self.start) * decayed(self.gamma, self.every, step)

    def _after(self, value: float) -> Schedule:
        return self if self.start is not None else dataclasses.replace(self, start=value)


@dataclass(frozen=True, repr=False)
class Linear(Shape):
    steps: int
    start: float | None = None
    end: float = 0.0

    @property
    def length(self) -> int:
        return self.steps

    def _weight(self, step: float) -> float:
        return remaining(self.steps, step)

    def _at(self, step: float) -> float:
        return mixed(_start(self.start), self.end, self._weight(step))

    def _after(self, value: float) -> Schedule:
        return self if self.start is not None else dataclasses.replace(self, start=value)


class Cosine(Linear):
    def _weight(self, step: float) -> float:
        return half_cosine(super()._weight(step))


@dataclass(frozen=True, repr=False)
class Warmup(Shape):
    steps: int
    peak: float = 1.0
    start: float | None = None

    @property
    def length(self) -> int:
        return self.steps

    def _at(self, step: float) -> float:
        if self.steps == 0:
            return self.peak
        start = self.peak / (self.steps + 1) if self.start is None else self.start
        return mixed(start, self.peak, remaining(self.steps, step))


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


def _start(value: float | None) -> float:
    """A schedule that follows nothing and was given no start begins at 1."""
    return 1.0 if value is None else value


def whole(name: str, value: SupportsFloat, least: int = 1) -> int:
    """The value as an int, or an error that names it."""
    if isinstance(value, bool) or not isinstance(value, Real):
        raise InputTypeError(
            f"{name} must be a whole number >= {least}, got {value!r} ({type(value).__name__})"
        )
    number = float(value)
    if not number.is_integer() or number < least:
        raise InputError(f"{name} must be a whole number >= {least}, got {value!r}")
    return int(number)


def finite(name: str, value: SupportsFloat) -> float:
    """The value as a float, or an error that names it."""
    if isinstance(value, bool) or not isinstance(value, Real):
        raise InputTypeError(
            f"{name} must be a finite number, got {value!r} ({type(value).__name__})"
        )
    if not math.isfinite(value):
        raise InputError(f"{name} must be a finite number, got {value!r}")
    return float(value)
