"""ASGD: gradient descent that also keeps the average of the weights."""

from __future__ import annotations

from ._rule import Rule
from ._shared import LR, WEIGHT_DECAY
from ._spec import Hyper, Slot

__all__ = ["ASGD", "asgd"]


def asgd(xp, p, g, eta, mu, ax, *, lr, lambd, alpha, t0, weight_decay, step, fresh):
    """Step by eta, which falls by itself, and average the weights from step t0 on."""
    eta = xp.where(fresh, xp.f32(lr), eta)  # torch keeps it in float32
    g = xp.fma(weight_decay, p, g)
    p = xp.fma(-eta, g, p * (1 - lambd * eta))
    ax = xp.where(mu >= 1, p, ax + (p - ax) * mu)
    eta = lr / (1 + lambd * lr * step) ** alpha
    mu = 1 / xp.maximum(1.0, step - t0)
    return p, eta, mu, ax


ASGD = Rule(
    asgd,
    "Gradient descent with a falling step, and a running average of the weights beside it.",
    slots=(
        Slot("eta", "this step's learning rate", "h", scalar=True),
        Slot("mu", "weight of the newest in the average", "u", init=1.0, scalar=True),
        Slot("ax", "average of the weights", "a", weights=True),
    ),
    hypers=(
        LR,
        Hyper("lambd", "decay of weights and of the step", "lamda_0", low=float("-inf")),
        Hyper("alpha", "power with which the step falls", "alpha", low=float("-inf")),
        Hyper("t0", "step at which averaging begins", "t_0", low=float("-inf")),
        WEIGHT_DECAY,
    ),
    paper="Polyak, Juditsky: Acceleration of stochastic approximation by averaging, 1992.",
    use="Convex problems. The average is state['ax']; swap it in yourself to evaluate it. For "
    "networks, an average of the weights beside any optimizer (EMA) does the same.",
)
