"""AdaBelief: divide by how far gradients are from what their mean let expect."""

from __future__ import annotations

from ._rule import Rule
from ._shared import CAUTIOUS, EPS, LR, MEAN, WEIGHT_DECAY, cautious_update
from ._spec import Slot, beta

__all__ = ["ADABELIEF", "adabelief"]


def adabelief(
    xp,
    p,
    g,
    exp_avg,
    exp_avg_var,
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
    """Step by the mean of the gradient over the root of its variance around that mean."""
    p = p * (1 - lr * weight_decay)
    exp_avg = xp.lerp(exp_avg, g, 1 - beta1)
    surprise = g - exp_avg
    exp_avg_var = xp.fma((1 - beta2) * surprise, surprise, beta2 * exp_avg_var) + eps
    update = exp_avg / (xp.sqrt(exp_avg_var) / xp.sqrt(1 - beta2**step) + eps)
    if cautious:
        update = cautious_update(xp, update, g, numel)
    return p - lr / (1 - beta1**step) * update, exp_avg, exp_avg_var


ADABELIEF = Rule(
    adabelief,
    "AdamW that divides by the deviation of gradients from their mean, not by their size.",
    class_name="AdaBelief",
    slots=(MEAN, Slot("exp_avg_var", "running mean of squared deviations", "s", nonnegative=True)),
    hypers=(
        LR.by_default(1e-3),
        beta(1, default=0.9),
        beta(2, "decay rate of the variance", default=0.999),
        EPS.by_default(1e-16),
        WEIGHT_DECAY.by_default(0),
    ),
    flags=(CAUTIOUS,),
    paper="Zhuang et al.: AdaBelief Optimizer: Adapting Stepsizes by the Belief in Observed "
    "Gradients, arXiv 2010.07468.",
    use="In AdamW's place. The authors take eps=1e-16 for Transformers and GANs, 1e-8 for "
    "convolutional networks.",
    notes=(
        "The paper's algorithm, with its authors' eps and decoupled weight decay. Their package "
        "also waits as RAdam does unless rectify=False; here it never does.",
    ),
)
