"""ADOPT: Adam that divides each gradient by the mean square of those before it."""

from __future__ import annotations

from ._rule import Rule
from ._shared import CAUTIOUS, DECOUPLED, EPS, LR, MEAN_SQUARE, WEIGHT_DECAY, cautious_update
from ._spec import Slot, beta

__all__ = ["ADOPT", "adopt"]


def adopt(
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
    decoupled,
    cautious,
):
    """Step by the mean of gradients divided by the root of the mean square of earlier ones."""
    later = xp.where(step > 1, 1.0, 0.0)  # the first gradient is only remembered
    if decoupled:
        p = p * (1 - later * lr * weight_decay)
    else:
        g = xp.fma(weight_decay, p, g)
    normed = g / xp.maximum(xp.sqrt(exp_avg_sq), eps)
    bound = (step - 1) ** 0.25
    normed = xp.minimum(xp.maximum(normed, -bound), bound)
    update = exp_avg = xp.lerp(exp_avg, normed, 1 - beta1)
    if cautious:
        update = cautious_update(xp, update, g, numel)
    kept = later * beta2
    return xp.fma(-lr, update, p), exp_avg, xp.fma((1 - kept) * g, g, kept * exp_avg_sq)


ADOPT = Rule(
    adopt,
    "Adam that converges with any betas: a gradient has no part in its own denominator.",
    class_name="ADOPT",
    slots=(Slot("exp_avg", "running mean of normalized gradients", "m"), MEAN_SQUARE),
    hypers=(
        LR.by_default(1e-3),
        beta(1, default=0.9),
        beta(2, default=0.9999),
        EPS.by_default(1e-6),
        WEIGHT_DECAY.by_default(0),
    ),
    flags=(DECOUPLED, CAUTIOUS),
    paper="Taniguchi et al.: ADOPT: Modified Adam Can Converge with Any beta2 with the Optimal "
    "Rate, arXiv 2411.02853.",
    use="In Adam's place where betas[1] cannot be tuned. Its first step moves nothing.",
    notes=(
        "The clipped version of the paper's second edition and of the authors' code, whose bound "
        "is the number of earlier steps to the power 1/4. The first edition had no bound.",
    ),
)
