"""The data that describes a formula's arguments: its state, its hyperparameters, its flags."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

__all__ = ["Choice", "Flag", "Hyper", "Slot", "beta"]


@dataclass(frozen=True)
class Slot:
    """One piece of a parameter's state: an array shaped like it or one axis less, or a number.

    Args:
        name: torch's key in ``optimizer.state[p]``.
        meaning: what it holds, in a few words.
        symbol: its letter in the printed formula, as sympy spells it.
        init: its first value, or the name of the hyperparameter that gives it, or ``"p"``: the
            parameter's.
        when: the group key (a flag, or a hyperparameter not 0) that makes it exist; "": always.
        scalar: whether it is one number a parameter (NAdam's product of momenta).
        exact: whether such a number is kept in float64, where torch keeps float32.
        shared: whether such a number is one for all parameters, each keeping a copy.
        axis: the axis over which it has one number only (Adafactor's means over rows and columns).
        dims: the least and the largest number of dimensions of a parameter that keeps it.
        nonnegative: whether it is never negative; a compact format then needs no sign.
        weights: whether it holds weights, not statistics: rounding it would move the model.

    >>> velocity = Slot("momentum_buffer", "running sum of gradients", "v", when="momentum")
    >>> velocity.present({"momentum": 0.9}), velocity.present({"momentum": 0})
    (True, False)
    """

    name: str
    meaning: str
    symbol: str
    init: float | str = 0.0
    when: str = ""
    scalar: bool = False
    exact: bool = False
    shared: bool = False
    axis: int | None = None
    dims: tuple[float, float] = (0, math.inf)
    nonnegative: bool = False
    weights: bool = False

    def present(self, group: Mapping[str, Any], ndim: int = 2) -> bool:
        """Whether a parameter of so many dimensions keeps it, in a group with these values."""
        kept = self.dims[0] <= ndim <= self.dims[1]
        return kept and (not self.when or bool(group[self.when] != 0))

    @property
    def condition(self) -> str:
        """When it is kept, in words; empty: always."""
        words = [f"with {self.when}"] if self.when else []
        if self.dims[0] > 1:
            words.append("for matrices")
        if self.dims[1] < 2:
            words.append("for vectors")
        return ", ".join(words)

    @property
    def per(self) -> str:
        """What it has one number for."""
        return "tensor" if self.scalar else {None: "parameter", -1: "row", -2: "column"}[self.axis]


@dataclass(frozen=True)
class Hyper:
    """One scalar hyperparameter and the range it must lie in.

    Args:
        name: its name in the formula.
        meaning: what it does, in a few words.
        symbol: its letter in the printed formula.
        low, high: the range; ``low`` is allowed, ``high`` is not. NaN never is.
        closed: whether ``high`` is allowed after all.
        machine: whether None is allowed and stands for the dtype's machine epsilon.
        phrase: torch's words for it in ``Invalid {phrase}: {value}``.
        refusal: torch's words before the value where they are others.
        key: the parameter group's key, where it differs from the name.
        index: its place in the group's value, where that is a tuple (``betas``).
        default: its value if none is given; None where a hand-written class has the defaults.
        above: whether ``low`` itself is not allowed.
        infinite: whether infinity is allowed.
        alike: whether it must be the same in all groups, because what depends on it is shared.

    >>> momentum = Hyper("momentum", "decay of the velocity", "mu", high=1.0)
    >>> momentum.of({"momentum": 0.9}), momentum.allows(1.0)
    (0.9, False)
    """

    name: str
    meaning: str
    symbol: str
    low: float = 0.0
    high: float = math.inf
    phrase: str = ""
    refusal: str = ""
    closed: bool = False
    machine: bool = False
    key: str = ""
    index: int | None = None
    default: float | None = None
    above: bool = False
    infinite: bool = False
    alike: bool = False

    def by_default(self, value: float) -> Hyper:
        """The same hyperparameter with a default."""
        return replace(self, default=value)

    def worded(self, refusal: str) -> Hyper:
        """The same hyperparameter, refused in other words."""
        return replace(self, refusal=refusal)

    @property
    def group_key(self) -> str:
        """The key under which a parameter group holds it."""
        return self.key or self.name

    def of(self, group: Mapping[str, Any]) -> Any:
        """Its value in a parameter group."""
        value = group[self.group_key]
        return value if self.index is None else value[self.index]

    @property
    def range(self) -> str:
        """The allowed range in words.

        >>> beta(1).range
        'a finite number >= 0 and < 1'
        """
        low = "" if self.low == -math.inf else f" {'>' if self.above else '>='} {self.low:g}"
        high = "" if self.high == math.inf else f" <{'=' * self.closed} {self.high:g}"
        kind = "a number" if self.infinite else "a finite number"
        machine = " (None: the machine epsilon of the parameter's dtype)" if self.machine else ""
        return kind + low + (" and" if low and high else "") + high + machine

    def allows(self, value: float) -> bool:
        """Whether a number lies in the range; NaN never does."""
        if not math.isfinite(value):
            return self.infinite and value == math.inf
        high = value <= self.high if self.closed else value < self.high
        return high and (self.low < value if self.above else self.low <= value)

    @property
    def invalid(self) -> str:
        """The first words of the error for a value outside the range, as torch says them."""
        return self.refusal or f"Invalid {self.phrase or self.name + ' value'}"


def beta(number: int, meaning: str = "", high: float = 1.0, default: float | None = None) -> Hyper:
    """The decay rate of the ``number``-th moment: ``betas[number - 1]`` in a parameter group.

    >>> beta(2, default=0.999).of({"betas": (0.9, 0.99)})
    0.99
    """
    return Hyper(
        f"beta{number}",
        meaning or f"decay rate of moment {number}",
        f"beta_{number}",
        high=high,
        phrase=f"beta parameter at index {number - 1}",
        key="betas",
        index=number - 1,
        default=default,
    )


@dataclass(frozen=True)
class Flag:
    """A boolean of the formula, False unless given.

    Args:
        name: its name in the formula.
        key: the parameter group's key, where it differs from the name.
        meaning: what it does when True, in a few words; empty where torch has the flag too.

    >>> Flag("nesterov").of({"nesterov": True})
    True
    """

    name: str
    key: str = ""
    meaning: str = ""

    @property
    def group_key(self) -> str:
        """The key under which a parameter group holds it."""
        return self.key or self.name

    def of(self, group: Mapping[str, Any]) -> bool:
        """Its value in a parameter group; absent is False, as in old checkpoints."""
        return bool(group.get(self.group_key, False))

    def refuses(self, group: Mapping[str, Any]) -> str:
        """What is wrong with its value in a parameter group, or ``""``."""
        return ""


@dataclass(frozen=True)
class Choice(Flag):
    """A constant of the formula that is one of a few values.

    Args:
        allowed: the values.
        default: its value if none is given.
        refusal: torch's words for another value, ``{}`` standing for it.

    >>> Choice("mode", allowed=("min", "max"), default="min").refuses({"mode": "mid"})
    "Invalid mode: mid. mode must be one of: 'min', 'max'; got 'mid'"
    """

    allowed: Sequence[Any] = ()
    default: Any = None
    refusal: str = ""

    def of(self, group: Mapping[str, Any]) -> Any:
        """Its value in a parameter group."""
        return group.get(self.group_key, self.default)

    @property
    def range(self) -> str:
        """The allowed values in words."""
        if isinstance(self.allowed, range):
            return f"a whole number >= {self.allowed[0]} and < {self.allowed[-1] + 1}"
        return ", ".join(map(repr, self.allowed))

    def refuses(self, group: Mapping[str, Any]) -> str:
        """What is wrong with its value in a parameter group, or ``""``."""
        value = self.of(group)
        if type(value) in set(map(type, self.allowed)) and value in self.allowed:
            return ""
        words = (self.refusal or "Invalid " + self.group_key + ": {}").format(value)
        return f"{words}. {self.group_key} must be one of: {self.range}; got {value!r}"
