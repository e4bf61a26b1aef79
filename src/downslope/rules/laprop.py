"""LaProp: Adam with its two steps exchanged: first divide, then take the mean."""

from __future__ import annotations

from ._rule import Rule
from ._shared import CAUTIOUS, EPS, LR, MEAN_SQUARE, WEIGHT_DECAY, cautious_update
from ._spec import Slot, beta

__all__ = ["LAPROP", "laprop"]


def laprop(
    xp,
    p,
    g,
    exp_avg,
    exp_avg_sq,
    *,
    lr,
    beta1,
    beta2,
    eps,
    weight_decay,
    step,
    numel,
    cautious,
):
    """Step by the mean of gradients that were divided by their root mean square."""
    p = p * (1 - lr * weight_decay)
    exp_avg_sq = xp.fma((1 - beta2) * g, g, beta2 * exp_avg_sq)
    normed = g / (xp.sqrt(exp_avg_sq) / xp.sqrt(1 - beta2**step) + eps)
    update = exp_avg = xp.lerp(exp_avg, normed, 1 - beta1)
    if cautious:
        update = cautious_update(xp, update, g, numel)
    return p - lr / (1 - beta1**step) * update, exp_avg, exp_avg_sq


LAPROP = Rule(
    laprop,
    "The mean of normalized gradients, where Adam normalizes the mean.",
    class_name="LaProp",
    slots=(Slot("exp_avg", "running mean of normalized gradients", "m"), MEAN_SQUARE),
    hypers=(
        LR.by_default(4e-4),
        beta(1, default=0.9),
        beta(2, default=0.999),
        EPS.by_default(1e-15),
        WEIGHT_DECAY.by_default(0),
    ),
    flags=(CAUTIOUS,),
    paper="Ziyin, Wang, Ueda: LaProp: Separating Momentum and Adaptivity in Adam, "
    "arXiv 2002.04839.",
    use="Noisy gradients, and small betas[1], with which Adam diverges.",
    notes=(
        "The authors' code keeps the learning rate inside the mean, which is the same while it is "
        "constant; the paper's algorithm, followed here, has it outside.",
        "The weights decay as in AdamW; the authors' code multiplies by 1 - weight_decay, without "
        "the learning rate.",
    ),
)
