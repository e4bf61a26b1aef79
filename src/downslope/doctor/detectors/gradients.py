"""What gradients show: left over, lost on the way, too steep, underflown, or no numbers."""

from __future__ import annotations

import math

import numpy as np

from ..finding import Finding
from ..gathered import number
from ..history import History
from .signs import (
    CONSTANT,
    DEAD,
    DEAD_LATER,
    EARLY_STEP,
    FAST,
    FEW_ROWS,
    NOISES,
    RISING,
    STEEP,
    alike,
    deadest,
    spread,
    steepness,
    stuck,
    wide,
    wild,
)

__all__ = [
    "exploding_gradients",
    "float16_underflow",
    "gradients_not_cleared",
    "not_a_number",
    "vanishing_gradients",
]

STALE = 2  # looks
VANISHING = 5e-3  # first over last layer's gradient norm; 0.05 is seen in healthy networks
EXPLODING = 300.0  # gradient norm x weight norm over the loss, whatever comes of it
STEEP_APART = 18.0  # the same by tensors; 16 in 99 of 100 healthy runs, 28 the least of steep ones
STEEP_AND_FAR = 40.0  # as STEEP, of a model that begins far above constant outputs
LATE = 0.3  # of the planned steps: what is weak may still learn
MOVES = 1e-5  # update over weight
FAR_OFF = 10.0  # times the loss of constant outputs, before the first step
UNDERFLOW = 0.95  # zeros among a weight's gradients


def gradients_not_cleared(history: History) -> Finding | None:
    """Gradients were there already when a backward pass began."""
    stale = [look["step"] for look in history.looks if look.get("stale_gradients")]
    if len(stale) < STALE or len(stale) < 0.5 * (len(history.looks) - 1):
        return None
    return Finding(
        "gradients not cleared",
        f"in {len(stale)} of {len(history.looks)} looks gradients of earlier steps were left",
        "warning",
        stale[STALE - 1],
        {"looks": len(history.looks), "with gradients left": len(stale)},
        "Call optimizer.zero_grad() in every step, before loss.backward().",
        source="exact",
    )


def not_a_number(history: History) -> Finding | None:
    """A loss or gradient that is infinite or NaN while the run was calm; its origin by name."""
    event = history.nonfinite
    if event is None or wild(history, event["step"]):
        return None
    if event["kind"] == "weights" and history.early_update > FAST:
        return None  # the steps made it
    if event["step"] == 1 and event["kind"] in ("forward", "loss") and wide(history):
        return None  # an overflow of what came in: see inputs not scaled
    step, kind, where = event["step"], event["kind"], event["where"]
    place = {
        "input": f"the batch of step {step}, {where}",
        "forward": f"the forward pass of {where!r} in step {step}",
        "backward": f"the backward pass of {where!r} in step {step}",
        "loss": f"the loss function in step {step}",
        "weights": f"the loss or the gradients of step {step}, which spoilt {where!r}",
    }.get(kind, f"step {step}: {where}")
    remedy = {
        "input": "Find the rows in the data and mend or leave them out.",
        "forward": "Look for a division by 0, the log or root of something not positive, or an "
        "overflow in it; add an eps.",
        "backward": "Its output is finite and its gradient is not: a root, norm or power at 0, or "
        "a masked branch; add an eps inside it.",
        "weights": "Look for targets of that batch that are not finite, then for log(0), 0/0 or an "
        "overflow in the loss.",
    }.get(kind, "Look for log(0), 0/0 or an overflow in it.")
    return Finding(
        "not a number",
        f"it begins in {place}",
        "fatal",
        step,
        {"kind": kind, "where": where, "batch": step},
        remedy,
        source="exact",
    )


def vanishing_gradients(history: History) -> Finding | None:
    """From the start the first layer's gradient is tiny, or no input reaches the outputs."""
    looks = [k for k in history.looks if k["step"] <= EARLY_STEP and len(history.weights(k)) >= 3]
    if len(looks) < 2 or deadest(looks[0]) >= DEAD:
        return None
    norms = [history.weights(look) for look in looks]
    ratios = [float(n[0] / n[-1]) if n[-1] > 0 else math.nan for n in norms]
    # A last layer may begin at 0: then outputs are constant in the first step, and gradients 0.
    begin = int(not norms[0][0])
    lost = alike(history, looks[:2]) and (history.weights(looks[1], "zero_share")[0] < 0.5)
    if begin >= len(ratios) - 1 and not lost:
        return None
    if not any(n[0] for n in norms) and max(map(spread, looks)) < CONSTANT:
        return None  # cut off, not weakened: see constant outputs
    known = [r for r in ratios[begin:] if math.isfinite(r)] or [math.inf]
    first, typical = known[0], float(np.median(known))
    if lost and not max(map(spread, looks[:2])) and typical > 10 * VANISHING:
        return None  # all rows are made one, which weakens no gradient: see constant outputs
    weak = first < 10 * VANISHING and typical < VANISHING
    late = history.last_step >= LATE * (history.total_steps or 0)
    if not lost and not (weak and late and stuck(history) and _moves(history)):
        return None  # a rule of its own step length may get through
    how = (
        "nothing of the inputs reaches the outputs"
        if lost
        else f"the first layer's gradient is {typical:.1e} of the last one's"
    )
    return Finding(
        "vanishing gradients",
        how,
        "warning",
        looks[1]["step"],
        {"first over last": typical, "allowed": VANISHING}
        | ({"deviation of outputs": spread(looks[0])} if lost else {}),
        "Use ReLU or GELU, normalisation layers, residual connections, or an initialisation that "
        "keeps the variance (Glorot, He).",
        source="AutoTrainer has 1e-3; the lowest healthy network in our tuning runs 6e-2",
    )


def _moves(history: History) -> bool:
    """Whether some weight moves as usual: where none does, the rate is to blame."""
    return any((history.update_ratios(k) > MOVES).any() for k in history.looks)


def exploding_gradients(history: History) -> Finding | None:
    """At first the loss is so steep that a change of the weights by a hundredth multiplies it."""
    if not history.looks or (history.batch_rows or math.inf) <= FEW_ROWS:
        return None
    if history.below_zero:
        return None  # the loss may be near 0 anywhere, and mean nothing
    look = history.looks[0]  # later ones are the learning rate's doing
    slope = steepness(history, look)
    if look["step"] != 1 or not slope > STEEP_AND_FAR:
        return None
    # What the model was made with; no rate changes that, so it is flagged and not slowed down.
    far_off = history.untrained > FAR_OFF * history.worthless
    allowed = STEEP_AND_FAR if far_off else STEEP
    if not slope > allowed or steepness(history, look, apart=True) < STEEP_APART:
        return None
    end = history.nonfinite is not None and wild(history, history.nonfinite["step"])
    limit = RISING * history.untrained + NOISES * history.noise
    risen = end or bool((history.smoothed[1] > limit).any())
    ruined = risen or history.early_update > FAST or _died(history)
    if not (ruined or far_off or slope > EXPLODING):
        return None
    # A step of SGD is as long as the gradient, and no rate suits a slope that falls a hundredfold.
    sgd = history.setup.get("optimizer") == "SGD"
    slower = _OWN_LENGTH if sgd else {"lr": "x0.1", "warmup": 0.1}
    return Finding(
        "exploding gradients",
        f"gradient norm x weight norm is {slope:.1e} times the loss",
        "warning",
        1,
        {
            "gradient norm": number(look["grad_norm"]),
            "steepness": slope,
            "allowed": allowed if ruined or far_off else EXPLODING,
        },
        "Initialise with less gain (He, Glorot), normalise the layers, and clip the "
        "gradient: clip_norm = 1.0"
        + ("; AdamW's steps are no longer where the gradient is." if sgd else "."),
        {"clip_norm": 1.0, **(slower if ruined else {})},
        "the guides' table; healthy networks in our tuning runs stay below 64, but 1 in 100",
    )


#: Steps of a length of their own, up to what it takes to be sure of it.
_OWN_LENGTH = {"optimizer": "adamw", "lr": "found", "warmup": 0.1}


def _died(history: History) -> bool:
    """Whether units or outputs that differed at first came to be dead or all the same."""
    first = history.looks[0]
    units = deadest(first) < DEAD and max(map(deadest, history.looks)) >= DEAD_LATER
    spreads = [spread(look) for look in history.looks]
    return units or (spreads[0] > CONSTANT and min(spreads) < CONSTANT)


def float16_underflow(history: History) -> Finding | None:
    """Nearly all gradients are exactly 0 while units are alive and outputs differ."""
    shares = []
    for look in history.looks[:8]:
        zeros = history.weights(look, "zero_share")
        if not len(zeros) or deadest(look) >= DEAD or spread(look) < CONSTANT:
            return None
        shares.append(float(np.median(zeros)))
    if len(shares) < 3 or not min(shares[:3]) > UNDERFLOW:
        return None
    return Finding(
        "float16 underflow",
        f"{np.median(shares):.0%} of the gradients are exactly 0",
        "warning",
        history.looks[2]["step"],
        {"zeros": float(np.median(shares)), "allowed": UNDERFLOW},
        "Scale the loss (torch.amp.GradScaler), or use bfloat16.",
        {"precision": "bf16"},
        "float16 has nothing below 6e-8",
    )
