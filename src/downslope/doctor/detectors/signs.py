"""What several detectors ask: how steep a run is, how far steps go, what units and outputs do."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from ..gathered import number
from ..history import SETTLED, TAKEN, History, left

__all__ = [
    "CONSTANT",
    "DEAD",
    "DEAD_LATER",
    "EARLY_STEP",
    "EXACT",
    "FAST",
    "FEW_ROWS",
    "LARGEST_FIRST",
    "LARGE_STD",
    "NOISES",
    "RISING",
    "SATURATED",
    "STEEP",
    "alike",
    "daring",
    "deadest",
    "most_saturated",
    "overcome",
    "persists",
    "solved",
    "spread",
    "stays",
    "steepness",
    "stuck",
    "unlearnt",
    "wide",
    "wild",
]

Event = dict[str, Any]

EARLY_STEP = 16  # what is so up to here was not made by training
DEAD = 0.7  # of a layer's units at the start (AutoTrainer, DeepDiagnosis)
DEAD_LATER = 0.9  # trained networks are sparse: 0.8 is seen in healthy ones
SATURATED = 0.5  # of a layer's outputs in the flat part (DeepDiagnosis)
STEEP = 70.0  # gradient norm x weight norm over the loss; 64 is seen in 99 of 100 healthy runs
FEW_ROWS = 2  # a step, whose loss says more of the rows than of the model
LARGE_STD = 10.0  # of a feature; networks are initialised for about 1 (LeCun et al. 1998)
CONSTANT = 1e-3  # deviation of the outputs over rows, in their own size
EXACT = 1e-6  # the same up to rounding
RISING = 2.0  # times the first loss: the rate is to blame for what follows; and
NOISES = 4.0  # deviations of the batches' noise more
STAYS = 0.7  # of the untrained loss
MUCH_LEFT = 0.3  # of the loss of constant outputs, after half of the run
SOLVED = 0.01  # of the untrained loss: what is so now is what the loss asks for
WILD = 0.3  # update over weight
FAST = 0.1  # the same in the first steps; 19 of 20 healthy tuning runs stay below
DARING = (
    0.07  # what a step could change the loss by, in its own size; 0.12: the least of harmful ones
)


def wide(history: History) -> bool:
    """Whether a feature of the first batch has a standard deviation far from 1."""
    return bool(history.looks and history.looks[0].get("input", {}).get("std_max", 0) > LARGE_STD)


def steepness(history: History, look: Event, *, apart: bool = False) -> float:
    """Gradient norm x weight norm over the loss: how many times itself the loss would change.

    Taken apart, by changes of each tensor in its own size: a gradient that is large because its
    tensor is small, as a token's before a norm, changes little then.
    """
    at = int(np.searchsorted(history.steps, look["step"]))
    if look.get("grad_norm") is None or at >= history.count:
        return math.nan
    of = [t for name, t in look["tensors"].items() if name not in history.frozen]
    loss = abs(history.losses[at])
    if apart:
        each = math.hypot(*(number(t["weight_norm"]) * number(t["grad_norm"]) for t in of))
        return each / loss if loss else math.nan
    weight = math.hypot(*(number(t["weight_norm"]) for t in of))
    gradient = look["grad_norm"]
    if len(of) < len(look["tensors"]):
        gradient = math.hypot(*(number(t["grad_norm"]) for t in of))
    return float(gradient * weight / loss) if loss else math.nan


def daring(history: History, above: float = 0.0) -> bool:
    """Whether the first step that moved weights so far could change the loss by a good part of it.

    By steepness x update over weight. Where not, weights may change by more than themselves: they
    are far from where they must go, as for targets of size 300.

    Args:
        history: whose steps they are.
        above: update over weight; 0: the first step.
    """
    far = (k for k in history.looks if history.update_ratio.get(k["step"], math.nan) > above)
    look = next(far, None)
    if look is None or history.below_zero:
        return True
    return not steepness(history, look) * history.update_ratio[look["step"]] < DARING


def wild(history: History, until: int) -> bool:
    """Whether, up to a step, the loss had risen or the updates were as large as the weights."""
    keep = history.steps < until
    losses = history.losses[keep]
    losses = losses[np.isfinite(losses)]
    if len(losses) > 1 and losses[1:].max() > RISING * losses[0] + NOISES * history.noise:
        return True
    return any(step < until and ratio > WILD for step, ratio in history.update_ratio.items())


def alike(history: History, looks: Sequence[Event]) -> bool:
    """Whether all rows had the same outputs in each of these looks.

    Up to rounding; or nearly, where the loss stays as well, or is gone: beside a large mean, that
    of years or prices, outputs that differ by little may be what is asked for.
    """
    most = max(map(spread, looks))
    return most < EXACT or (most < CONSTANT and (stuck(history) or solved(history)))


def stuck(history: History) -> bool:
    """Whether it is time to say that the loss stays."""
    return history.last_step >= history.judged_from and stays(history)


#: Their first step is their largest by far, as their mean of squares begins at 0.
LARGEST_FIRST = frozenset({"Adagrad", "RMSprop"})


def persists(history: History, far: float) -> bool:
    """Whether the fourth step goes so far as well, of a rule whose steps have their own length.

    Those of SGD are as long as gradients: where these are large, there is far to go.
    """
    own = history.setup.get("optimizer") not in LARGEST_FIRST | {"SGD"}
    return own and history.update_ratio.get(4, 0.0) > far


def overcome(history: History, to: float = TAKEN) -> bool:
    """Whether first steps that went far did no harm that lasts, as far as is known.

    None did where the loss has fallen since, and was at no time twice what it was for three steps.
    """
    first = np.sort(history.losses[:SETTLED])[-3:]
    rose = len(first) == 3 and not first[0] <= RISING * history.untrained
    return not rose and not history.settled > to


def stays(history: History) -> bool:
    """Whether hardly anything is gone of the loss."""
    return left(history.level(0.9, 1), history.untrained) > STAYS


def unlearnt(history: History) -> bool:
    """Whether after half of the run much is left of the loss of constant outputs."""
    if history.last_step < max(history.judged_from, 0.5 * (history.total_steps or 0)):
        return False
    checks = [v.loss for v in history.validations if v.step > 0]
    return not min(checks or [history.part(0.5, 1).mean()]) < MUCH_LEFT * history.worthless


def solved(history: History) -> bool:
    """Whether hardly anything is left of the loss."""
    return left(history.level(0.9, 1), history.untrained) < SOLVED


def deadest(look: Event) -> float:
    """The largest share of dead units of a layer."""
    acts = look.get("activations", {}).values()
    return max((a["dead"] for a in acts if "dead" in a), default=0.0)


def most_saturated(look: Event, *, outputs: bool = False) -> tuple[float, str]:
    """The largest share of a layer's outputs in the flat part, and which layer that is.

    Of the model's outputs, if asked for these; else of all others, for they may be as sure as they
    are.
    """
    acts = look.get("activations", {}).items()
    return max(
        (
            (a["saturated"], n)
            for n, a in acts
            if "saturated" in a and bool(a.get("output")) == outputs
        ),
        default=(0.0, ""),
    )


def spread(look: Event) -> float:
    """Deviation of the outputs over rows, in their own size; NaN where unknown."""
    facts = look.get("output", {})
    if facts.get("spread") is None or facts.get("scale") is None:
        return math.nan
    return float(facts["spread"] / facts["scale"]) if facts["scale"] else 0.0
