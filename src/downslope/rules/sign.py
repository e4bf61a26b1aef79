"""Lion and Signum: steps of one length, whose direction alone comes from the gradients."""

from __future__ import annotations

from ._rule import Rule
from ._shared import CAUTIOUS, LR, MEAN, WEIGHT_DECAY, cautious_update
from ._spec import Hyper, Slot, beta

__all__ = ["LION", "SIGNUM", "lion", "signum"]


def lion(xp, p, g, exp_avg, *, lr, beta1, beta2, weight_decay, numel, cautious):
    """Step by lr against the sign of the momentum, looked at with the gradient in it."""
    p = p * (1 - lr * weight_decay)
    update = xp.sign(xp.lerp(exp_avg, g, 1 - beta1))
    if cautious:
        update = cautious_update(xp, update, g, numel)
    return xp.fma(-lr, update, p), xp.lerp(exp_avg, g, 1 - beta2)


def signum(xp, p, g, momentum_buffer, *, lr, momentum, weight_decay, numel, cautious):
    """Step by lr against the sign of the gradient, or of its running mean."""
    p = p * (1 - lr * weight_decay)
    update = xp.sign(g)
    if momentum_buffer is not None:
        momentum_buffer = xp.lerp(momentum_buffer, g, 1 - momentum)
        update = xp.sign(momentum_buffer)
        if cautious:
            update = cautious_update(xp, update, g, numel)
    return xp.fma(-lr, update, p), momentum_buffer


LION = Rule(
    lion,
    "The sign of an average between the momentum and the gradient.",
    class_name="Lion",
    slots=(MEAN,),
    hypers=(
        LR.by_default(1e-4),
        beta(1, "share of the momentum in the direction", default=0.9),
        beta(2, "decay rate of the momentum", default=0.99),
        WEIGHT_DECAY.by_default(0),
    ),
    flags=(CAUTIOUS,),
    paper="Chen et al.: Symbolic Discovery of Optimization Algorithms, arXiv 2302.06675.",
    use="Large networks and batches, with half of AdamW's memory. lr three to ten times smaller "
    "than AdamW's, weight_decay as much larger.",
    counts_steps=False,
)

SIGNUM = Rule(
    signum,
    "The sign of the running mean of gradients; with momentum=0, signSGD.",
    class_name="Signum",
    slots=(Slot("momentum_buffer", "running mean of gradients", "b", when="momentum"),),
    hypers=(
        LR.by_default(1e-4),
        Hyper("momentum", "decay rate of the running mean", "mu", high=1.0, default=0.9),
        WEIGHT_DECAY.by_default(0),
    ),
    flags=(CAUTIOUS,),
    paper="Bernstein, Wang, Azizzadenesheli, Anandkumar: signSGD: Compressed Optimisation for "
    "Non-Convex Problems, arXiv 1802.04434.",
    use="Gradients whose scale says little, or that are sent as one bit each. It cannot settle: "
    "near a minimum it keeps stepping by lr, so let lr fall.",
    notes=(
        "The weights decay apart from the sign, as in the authors' second paper (arXiv 1810.05291, "
        "algorithm 1); their code adds weight_decay to the gradient where it does not compress.",
    ),
    counts_steps=False,
)
