"""Gradient descent, momentum, Nesterov; and the smoothed sign step."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from ._rule import Rule
from ._shared import CAUTIOUS, EPS, LR, WEIGHT_DECAY, cautious_update
from ._spec import Flag, Hyper, Slot

__all__ = ["NORMALIZED_SGD", "SGD", "normalized_sgd", "sgd"]


def sgd(
    xp,
    p,
    g,
    momentum_buffer,
    *,
    lr,
    momentum,
    dampening,
    weight_decay,
    fresh,
    numel,
    nesterov,
    cautious,
):
    """Step against the gradient, or against its running sum."""
    g = xp.fma(weight_decay, p, g)
    update = g
    if momentum_buffer is not None:
        gain = xp.where(fresh, 1.0, 1 - dampening)  # the first gradient is taken whole
        momentum_buffer = xp.fma(gain, g, momentum * momentum_buffer)
        update = xp.fma(momentum, momentum_buffer, g) if nesterov else momentum_buffer
        if cautious:
            update = cautious_update(xp, update, g, numel)
    return xp.fma(-lr, update, p), momentum_buffer


def _nesterov_conflict(group: Mapping[str, Any]) -> str:
    if group["nesterov"] and (group["momentum"] <= 0 or group["dampening"] != 0):
        return "Nesterov momentum requires a momentum and zero dampening"
    return ""


SGD = Rule(
    sgd,
    "Gradient descent, with momentum, dampening and Nesterov's acceleration.",
    slots=(Slot("momentum_buffer", "running sum of gradients", "b", when="momentum"),),
    hypers=(
        LR,
        Hyper("momentum", "share of the last direction that is kept", "mu", high=1.0),
        Hyper("dampening", "share of a new gradient that is held back", "tau", low=-math.inf),
        WEIGHT_DECAY,
    ),
    flags=(Flag("nesterov"), CAUTIOUS),
    paper="Sutskever, Martens, Dahl, Hinton: On the importance of initialization and momentum in "
    "deep learning, ICML 2013. Momentum: Polyak 1964; acceleration: Nesterov 1983.",
    use="Convolutional networks with a tuned schedule, convex problems, very large data sets. "
    "Usually with momentum=0.9; momentum=0 is plain gradient descent.",
    errata=(
        "The first guide's momentum steps by gamma * v, gamma being the momentum: the step is "
        "lr * v.",
        "The first guide takes Nesterov's gradient at the shifted point. Here, as in torch, the "
        "parameter is the shifted point, so the gradient is the one at hand.",
        "The last guide's momentum averages, m = beta * m + (1 - beta) * g. That is "
        "momentum=beta with dampening=beta, but for the first gradient, which is taken whole.",
    ),
    counts_steps=False,
    sparse=True,
    conflict=_nesterov_conflict,
)


def normalized_sgd(xp, p, g, *, lr, eps, weight_decay):
    """Step by nearly lr in every coordinate."""
    g = xp.fma(weight_decay, p, g)
    return (p - lr * g / (xp.abs(g) + eps),)


NORMALIZED_SGD = Rule(
    normalized_sgd,
    "A smoothed sign step: the gradient gives the direction, lr alone the distance.",
    slots=(),
    hypers=(LR.by_default(1e-3), EPS.by_default(1e-8), WEIGHT_DECAY.by_default(0)),
    class_name="NormalizedSGD",
    paper="Riedmiller, Braun: A direct adaptive method for faster backpropagation learning: the "
    "RPROP algorithm, 1993, for the sign of the gradient as a direction; Bernstein et al.: "
    "signSGD, arXiv 1802.04434.",
    use="To see what adaptive methods do when they remember nothing. It cannot settle: near a "
    "minimum it keeps stepping by lr, so let lr fall.",
    errata=(
        'The last guide calls this "AdaGred" and means Adagrad. Adagrad sums the squares of all '
        "gradients; this one looks only at the last.",
    ),
    counts_steps=False,
)
