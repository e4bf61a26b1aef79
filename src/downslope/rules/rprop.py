"""Rprop: every weight has its own step, which grows while the gradient keeps its sign."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from ._rule import Rule
from ._shared import LR
from ._spec import Hyper, Slot

__all__ = ["RPROP", "rprop"]


def rprop(xp, p, g, prev, step_size, *, lr, etaminus, etaplus, step_size_min, step_size_max, fresh):
    """Step by step_size against the sign; where the sign changed, shrink and stay."""
    step_size = xp.where(fresh, lr + 0 * step_size, step_size)
    agree = g * prev
    step_size = xp.where(
        agree > 0, etaplus * step_size, xp.where(agree < 0, etaminus * step_size, step_size)
    )
    step_size = xp.minimum(xp.maximum(step_size, step_size_min), step_size_max)
    g = xp.where(agree < 0, 0 * g, g)
    return p - xp.sign(g) * step_size, g, step_size


def _eta_conflict(group: Mapping[str, Any]) -> str:
    minus, plus = group["etas"]
    return "" if 0 < minus < 1 < plus else f"Invalid eta values: {minus}, {plus}"


def _of(key: str, index: int, name: str, meaning: str, symbol: str) -> Hyper:
    return Hyper(name, meaning, symbol, high=math.inf, key=key, index=index)


RPROP = Rule(
    rprop,
    "Every weight's own step: longer while the gradient keeps its sign, shorter when it turns.",
    slots=(
        Slot("prev", "last gradient", "q"),
        Slot("step_size", "this weight's step", "s", nonnegative=True),
    ),
    hypers=(
        LR,
        _of("etas", 0, "etaminus", "factor when the sign turned, below 1", "eta_-"),
        _of("etas", 1, "etaplus", "factor while the sign stays, above 1", "eta_+"),
        _of("step_sizes", 0, "step_size_min", "shortest step", "s_min"),
        _of("step_sizes", 1, "step_size_max", "longest step", "s_max"),
    ),
    paper="Riedmiller, Braun: A direct adaptive method for faster backpropagation learning: the "
    "RPROP algorithm, 1993.",
    use="Full batches only: small problems whose whole data set is one gradient. The noise of "
    "mini-batches turns signs and stops it.",
    conflict=_eta_conflict,
)
