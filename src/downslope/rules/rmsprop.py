"""RMSprop: divide by a running root mean square of the gradient."""

from __future__ import annotations

from ._rule import Rule
from ._shared import CAUTIOUS, EPS, LR, WEIGHT_DECAY, cautious_update
from ._spec import Hyper, Slot

__all__ = ["RMSPROP", "rmsprop"]


def rmsprop(
    xp,
    p,
    g,
    square_avg,
    momentum_buffer,
    grad_avg,
    *,
    lr,
    alpha,
    eps,
    weight_decay,
    momentum,
    numel,
    cautious,
):
    """Step by the gradient over its running root mean square, or its standard deviation."""
    g = xp.fma(weight_decay, p, g)
    square_avg = xp.fma((1 - alpha) * g, g, alpha * square_avg)
    variance = square_avg
    if grad_avg is not None:  # centered: the slot exists
        grad_avg = xp.lerp(grad_avg, g, 1 - alpha)
        variance = xp.fma(-grad_avg, grad_avg, square_avg)
    denom = xp.sqrt(variance) + eps
    if momentum_buffer is None:
        return p - lr * g / denom, square_avg, None, grad_avg
    update = momentum_buffer = momentum * momentum_buffer + g / denom
    if cautious:
        update = cautious_update(xp, update, g, numel)
    return xp.fma(-lr, update, p), square_avg, momentum_buffer, grad_avg


RMSPROP = Rule(
    rmsprop,
    "The gradient divided by its running root mean square.",
    slots=(
        Slot("square_avg", "running mean of squared gradients", "v", nonnegative=True),
        Slot("momentum_buffer", "running sum of steps", "b", when="momentum"),
        Slot("grad_avg", "running mean of gradients", "m", when="centered"),
    ),
    hypers=(
        LR,
        Hyper("alpha", "decay rate of the running means", "alpha", high=1.0),
        EPS,
        WEIGHT_DECAY,
        Hyper("momentum", "share of the last step that is kept", "mu", high=1.0),
    ),
    flags=(CAUTIOUS,),
    paper="Tieleman, Hinton: Lecture 6.5, rmsprop, Coursera 2012; centered: Graves, "
    "arXiv 1308.0850.",
    use="Recurrent networks and reinforcement learning, where the gradient's scale drifts.",
    errata=(
        "The third guide puts eps inside the root. torch, and we, add it to the root: "
        "sqrt(v) + eps.",
    ),
)
