"""Schedules made of one formula: a dataclass each, with its function's arguments as fields."""

from __future__ import annotations

import dataclasses
import math
import re
from bisect import bisect_right
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from numbers import Real
from typing import Literal, get_args

from ..errors import InputError
from . import _formulas as formulas
from ._formulas import mixed
from ._schedule import Schedule

__all__ = [
    "Constant",
    "Cosine",
    "CosineRestarts",
    "Cyclic",
    "Exponential",
    "Function",
    "InverseSqrt",
    "Linear",
    "Multiplicative",
    "Multistep",
    "OneCycle",
    "OneMinusSqrt",
    "Polynomial",
    "Rex",
    "Step",
    "Warmup",
]


class Shape(Schedule):
    """A schedule that one factory builds: a dataclass with the factory's arguments as fields."""

    def __repr__(self) -> str:
        first, *rest = dataclasses.fields(self)  # type: ignore[arg-type]  # subclasses are dataclasses
        values = [(f, getattr(self, f.name)) for f in rest]
        words = [f"{f.name}={_word(value)}" for f, value in values if value != f.default]
        if getattr(self, first.name) != first.default:
            words.insert(0, _word(getattr(self, first.name)))
        name = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", type(self).__name__).lower()
        return f"{name}({', '.join(words)})"


def _word(value: object) -> str:
    """How an argument is written: a tuple as the list it came as, a function by its name."""
    if isinstance(value, tuple):
        return repr(list(value))
    return getattr(value, "__name__", None) or repr(value)


class Continuing(Shape):
    """A shape that goes on from what came before it where it was given no ``start``."""

    start: float | None

    @property
    def _first(self) -> float:
        """The first value; one that follows nothing and was given none begins at 1."""
        return 1.0 if self.start is None else self.start

    def _after(self, value: float) -> Schedule:
        if self.start is not None:
            return self
        return dataclasses.replace(self, start=value)  # type: ignore[type-var]  # subclasses are dataclasses


@dataclass(frozen=True, repr=False)
class Constant(Shape):
    steps: int | None = None
    value: float | None = None

    @property
    def length(self) -> int | None:
        return self.steps

    def _at(self, step: float) -> float:
        return 1.0 if self.value is None else self.value

    def _after(self, value: float) -> Schedule:
        return self if self.value is not None else dataclasses.replace(self, value=value)


class Endless(Continuing):
    """The first value times a factor, for ever."""

    @property
    def length(self) -> int | None:
        return None

    def _factor(self, step: float) -> float:
        raise NotImplementedError

    def _at(self, step: float) -> float:
        return self._first * self._factor(step)


@dataclass(frozen=True, repr=False)
class Step(Endless):
    every: int
    gamma: float = 0.1
    start: float | None = None

    def _factor(self, step: float) -> float:
        return formulas.decayed(self.gamma, self.every, step)


@dataclass(frozen=True, repr=False)
class Multistep(Endless):
    milestones: tuple[int, ...]
    gamma: float = 0.1
    start: float | None = None

    def _factor(self, step: float) -> float:
        return math.pow(self.gamma, bisect_right(self.milestones, step))


@dataclass(frozen=True, repr=False)
class Exponential(Endless):
    gamma: float
    start: float | None = None

    def _factor(self, step: float) -> float:
        return math.pow(self.gamma, step)


@dataclass(frozen=True, repr=False)
class InverseSqrt(Endless):
    timescale: int
    steps: int | None = None
    start: float | None = None

    @property
    def length(self) -> int | None:
        return self.steps

    def _factor(self, step: float) -> float:
        return formulas.inverse_sqrt(
            self.timescale, step if self.steps is None else min(step, self.steps)
        )


@dataclass(frozen=True, repr=False)
class Function(Endless):
    function: Callable[[int], float]
    steps: int | None = None
    start: float | None = None

    @property
    def length(self) -> int | None:
        return self.steps

    def _factor(self, step: float) -> float:
        at = step if self.steps is None else min(step, float(self.steps))
        return _number(self.function, at)


@dataclass(frozen=True, repr=False)
class Multiplicative(Endless):
    function: Callable[[int], float]
    start: float | None = None

    @cached_property
    def _products(self) -> list[float]:
        """The factors at the steps that were asked for and before them: each is computed once."""
        return [1.0]

    def _factor(self, step: float) -> float:
        products = self._products
        while len(products) <= step:
            products.append(products[-1] * _number(self.function, len(products)))
        return products[int(step)]


def _number(function: Callable[[int], float], at: float) -> float:
    """A function's value at a step; it gets a whole number but between two steps."""
    value = function(int(at) if at == int(at) else at)  # type: ignore[arg-type]  # between steps
    if not isinstance(value, Real) or not math.isfinite(value):
        raise InputError(f"{_word(function)}({at:g}) must be a finite number, got {value!r}")
    return float(value)


@dataclass(frozen=True, repr=False)
class Linear(Continuing):
    steps: int
    start: float | None = None
    end: float = 0.0

    @property
    def length(self) -> int:
        return self.steps

    def _weight(self, step: float) -> float:
        """How much of ``start`` there is: 1 at step 0, 0 from ``steps`` on."""
        return formulas.remaining(self.steps, step)

    def _at(self, step: float) -> float:
        return mixed(self._first, self.end, self._weight(step))


class Cosine(Linear):
    def _weight(self, step: float) -> float:
        return formulas.half_cosine(super()._weight(step))


class Rex(Linear):
    def _weight(self, step: float) -> float:
        return formulas.rex(super()._weight(step))


class OneMinusSqrt(Linear):
    def _weight(self, step: float) -> float:
        return formulas.one_minus_sqrt(super()._weight(step))


@dataclass(frozen=True, repr=False)
class Polynomial(Linear):
    power: float = 1.0

    def _weight(self, step: float) -> float:
        return math.pow(super()._weight(step), self.power)


@dataclass(frozen=True, repr=False)
class CosineRestarts(Continuing):
    steps: int
    mult: int = 1
    start: float | None = None
    end: float = 0.0

    @property
    def length(self) -> None:
        return None

    def _at(self, step: float) -> float:
        within, length = formulas.restart(self.steps, self.mult, step)
        weight = formulas.half_cosine(formulas.remaining(length, within))
        return mixed(self._first, self.end, weight)


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
        return mixed(start, self.peak, formulas.remaining(self.steps, step))


CycleShape = Literal["triangular", "triangular2", "exp_range"]
CYCLE_SHAPES = get_args(CycleShape)


@dataclass(frozen=True, repr=False)
class Cyclic(Shape):
    up: int
    down: int | None = None
    low: float = 0.1
    high: float = 1.0
    shape: CycleShape = "triangular"
    gamma: float = 1.0

    @property
    def length(self) -> None:
        return None

    def _at(self, step: float) -> float:
        cycle, height = formulas.triangle(self.up, self.down or self.up, step)
        if self.shape == "triangular2":
            height *= math.pow(0.5, cycle - 1)
        elif self.shape == "exp_range":
            height *= math.pow(self.gamma, step)
        return self.low + (self.high - self.low) * height


CurveShape = Literal["cosine", "linear"]
CURVE_SHAPES = get_args(CurveShape)


@dataclass(frozen=True, repr=False)
class OneCycle(Shape):
    steps: int
    peak: float = 1.0
    start: float | None = None
    end: float | None = None
    rise: float = 0.3
    shape: CurveShape = "cosine"

    @property
    def length(self) -> int:
        return self.steps

    def _at(self, step: float) -> float:
        start = self.peak / 25 if self.start is None else self.start
        end = start / 1e4 if self.end is None else self.end
        top, last = self.rise * self.steps - 1, self.steps - 1
        if step <= top and top > 0:
            return mixed(start, self.peak, self._weight(formulas.remaining(top, step)))
        if last <= top:
            return self.peak
        return mixed(self.peak, end, self._weight(formulas.remaining(last - top, step - top)))

    def _weight(self, share: float) -> float:
        return formulas.half_cosine(share) if self.shape == "cosine" else share
