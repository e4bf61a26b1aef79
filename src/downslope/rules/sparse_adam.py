"""SparseAdam: Adam's step on those elements alone that a sparse gradient has."""

from __future__ import annotations

from ._rule import Rule
from ._shared import EPS, LR, MEAN, MEAN_SQUARE
from ._spec import beta

__all__ = ["SPARSE_ADAM", "sparse_adam"]


def sparse_adam(xp, p, g, exp_avg, exp_avg_sq, *, lr, beta1, beta2, eps, step):
    """Adam's step; the engine hands over nothing but what the gradient has."""
    exp_avg = xp.lerp(exp_avg, g, 1 - beta1)
    exp_avg_sq = xp.lerp(exp_avg_sq, g * g, 1 - beta2)
    rate = lr * xp.sqrt(1 - beta2**step) / (1 - beta1**step)
    return p - rate * exp_avg / (xp.sqrt(exp_avg_sq) + eps), exp_avg, exp_avg_sq


SPARSE_ADAM = Rule(
    sparse_adam,
    "Adam on the rows that a sparse gradient names; all others stay as they are.",
    slots=(MEAN, MEAN_SQUARE),
    hypers=(LR, beta(1), beta(2), EPS),
    paper="Kingma, Ba: Adam: A Method for Stochastic Optimization, arXiv 1412.6980, with eps "
    "before the correction (the end of its section 2), on the named rows alone.",
    use="Embeddings with sparse=True, whose gradient names few of many rows: a step costs what "
    "those rows cost. Give all other parameters to another optimizer. A row's moments do not "
    "decay while it is not named, though all rows share one count of steps.",
    sparse=True,
    dense=False,
    plain_step=True,
    needs="sparse gradients for all parameters",
)
