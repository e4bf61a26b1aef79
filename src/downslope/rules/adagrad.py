"""Adagrad: divide by the root of the sum of all squared gradients."""

from __future__ import annotations

from ._rule import Rule
from ._shared import EPS, LR, WEIGHT_DECAY
from ._spec import Hyper, Slot

__all__ = ["ADAGRAD", "adagrad"]


def adagrad(xp, p, g, sum, *, lr, lr_decay, eps, weight_decay, step):
    """Step by the gradient over the root of the sum of its squares."""
    g = xp.fma(weight_decay, p, g)
    sum = xp.fma(g, g, sum)
    return p - lr / (1 + (step - 1) * lr_decay) * g / (xp.sqrt(sum) + eps), sum


ADAGRAD = Rule(
    adagrad,
    "The gradient divided by the root of the sum of all its squares so far.",
    slots=(
        Slot(
            "sum",
            "sum of squared gradients",
            "G",
            init="initial_accumulator_value",
            nonnegative=True,
        ),
    ),
    hypers=(
        LR,
        Hyper("lr_decay", "how fast lr falls by itself", "delta"),
        EPS,
        WEIGHT_DECAY,
        Hyper("initial_accumulator_value", "the sum's first value", "G_0"),
    ),
    paper="Duchi, Hazan, Singer: Adaptive Subgradient Methods for Online Learning and Stochastic "
    "Optimization, JMLR 12, 2011.",
    use="Sparse data: embeddings and linear models whose features are rare.",
    errata=(
        "The third guide puts eps inside the root. torch, and we, add it to the root.",
        "The third guide's example passes lr twice, which Python refuses. Pass it once.",
        'The last guide\'s "AdaGred" remembers nothing and is not Adagrad: see NormalizedSGD.',
    ),
    state_at_construction=True,
    sparse=True,
)
