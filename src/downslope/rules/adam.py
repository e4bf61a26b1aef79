"""Adam and AdamW: momentum over a running root mean square, both corrected for their start."""

from __future__ import annotations

from dataclasses import replace

from ._rule import Rule
from ._shared import CAUTIOUS, DECOUPLED, EPS, LR, MEAN, MEAN_SQUARE, WEIGHT_DECAY, cautious_update
from ._spec import Hyper, Slot, beta

__all__ = [
    "ADAM",
    "ADAMAX",
    "ADAMW",
    "NADAM",
    "NADAMW",
    "RADAM",
    "adam",
    "adamax",
    "nadam",
    "radam",
]


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
    numel,
    decoupled,
    cautious,
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
    mean = cautious_update(xp, exp_avg, g, numel) if cautious else exp_avg
    p = p - lr / (1 - beta1**step) * mean / denom
    return p, exp_avg, exp_avg_sq, max_exp_avg_sq


_RAW_GRADIENT = (
    "The third guide divides the raw gradient; Adam divides its running mean, corrected for its "
    "start, and adds eps outside the root."
)


def adamax(
    xp, p, g, exp_avg, exp_inf, *, lr, beta1, beta2, eps, weight_decay, step, numel, cautious
):
    """Step by the mean of the gradient over its decaying maximum."""
    g = xp.fma(weight_decay, p, g)
    exp_avg = xp.lerp(exp_avg, g, 1 - beta1)
    exp_inf = xp.maximum(beta2 * exp_inf, xp.abs(g) + eps)
    mean = cautious_update(xp, exp_avg, g, numel) if cautious else exp_avg
    return p - lr / (1 - beta1**step) * mean / exp_inf, exp_avg, exp_inf


def nadam(
    xp,
    p,
    g,
    mu_product,
    exp_avg,
    exp_avg_sq,
    *,
    lr,
    beta1,
    beta2,
    eps,
    weight_decay,
    momentum_decay,
    step,
    numel,
    decoupled,
    cautious,
):
    """Step by a blend of the gradient and its mean, as Nesterov looks ahead."""
    if decoupled:
        p = p * (1 - lr * weight_decay)
    else:
        g = xp.fma(weight_decay, p, g)
    mu = beta1 * (1 - 0.5 * 0.96 ** (step * momentum_decay))
    mu_next = beta1 * (1 - 0.5 * 0.96 ** ((step + 1) * momentum_decay))
    mu_product = xp.f32(mu_product * xp.f32(mu))  # torch keeps it in float32
    exp_avg = xp.lerp(exp_avg, g, 1 - beta1)
    exp_avg_sq = xp.fma((1 - beta2) * g, g, beta2 * exp_avg_sq)
    denom = xp.sqrt(exp_avg_sq / (1 - beta2**step)) + eps
    by_g = lr * (1 - mu) / (1 - mu_product)
    by_mean = lr * mu_next / (1 - mu_product * mu_next)
    if cautious:
        p = p - cautious_update(xp, (by_g * g + by_mean * exp_avg) / denom, g, numel)
    else:
        p = p - by_g * g / denom - by_mean * exp_avg / denom
    return p, mu_product, exp_avg, exp_avg_sq


def radam(
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
    """Adam's step once enough squares were seen to trust their mean; until then the mean alone."""
    if decoupled:
        p = p * (1 - lr * weight_decay)
    else:
        g = xp.fma(weight_decay, p, g)
    exp_avg = xp.lerp(exp_avg, g, 1 - beta1)
    exp_avg_sq = xp.fma((1 - beta2) * g, g, beta2 * exp_avg_sq)
    rho_inf = 2 / (1 - beta2) - 1
    rho = rho_inf - 2 * step * beta2**step / (1 - beta2**step)
    # Both are positive where they are used.
    above = xp.maximum((rho - 4) * (rho - 2) * rho_inf, 1e-30)
    below = xp.maximum((rho_inf - 4) * (rho_inf - 2) * rho, 1e-30)
    rect = xp.sqrt(above / below)
    mean = cautious_update(xp, exp_avg, g, numel) if cautious else exp_avg
    mean = mean / (1 - beta1**step) * lr
    adapted = mean * (xp.sqrt(1 - beta2**step) / (xp.sqrt(exp_avg_sq) + eps)) * rect
    return p - xp.where(rho > 5, adapted, mean), exp_avg, exp_avg_sq


_MOMENTS = (LR, beta(1), beta(2), EPS, WEIGHT_DECAY)

ADAM = Rule(
    adam,
    "Momentum divided by a running root mean square, both corrected for their start.",
    slots=(
        MEAN,
        MEAN_SQUARE,
        Slot("max_exp_avg_sq", "largest exp_avg_sq so far", "w", when="amsgrad", nonnegative=True),
    ),
    hypers=_MOMENTS,
    flags=(DECOUPLED, CAUTIOUS),
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
        "The last guide's penalty is lambda * theta**2, whose gradient is 2 * lambda * theta; "
        "weight_decay is the factor of theta itself.",
    ),
)

ADAMAX = Rule(
    adamax,
    "Adam with the largest recent gradient in place of the root mean square.",
    slots=(MEAN, Slot("exp_inf", "decaying maximum of gradients", "u", nonnegative=True)),
    hypers=_MOMENTS,
    flags=(CAUTIOUS,),
    paper="Kingma, Ba: Adam: A Method for Stochastic Optimization, arXiv 1412.6980, section 7.",
    use="Embeddings and other places where gradients are rare and large.",
)

NADAM = Rule(
    nadam,
    "Adam with Nesterov's look ahead.",
    slots=(
        Slot("mu_product", "product of the momenta so far", "M", init=1.0, scalar=True),
        MEAN,
        MEAN_SQUARE,
    ),
    hypers=(*_MOMENTS, Hyper("momentum_decay", "how fast the momentum warms up", "psi")),
    flags=(DECOUPLED, CAUTIOUS),
    paper="Dozat: Incorporating Nesterov Momentum into Adam, ICLR workshop 2016.",
    use="In Adam's place; a little faster at the same learning rate. With weight decay, take "
    "NAdamW.",
)

NADAMW = replace(
    NADAM,
    summary="NAdam with decoupled weight decay, as AdamW has it.",
    paper="Dozat: Incorporating Nesterov Momentum into Adam, ICLR workshop 2016; Loshchilov, "
    "Hutter: Decoupled Weight Decay Regularization, arXiv 1711.05101.",
    use="In AdamW's place; a little faster at the same learning rate.",
    notes=(
        "The momentum warms up as in Dozat's paper and torch's NAdam. The NAdamW of the AlgoPerf "
        "benchmark is simpler: its momentum does not.",
    ),
)

RADAM = Rule(
    radam,
    "Adam whose first steps wait until the mean of squares can be trusted.",
    slots=(MEAN, MEAN_SQUARE),
    hypers=_MOMENTS,
    flags=(DECOUPLED, CAUTIOUS),
    paper="Liu et al.: On the Variance of the Adaptive Learning Rate and Beyond, arXiv 1908.03265.",
    use="When a warmup cannot be tuned: it warms up by itself.",
)
