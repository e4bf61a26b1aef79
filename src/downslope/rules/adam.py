"""Adam and AdamW: momentum over a running root mean square, both corrected for their start."""

from __future__ import annotations

from dataclasses import replace

from ._rule import Flag, Rule, Slot, beta
from .sgd import EPS, LR, WEIGHT_DECAY

__all__ = ["ADAM", "ADAMW", "adam"]


def adam(
    xp,
    p,
    g,
    exp_avg,
    exp_avg_sq,
    max_exp_avg_sq,
    *,
    lr,
    beta1,
    beta2,
    eps,
    weight_decay,
    step,
    decoupled,
):
    """Step by the mean of the gradient over the root of the mean of its square."""
    if decoupled:
        p = p * (1 - lr * weight_decay)  # AdamW: the same decay for every weight
    else:
        g = xp.fma(weight_decay, p, g)  # Adam: L2 in the gradient
    exp_avg = xp.lerp(exp_avg, g, 1 - beta1)
    exp_avg_sq = xp.fma((1 - beta2) * g, g, beta2 * exp_avg_sq)
    variance = exp_avg_sq
    if max_exp_avg_sq is not None:  # amsgrad: the slot exists
        variance = max_exp_avg_sq = xp.maximum(max_exp_avg_sq, exp_avg_sq)
    denom = xp.sqrt(variance) / xp.sqrt(1 - beta2**step) + eps
    p = p - lr / (1 - beta1**step) * exp_avg / denom
    return p, exp_avg, exp_avg_sq, max_exp_avg_sq


_RAW_GRADIENT = (
    "The third guide divides the raw gradient; Adam divides its running mean, corrected for its "
    "start, and adds eps outside the root."
)

ADAM = Rule(
    adam,
    "Momentum divided by a running root mean square, both corrected for their start.",
    slots=(
        Slot("exp_avg", "running mean of gradients", "m"),
        Slot("exp_avg_sq", "running mean of squared gradients", "v"),
        Slot("max_exp_avg_sq", "largest exp_avg_sq so far", "w", when="amsgrad"),
    ),
    hypers=(LR, beta(1), beta(2), EPS, WEIGHT_DECAY),
    flags=(Flag("decoupled", key="decoupled_weight_decay"),),
    paper="Kingma, Ba: Adam: A Method for Stochastic Optimization, arXiv 1412.6980; amsgrad: "
    "Reddi, Kale, Kumar: On the Convergence of Adam and Beyond, ICLR 2018.",
    use="A first choice for dense data when weight decay is not wanted; with it, take AdamW.",
    errata=(
        _RAW_GRADIENT,
        "amsgrad keeps the largest uncorrected exp_avg_sq, as torch does; the paper has no "
        "correction for the start.",
    ),
)

ADAMW = replace(
    ADAM,
    summary="Adam with decoupled weight decay: every weight decays alike.",
    paper="Loshchilov, Hutter: Decoupled Weight Decay Regularization, arXiv 1711.05101; Kingma, "
    "Ba: arXiv 1412.6980.",
    use="The default: Transformers, and most networks of any kind. lr about 1e-3, smaller for "
    "large models; warm up, then let lr fall.",
    errata=(
        _RAW_GRADIENT,
        "The last guide's AdamW step leaves out the corrections for the start that its own Adam "
        "has; AdamW has them too.",
        "The last guide's penalty is lamda * theta**2, whose gradient is 2 * lamda * theta; "
        "weight_decay is the factor of theta itself.",
    ),
)
