"""StableAdamW: AdamW that takes shorter steps where its mean of squares is out of date."""

from __future__ import annotations

from ._rule import Rule
from ._shared import CAUTIOUS, EPS, LR, MEAN, MEAN_SQUARE, WEIGHT_DECAY, cautious_update
from ._spec import beta

__all__ = ["STABLE_ADAMW", "stable_adamw"]


def stable_adamw(
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
    """AdamW's step over the root mean square of gradient by exp_avg_sq, where that is above 1."""
    beta1, beta2 = (b * (1 - b ** (step - 1)) / (1 - b**step) for b in (beta1, beta2))
    exp_avg = xp.lerp(exp_avg, g, 1 - beta1)
    exp_avg_sq = xp.fma((1 - beta2) * g, g, beta2 * exp_avg_sq)
    surprise = xp.sqrt(xp.sum(g * g / xp.maximum(exp_avg_sq, eps * eps)) / numel)
    lr = lr / xp.maximum(surprise, 1.0)
    update = exp_avg / (xp.sqrt(exp_avg_sq) + eps)
    if cautious:
        update = cautious_update(xp, update, g, numel)
    return p * (1 - lr * weight_decay) - lr * update, exp_avg, exp_avg_sq


STABLE_ADAMW = Rule(
    stable_adamw,
    "AdamW with Adafactor's clipping of updates: it takes no long step after a jump.",
    class_name="StableAdamW",
    slots=(MEAN, MEAN_SQUARE),
    hypers=(
        LR.by_default(2e-3),
        beta(1, default=0.9),
        beta(2, default=0.99),
        EPS.by_default(1e-6),
        WEIGHT_DECAY.by_default(0.2),
    ),
    flags=(CAUTIOUS,),
    paper="Wortsman et al.: Stable and low-precision training for large-scale vision-language "
    "models, arXiv 2304.13013, algorithm 2.",
    use="Runs whose loss jumps, in place of clipping gradients.",
    notes=(
        "The weight decay is shortened with the step, as in the paper's algorithm; the authors' "
        "code shortens only the step.",
        "exp_avg and exp_avg_sq are corrected for their start when they are updated, not when they "
        "are used: they are not AdamW's.",
    ),
)
