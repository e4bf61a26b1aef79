"""Adam-atan2: Adam without eps, whatever the scale of the gradients."""

from __future__ import annotations

from ._rule import Rule
from ._shared import CAUTIOUS, LR, MEAN, MEAN_SQUARE, WEIGHT_DECAY, cautious_update
from ._spec import Hyper, beta

__all__ = ["ADAM_ATAN2", "adam_atan2"]


def adam_atan2(
    xp,
    p,
    g,
    exp_avg,
    exp_avg_sq,
    *,
    lr,
    beta1,
    beta2,
    weight_decay,
    a,
    b,
    step,
    numel,
    cautious,
):
    """Step by the angle between the mean of the gradient and the root of its mean square."""
    p = p * (1 - lr * weight_decay)
    exp_avg = xp.lerp(exp_avg, g, 1 - beta1)
    exp_avg_sq = xp.fma((1 - beta2) * g, g, beta2 * exp_avg_sq)
    size = b / xp.sqrt(1 - beta2**step) * xp.sqrt(exp_avg_sq)
    update = a * xp.atan2(exp_avg / (1 - beta1**step), size)
    if cautious:
        update = cautious_update(xp, update, g, numel)
    return xp.fma(-lr, update, p), exp_avg, exp_avg_sq


ADAM_ATAN2 = Rule(
    adam_atan2,
    "AdamW with an arc tangent in place of the division: no eps, and no step above pi / 2 * a.",
    class_name="AdamAtan2",
    slots=(MEAN, MEAN_SQUARE),
    hypers=(
        LR.by_default(1e-4),
        beta(1, default=0.9),
        beta(2, default=0.99),
        WEIGHT_DECAY.by_default(0),
        Hyper("a", "factor of the angle", "a", default=1.27),
        Hyper("b", "factor of the root mean square", "b", default=1.0),
    ),
    flags=(CAUTIOUS,),
    paper="Everett et al.: Scaling Exponents Across Parameterizations and Optimizers, "
    "arXiv 2407.05872.",
    use="Very large networks, whose gradients come near eps; in low precision.",
    notes=(
        "The authors published no optimizer. The defaults are those of the PyTorch version in "
        "common use; a = 1.27, nearly 4 / pi, makes the step lr where AdamW's is lr.",
    ),
)
