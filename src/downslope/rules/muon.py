"""Muon: momentum whose singular values are all made nearly one."""

from __future__ import annotations

import math

from ._rule import Rule
from ._shared import LR, WEIGHT_DECAY
from ._spec import Choice, Flag, Hyper, Slot

__all__ = ["MUON", "muon", "newton_schulz"]


def newton_schulz(xp, x, a, b, c, eps, ns_steps):
    """A matrix with x's singular vectors, and singular values near one: between 0.7 and 1.2.

    Each pass takes a singular value s to ``a s + b s**3 + c s**5``, a polynomial so steep at 0 that
    small ones grow fast, and that does not settle at 1. bfloat16 is precise enough for it.
    """
    narrow = xp.bfloat16(xp.wide(x))
    start = narrow / xp.maximum(xp.norm(narrow), eps)  # no singular value is above one

    def iterate(x):
        gram = xp.named("A", xp.matmul(x, xp.transpose(x)))
        return xp.addmm(a, x, 1.0, xp.addmm(b, gram, c, gram, gram), x)

    return xp.turned(xp.repeat("X", ns_steps, iterate, start), x)


def muon(
    xp,
    p,
    g,
    momentum_buffer,
    *,
    lr,
    weight_decay,
    momentum,
    a,
    b,
    c,
    eps,
    rows,
    columns,
    nesterov,
    ns_steps,
    adjust_lr_fn,
):
    """Step along the nearest orthogonal matrix to the momentum."""
    momentum_buffer = xp.lerp(momentum_buffer, g, 1 - momentum)
    mean = xp.lerp(g, momentum_buffer, momentum) if nesterov else momentum_buffer
    direction = newton_schulz(xp, mean, a, b, c, eps, ns_steps)
    if adjust_lr_fn == "match_rms_adamw":
        rate = lr * (0.2 * xp.sqrt(xp.maximum(rows, columns)))
    else:
        rate = lr * xp.sqrt(xp.maximum(1.0, rows / columns))
    return xp.fma(-rate, direction, p * (1 - lr * weight_decay)), momentum_buffer


def _coefficient(index: int, letter: str) -> Hyper:
    power = ("", "**3", "**5")[index]
    return Hyper(
        letter,
        f"factor of s{power} in the polynomial of the singular values",
        letter,
        low=-math.inf,
        key="ns_coefficients",
        index=index,
    )


MUON = Rule(
    muon,
    "Momentum whose singular values are all made nearly one: a step of one length in every "
    "direction that a matrix has.",
    slots=(Slot("momentum_buffer", "running mean of gradients", "B"),),
    hypers=(
        LR.worded("Learning rate should be >= 0 but is"),
        WEIGHT_DECAY.worded("weight decay should be >= 0 but is"),
        Hyper(
            "momentum",
            "decay rate of the running mean",
            "mu",
            high=1.0,
            refusal="momentum should be >= 0 but is",
        ),
        *(_coefficient(index, letter) for index, letter in enumerate("abc")),
        Hyper("eps", "least norm that a matrix is divided by", "epsilon"),
    ),
    flags=(
        Flag("nesterov"),
        Choice(
            "ns_steps",
            meaning="passes of the polynomial",
            allowed=range(100),
            default=5,
            refusal="Number of steps must be less than 100 for computational efficiency",
        ),
        Choice(
            "adjust_lr_fn",
            meaning="how the step grows with the shape: 'original' (and None) with the root of "
            "rows / columns where that is above 1; 'match_rms_adamw' so that AdamW's lr and "
            "weight_decay fit",
            allowed=(None, "original", "match_rms_adamw"),
            refusal="Adjust learning rate function {} is not supported",
        ),
    ),
    paper="Jordan et al.: Muon: An optimizer for hidden layers in neural networks, 2024, "
    "kellerjordan.github.io/posts/muon; adjust_lr_fn='match_rms_adamw': Liu et al.: Muon is "
    "Scalable for LLM Training, arXiv 2502.16982.",
    use="The weight matrices of hidden layers, in Transformers above all. Give embeddings, the "
    "last layer, biases and gains to AdamW beside it. lr about 0.02 as the step is one of unit "
    "singular values; with adjust_lr_fn='match_rms_adamw', AdamW's lr.",
    notes=(
        "As in torch: the momentum is a running mean, the polynomial is evaluated in bfloat16 "
        "whatever the parameter's dtype, and weights decay apart from the gradient.",
        "Matrices of one shape are multiplied together, in one call.",
    ),
    counts_steps=False,
    matrix=True,
    needs="parameters that are all matrices",
)
