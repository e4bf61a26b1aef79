"""LAMB: AdamW whose step is a fixed share of the length of each tensor."""

from __future__ import annotations

from ._rule import Rule
from ._shared import CAUTIOUS, EPS, LR, MEAN, MEAN_SQUARE, WEIGHT_DECAY, cautious_update
from ._spec import beta

__all__ = ["LAMB", "lamb"]


def lamb(
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
    """Step by lr times the length of p in the direction of AdamW."""
    exp_avg = xp.lerp(exp_avg, g, 1 - beta1)
    exp_avg_sq = xp.fma((1 - beta2) * g, g, beta2 * exp_avg_sq)
    denom = xp.sqrt(exp_avg_sq) / xp.sqrt(1 - beta2**step) + eps
    update = exp_avg / (1 - beta1**step) / denom
    if cautious:
        update = cautious_update(xp, update, g, numel)
    update = xp.fma(weight_decay, p, update)
    of_p, of_update = xp.sqrt(xp.sum(p * p)), xp.sqrt(xp.sum(update * update))
    trust = xp.where(of_p * of_update > 0, of_p / of_update, 1.0)
    return p - lr * trust * update, exp_avg, exp_avg_sq


LAMB = Rule(
    lamb,
    "AdamW, every tensor at a rate in proportion to its length.",
    class_name="LAMB",
    slots=(MEAN, MEAN_SQUARE),
    hypers=(
        LR.by_default(1e-3),
        beta(1, default=0.9),
        beta(2, default=0.999),
        EPS.by_default(1e-6),
        WEIGHT_DECAY.by_default(0.01),
    ),
    flags=(CAUTIOUS,),
    paper="You et al.: Large Batch Optimization for Deep Learning: Training BERT in 76 minutes, "
    "arXiv 1904.00962.",
    use="Transformers with batches of thousands. lr is the length of a step by that of the tensor.",
    notes=(
        "Both means are corrected for their start, as in the paper's algorithm; the authors' first "
        "code did not.",
        "A tensor or update of zeros has the ratio 1, as in NVIDIA's and timm's LAMB, which also "
        "clip gradients to the norm 1 and leave tensors without weight decay unscaled.",
    ),
)
