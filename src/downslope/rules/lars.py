"""LARS: gradient descent whose step is a fixed share of the length of each tensor."""

from __future__ import annotations

from ._rule import Rule
from ._shared import CAUTIOUS, LR, WEIGHT_DECAY, cautious_update
from ._spec import Hyper, Slot

__all__ = ["LARS", "lars"]


def lars(
    xp,
    p,
    g,
    momentum_buffer,
    *,
    lr,
    momentum,
    weight_decay,
    trust_coefficient,
    numel,
    cautious,
):
    """Step with momentum by the gradient times the length of p over that of the gradient."""
    of_p, of_g = xp.sqrt(xp.sum(p * p)), xp.sqrt(xp.sum(g * g))
    ratio = trust_coefficient * of_p / (of_g + weight_decay * of_p)
    trust = xp.where(trust_coefficient * of_p * of_g > 0, ratio, 1.0)
    g = xp.fma(weight_decay, p, g)
    update = lr * trust * g
    if momentum_buffer is not None:
        update = momentum_buffer = xp.fma(momentum, momentum_buffer, update)
        if cautious:
            update = cautious_update(xp, update, g, numel)
    return p - update, momentum_buffer


LARS = Rule(
    lars,
    "Gradient descent with momentum, every tensor at a rate in proportion to its length.",
    class_name="LARS",
    slots=(Slot("momentum_buffer", "running sum of steps", "b", when="momentum"),),
    hypers=(
        LR.by_default(1.0),
        Hyper("momentum", "share of the last step that is kept", "mu", high=1.0, default=0.9),
        WEIGHT_DECAY.by_default(5e-4),
        Hyper(
            "trust_coefficient",
            "length of a step by that of the tensor, at lr=1; 0: the plain gradient",
            "rho",
            default=1e-3,
        ),
    ),
    flags=(CAUTIOUS,),
    paper="You, Gitman, Ginsburg: Large Batch Training of Convolutional Networks, "
    "arXiv 1708.03888.",
    use="Convolutional networks with batches of thousands, after a warmup. Give biases and "
    "normalization layers a group with trust_coefficient=0 and weight_decay=0.",
    notes=(
        "lr and the trust ratio are inside the momentum, as in the paper's algorithm; NVIDIA's "
        "LARC and timm have lr outside, TensorFlow's LARSOptimizer both. With a constant lr and "
        "ratio all are the same.",
        "A tensor or gradient of zeros has the ratio 1, as in those libraries, or it would never "
        "move.",
    ),
    counts_steps=False,
)
