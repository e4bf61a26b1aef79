"""What several rules share: hyperparameters, slots, and the cautious update."""

from __future__ import annotations

from ._spec import Flag, Hyper, Slot

__all__ = [
    "CAUTIOUS",
    "DECOUPLED",
    "EPS",
    "LR",
    "MEAN",
    "MEAN_SQUARE",
    "WEIGHT_DECAY",
    "cautious_update",
]

LR = Hyper("lr", "step size", "eta", phrase="learning rate")
EPS = Hyper("eps", "keeps the denominator from zero", "epsilon", phrase="epsilon value")
WEIGHT_DECAY = Hyper("weight_decay", "pull of every weight towards zero", "lamda")

MEAN = Slot("exp_avg", "running mean of gradients", "m")
MEAN_SQUARE = Slot("exp_avg_sq", "running mean of squared gradients", "v", nonnegative=True)

DECOUPLED = Flag("decoupled", key="decoupled_weight_decay")
CAUTIOUS = Flag(
    "cautious",
    meaning="leave out the elements whose update, by its momentum, points against their gradient, "
    "and lengthen the others in proportion (Liang et al., arXiv 2411.16085)",
)


def cautious_update(xp, update, g, numel):
    """An update without the elements that point against their gradient, the others lengthened.

    They are divided by the share that is left, but at most multiplied by 1000. The paper's first
    version has ``numel / (count + 1)``; its authors' code went over to this one, which does not
    shorten the updates of small tensors.
    """
    # 1 or 0. The inner sign is there because a product of two small numbers can be zero.
    agrees = xp.sign(xp.maximum(xp.sign(update) * g, 0.0))
    share = xp.sum(agrees) / numel
    return agrees / xp.maximum(share, 1e-3) * update
