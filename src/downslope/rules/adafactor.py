"""Adafactor: a root mean square of gradients that is kept as one number a row and a column."""

from __future__ import annotations

import math

from ._rule import Rule
from ._shared import LR, WEIGHT_DECAY
from ._spec import Hyper, Slot

__all__ = ["ADAFACTOR", "adafactor"]


def adafactor(
    xp,
    p,
    g,
    row_var,
    col_var,
    variance,
    *,
    lr,
    beta2_decay,
    eps1,
    eps2,
    d,
    weight_decay,
    step,
    numel,
):
    """Step by the gradient over its estimated root mean square, in proportion to the weights."""
    newest = step**beta2_decay  # its share of the means: all of them at the first step
    size = xp.maximum(xp.norm(p) / xp.sqrt(numel), eps2)
    p = p * (1 - lr * weight_decay)
    if variance is None:
        row_var = xp.lerp(row_var, xp.row_mean(g * g), newest)
        col_var = xp.lerp(col_var, xp.column_mean(g * g), newest)
        estimate = row_var / xp.maximum(xp.column_mean(row_var), eps1) * col_var
    else:  # a vector has nothing to factor
        estimate = variance = xp.lerp(variance, g * g, newest)
    update = xp.named("U", g / xp.sqrt(xp.maximum(estimate, eps1 * eps1)))
    clip = xp.maximum(xp.norm(update) / (xp.sqrt(numel) * d), 1.0)
    rate = xp.minimum(lr, 1 / xp.sqrt(step)) * size / clip
    return xp.fma(-rate, update, p), row_var, col_var, variance


def _of_eps(index: int, meaning: str, symbol: str, *, machine: bool = False) -> Hyper:
    return Hyper(
        f"eps{index + 1}",
        meaning,
        symbol,
        refusal=f"epsilon{index + 1} should be >= 0 but is",
        key="eps",
        index=index,
        machine=machine,
    )


ADAFACTOR = Rule(
    adafactor,
    "Adam without momentum, whose mean of squares is one number a row and one a column.",
    slots=(
        Slot("row_var", "running mean square of every row", "R", axis=-1, dims=(2, math.inf)),
        Slot("col_var", "running mean square of every column", "C", axis=-2, dims=(2, math.inf)),
        Slot("variance", "running mean of squared gradients", "V", dims=(0, 1)),
    ),
    hypers=(
        LR.worded("Learning rate should be >= 0 but is"),
        Hyper(
            "beta2_decay",
            "power of the step number that is the newest gradient's share of the means",
            "tau",
            low=-math.inf,
            high=0.0,
            closed=True,
            refusal="beta2_decay should be <= 0 but is",
        ),
        _of_eps(0, "keeps the denominator from zero", "epsilon_1", machine=True),
        _of_eps(1, "least size that weights are taken to have", "epsilon_2"),
        Hyper(
            "d",
            "largest root mean square of an update, before it is multiplied by the rate",
            "d",
            low=1.0,
            refusal="Clipping threshold d should be >= 1 but is",
        ),
        WEIGHT_DECAY.worded("weight_decay should be >= 0 but is"),
    ),
    paper="Shazeer, Stern: Adafactor: Adaptive Learning Rates with Sublinear Memory Cost, "
    "arXiv 1804.04235.",
    use="When memory is what is short: of a matrix it keeps one number a row and one a column. lr "
    "is relative to the size of the weights, so the same one serves layers of any scale.",
    notes=(
        "As in torch, lr takes the place of the paper's largest relative step 0.01, eps[0] bounds "
        "the estimate instead of being added to the squared gradient, and weights decay apart "
        "from the gradient.",
        "Unlike torch's, a group may mix dtypes: eps[0]=None is each parameter's own machine "
        "epsilon. Parameters without elements are stepped over, where torch divides by zero.",
    ),
    matrix=True,
)
