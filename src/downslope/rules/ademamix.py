"""AdEMAMix: AdamW with a second, much slower mean of the gradient."""

from __future__ import annotations

from ._rule import Rule
from ._shared import CAUTIOUS, EPS, LR, MEAN_SQUARE, WEIGHT_DECAY, cautious_update
from ._spec import Hyper, Slot, beta

__all__ = ["ADEMAMIX", "ademamix"]


def ademamix(
    xp,
    p,
    g,
    exp_avg_fast,
    exp_avg_slow,
    exp_avg_sq,
    *,
    lr,
    beta1,
    beta2,
    beta3,
    alpha,
    beta3_warmup,
    alpha_warmup,
    eps,
    weight_decay,
    step,
    numel,
    cautious,
):
    """Step by a fast and a slow mean of the gradient over the root of the mean of its square."""
    p = p * (1 - lr * weight_decay)
    alpha = alpha * xp.minimum(step / xp.maximum(alpha_warmup, 1.0), 1.0)
    # A mean's half-life is ln(1/2) / ln(beta); beta3's goes in a straight line from beta1's.
    grown = xp.minimum(step / xp.maximum(beta3_warmup, 1.0), 1.0)
    first, last = (1 / xp.log(xp.maximum(b, 1e-8)) for b in (beta1, beta3))
    beta3 = xp.where(grown < 1, xp.exp(1 / ((1 - grown) * first + grown * last)), beta3)
    exp_avg_fast = xp.lerp(exp_avg_fast, g, 1 - beta1)
    exp_avg_slow = xp.lerp(exp_avg_slow, g, 1 - beta3)
    exp_avg_sq = xp.fma((1 - beta2) * g, g, beta2 * exp_avg_sq)
    denom = xp.sqrt(exp_avg_sq) / xp.sqrt(1 - beta2**step) + eps
    update = xp.fma(alpha, exp_avg_slow, exp_avg_fast / (1 - beta1**step)) / denom
    if cautious:
        update = cautious_update(xp, update, g, numel)
    return xp.fma(-lr, update, p), exp_avg_fast, exp_avg_slow, exp_avg_sq


ADEMAMIX = Rule(
    ademamix,
    "AdamW with a second mean of the gradient, which remembers ten thousand steps.",
    class_name="AdEMAMix",
    slots=(
        Slot("exp_avg_fast", "running mean of gradients", "m"),
        Slot("exp_avg_slow", "slow running mean of gradients", "M"),
        MEAN_SQUARE,
    ),
    hypers=(
        LR.by_default(1e-3),
        beta(1, default=0.9),
        beta(2, "decay rate of the mean square", default=0.999),
        beta(3, "decay rate of the slow mean", default=0.9999),
        Hyper("alpha", "weight of the slow mean", "alpha", default=2.0),
        Hyper("beta3_warmup", "steps in which betas[2] grows from betas[0]", "T_beta", default=0),
        Hyper("alpha_warmup", "steps in which alpha grows from 0", "T_alpha", default=0),
        EPS.by_default(1e-8),
        WEIGHT_DECAY.by_default(0),
    ),
    flags=(CAUTIOUS,),
    paper="Pagliardini, Ablin, Grangier: The AdEMAMix Optimizer: Better, Faster, Older, "
    "arXiv 2409.03137.",
    use="Long runs of language models. Set both warmups to the number of steps of the run, and "
    "alpha to 5 to 10.",
    notes=(
        "A warmup of 0 steps is the authors' None. Their code adds 1e-8 to both betas before it "
        "takes the logarithms of the warmup; the paper's formula, followed here, does not.",
    ),
)
