"""Adadelta: steps whose size is learned from the size of earlier steps."""

from __future__ import annotations

from ._rule import Rule
from ._shared import EPS, LR, WEIGHT_DECAY
from ._spec import Hyper, Slot

__all__ = ["ADADELTA", "adadelta"]


def adadelta(xp, p, g, square_avg, acc_delta, *, lr, rho, eps, weight_decay):
    """Step by the gradient times the root mean square of steps over that of gradients."""
    g = xp.fma(weight_decay, p, g)
    square_avg = xp.fma((1 - rho) * g, g, rho * square_avg)
    delta = xp.sqrt(acc_delta + eps) / xp.sqrt(square_avg + eps) * g
    acc_delta = xp.fma((1 - rho) * delta, delta, rho * acc_delta)
    return xp.fma(-lr, delta, p), square_avg, acc_delta


ADADELTA = Rule(
    adadelta,
    "Steps sized by the root mean square of earlier steps over that of the gradients.",
    slots=(
        Slot("square_avg", "running mean of squared gradients", "v", nonnegative=True),
        Slot("acc_delta", "running mean of squared steps", "d", nonnegative=True),
    ),
    hypers=(
        LR,
        Hyper("rho", "decay rate of the running means", "rho", high=1.0),
        EPS,
        WEIGHT_DECAY,
    ),
    paper="Zeiler: ADADELTA: An Adaptive Learning Rate Method, arXiv 1212.5701.",
    use="When no learning rate is known: lr=1 is the paper's. Adam has replaced it.",
)
