"""MARS: AdamW on gradients that are corrected by their change."""

from __future__ import annotations

from ._rule import Rule
from ._shared import CAUTIOUS, EPS, LR, WEIGHT_DECAY, cautious_update
from ._spec import Hyper, Slot, beta

__all__ = ["MARS", "mars"]


def mars(
    xp,
    p,
    g,
    exp_avg,
    exp_avg_sq,
    last_grad,
    *,
    lr,
    beta1,
    beta2,
    eps,
    weight_decay,
    gamma,
    step,
    numel,
    cautious,
):
    """AdamW's step, by the gradient and its change since the last step."""
    p = p * (1 - lr * weight_decay)
    corrected = xp.fma(gamma * beta1 / (1 - beta1), g - last_grad, g)
    corrected = corrected / xp.maximum(xp.sqrt(xp.sum(corrected * corrected)), 1.0)
    exp_avg = xp.lerp(exp_avg, corrected, 1 - beta1)
    exp_avg_sq = xp.fma((1 - beta2) * corrected, corrected, beta2 * exp_avg_sq)
    update = exp_avg / (xp.sqrt(exp_avg_sq) / xp.sqrt(1 - beta2**step) + eps)
    if cautious:
        update = cautious_update(xp, update, g, numel)
    return p - lr / (1 - beta1**step) * update, exp_avg, exp_avg_sq, g


MARS = Rule(
    mars,
    "AdamW with less variance: gradients are corrected by how they change, and clipped.",
    class_name="MARS",
    slots=(
        Slot("exp_avg", "running mean of corrected gradients", "m"),
        Slot("exp_avg_sq", "running mean of squared corrected gradients", "v", nonnegative=True),
        Slot("last_grad", "last gradient", "q"),
    ),
    hypers=(
        LR.by_default(3e-3),
        beta(1, default=0.95),
        beta(2, default=0.99),
        EPS.by_default(1e-8),
        WEIGHT_DECAY.by_default(0),
        Hyper("gamma", "weight of the correction", "gamma", default=0.025),
    ),
    flags=(CAUTIOUS,),
    paper="Yuan et al.: MARS: Unleashing the Power of Variance Reduction for Training Large "
    "Models, arXiv 2411.10438.",
    use="Language models; weight matrices above all.",
    notes=(
        "MARS-AdamW in its approximate form, as in the authors' code: the last gradient is of the "
        "last batch, and zero before the first. The clipping is to the norm 1, tensor by tensor.",
        "The authors step vectors (biases, normalization layers) by AdamW with its own settings. "
        "Here every tensor is stepped alike, as theirs with optimize_1d=True; give vectors an "
        "AdamW of their own to do as they do.",
    ),
)
