"""Adan: Nesterov's momentum from differences of gradients."""

from __future__ import annotations

from ._rule import Rule
from ._shared import CAUTIOUS, EPS, LR, MEAN, WEIGHT_DECAY, cautious_update
from ._spec import Slot, beta

__all__ = ["ADAN", "adan"]


def adan(
    xp,
    p,
    g,
    exp_avg,
    exp_avg_diff,
    exp_avg_sq,
    neg_pre_grad,
    *,
    lr,
    beta1,
    beta2,
    beta3,
    eps,
    weight_decay,
    step,
    numel,
    cautious,
):
    """Step by the means of the gradient and of its change over the root mean square of both."""
    change = xp.where(step > 1, 1.0, 0.0) * (g + neg_pre_grad)
    exp_avg = xp.lerp(exp_avg, g, 1 - beta1)
    exp_avg_diff = xp.lerp(exp_avg_diff, change, 1 - beta2)
    ahead = xp.fma(beta2, change, g)
    exp_avg_sq = xp.fma((1 - beta3) * ahead, ahead, beta3 * exp_avg_sq)
    denom = xp.sqrt(exp_avg_sq) / xp.sqrt(1 - beta3**step) + eps
    update = exp_avg / (1 - beta1**step) + beta2 / (1 - beta2**step) * exp_avg_diff
    update = update / denom
    if cautious:
        update = cautious_update(xp, update, g, numel)
    p = xp.fma(-lr, update, p) / (1 + lr * weight_decay)
    return p, exp_avg, exp_avg_diff, exp_avg_sq, -g


ADAN = Rule(
    adan,
    "Nesterov's momentum from the differences of gradients, over a root mean square.",
    class_name="Adan",
    slots=(
        MEAN,
        Slot("exp_avg_diff", "running mean of differences of gradients", "d"),
        Slot(
            "exp_avg_sq", "running mean of squared gradients, looked ahead", "v", nonnegative=True
        ),
        Slot("neg_pre_grad", "last gradient, negative", "q"),
    ),
    hypers=(
        LR.by_default(1e-3),
        beta(1, default=0.98),
        beta(2, "decay rate of the differences, and their weight", default=0.92),
        beta(3, "decay rate of the mean square", default=0.99),
        EPS.by_default(1e-8),
        WEIGHT_DECAY.by_default(0),
    ),
    flags=(CAUTIOUS,),
    paper="Xie et al.: Adan: Adaptive Nesterov Momentum Algorithm for Faster Optimizing Deep "
    "Models, arXiv 2208.06677.",
    use="Vision Transformers and large batches, with lr up to ten times AdamW's.",
    notes=(
        "betas are decay rates, as in the authors' code; in the paper they are what is left to 1. "
        "So a difference counts betas[1] = 0.92 times; optax counts it 0.08 times.",
        "The weights are divided by 1 + lr * weight_decay after the step, as in the authors' code "
        "unless no_prox=True.",
    ),
)
