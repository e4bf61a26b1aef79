"""What flows through the network: gradients, activations, outputs, numbers that are none."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ..finding import Finding
from ..gathered import number
from ..history import History, left

__all__ = [
    "FEW_ROWS",
    "constant_outputs",
    "daring",
    "dead_units",
    "deadest",
    "exploding_gradients",
    "float16_underflow",
    "gradients_not_cleared",
    "most_saturated",
    "not_a_number",
    "saturated_activations",
    "spread",
    "steepness",
    "vanishing_gradients",
]

Event = dict[str, Any]

STALE = 2  # looks
EARLY_STEP = 16  # what is so up to here was not made by training
DEAD = 0.7  # of a layer's units at the start (AutoTrainer, DeepDiagnosis)
DEAD_LATER = 0.9  # trained networks are sparse: 0.8 is seen in healthy ones
SATURATED = 0.5  # of a layer's outputs in the flat part (DeepDiagnosis)
VANISHING = 5e-3  # first over last layer's gradient norm; 0.05 is seen in healthy networks
EXPLODING = 300.0  # gradient norm x weight norm over the loss
STEEP = 70.0  # the same where the loss rose or units died; 64 is seen in 99 of 100 healthy runs
FEW_ROWS = 2  # a step, whose loss says more of the rows than of the model
UNDERFLOW = 0.95  # zeros among a weight's gradients
CONSTANT = 1e-3  # deviation of the outputs over rows, in their own size
RISING = 2.0  # times the first loss: the rate is to blame for what follows; and
NOISES = 4.0  # deviations of the batches' noise more
FAR_OFF = 10.0  # times the loss of constant outputs, before the first step
ALIKE = 0.02  # the same where units died and hardly anything is left of the loss
OUTPUTS = 0.9  # of the model's outputs in the flat part, in the last
SAME = 3  # looks
STAYS = 0.7  # of the untrained loss
SOLVED = 0.01  # of the untrained loss: what is so now is what the loss asks for
WILD = 0.3  # update over weight
DARING = (
    0.07  # what a step could change the loss by, in its own size; 0.12 is the least of harmful ones
)
FAST = 0.1  # the same in the first steps; 19 of 20 healthy tuning runs stay below


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
    lost = max(map(spread, looks[:2])) < CONSTANT and (
        history.weights(looks[1], "zero_share")[0] < 0.5
    )
    if begin >= len(ratios) - 1 and not lost:
        return None
    if not any(n[0] for n in norms) and max(map(spread, looks)) < CONSTANT:
        return None  # cut off, not weakened: see constant outputs
    known = [r for r in ratios[begin:] if math.isfinite(r)] or [math.inf]
    first, typical = known[0], float(np.median(known))
    if not lost and not (first < 10 * VANISHING and typical < VANISHING):
        return None
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


def exploding_gradients(history: History) -> Finding | None:
    """At first the loss is so steep that a change of the weights by a hundredth multiplies it."""
    if not history.looks or (history.batch_rows or math.inf) <= FEW_ROWS:
        return None
    if np.nanmin(history.losses, initial=math.inf) < 0:
        return None  # the loss may be near 0 anywhere, and mean nothing
    look = history.looks[0]  # later ones are the learning rate's doing
    slope = steepness(history, look)
    if look["step"] != 1 or not slope > STEEP:
        return None
    end = history.nonfinite is not None and wild(history, history.nonfinite["step"])
    limit = RISING * history.untrained + NOISES * history.noise
    risen = end or bool((history.smoothed[1] > limit).any())
    ruined = risen or history.early_update > FAST or _died(history)
    # What the model was made with; no rate changes that, so it is flagged and not slowed down.
    far_off = history.untrained > FAR_OFF * history.worthless
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
            "allowed": STEEP if ruined or far_off else EXPLODING,
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


def dead_units(history: History) -> Finding | None:
    """Most units of a layer give 0 for every row, in three looks in a row."""
    looks = history.looks
    if looks and not any(t["weight_norm"] for t in looks[0].get("tensors", {}).values()):
        return None  # all begins at 0: see constant outputs
    for k in range(2, len(looks)):
        three = looks[k - 2 : k + 1]
        least = DEAD if three[0]["step"] <= EARLY_STEP else DEAD_LATER
        if min(map(deadest, three)) < least:
            continue
        violent = wild(history, looks[k]["step"])
        if deadest(looks[0]) < DEAD and (violent or history.early_update > FAST):
            if _solved(history):
                return _alike(history, looks[k]) if spread(looks[k]) < ALIKE else None
            return _killed(history, looks[k]["step"], "most units of a layer died")
        if violent:
            continue
        acts = looks[k]["activations"]
        name = max(acts, key=lambda n: acts[n].get("dead", 0.0))
        return Finding(
            "dead units",
            f"{acts[name]['dead']:.0%} of the units of {name!r} give 0 for every row",
            "warning",
            looks[k]["step"],
            {"layer": name, "dead": acts[name]["dead"], "allowed": least},
            "Look at the biases' initial values; lower the learning rate; use LeakyReLU, GELU or "
            "batch norm.",
            {"lr": "x0.1"},
            "AutoTrainer, DeepDiagnosis: 0.7",
        )
    return None


def saturated_activations(history: History) -> Finding | None:
    """Most of a layer is in the flat part from the start, or outputs are while the loss stays."""
    ends = [(look["step"], *most_saturated(look, outputs=True)) for look in history.looks[-SAME:]]
    if len(ends) == SAME and min(share for _, share, _ in ends) > OUTPUTS and _stays(history):
        return Finding(
            "saturated activations",
            f"{ends[-1][1]:.0%} of the outputs, of {ends[-1][2]!r}, are in the flat part, and the "
            "loss does not fall",
            "warning",
            ends[-1][0],
            {"layer": ends[-1][2], "saturated": ends[-1][1], "allowed": OUTPUTS},
            "Are there targets that this activation cannot reach? Leave it out, or scale them to "
            "its range.",
            source="sigmoid(x) is in (0, 1), tanh(x) in (-1, 1)",
        )
    looks = [look for look in history.looks if look["step"] <= EARLY_STEP]
    if len(looks) < 2 or min(most_saturated(look)[0] for look in looks) < SATURATED:
        return None
    share, name = most_saturated(looks[0])
    return Finding(
        "saturated activations",
        f"{share:.0%} of the outputs of {name!r} are in the flat part",
        "warning",
        looks[1]["step"],
        {"layer": name, "saturated": share, "allowed": SATURATED},
        "Scale the inputs, initialise with less gain (Glorot), or use ReLU or GELU.",
        source="DeepDiagnosis: half of the units",
    )


def constant_outputs(history: History) -> Finding | None:
    """The outputs are the same for every row, in three looks in a row."""
    looks = [look for look in history.looks if math.isfinite(spread(look))]
    for k in range(2, len(looks)):
        if max(map(spread, looks[k - 2 : k + 1])) < CONSTANT:
            if spread(looks[0]) > CONSTANT and not _solved(history):
                return _killed(history, looks[k]["step"], "all rows have the same outputs")
            return _alike(history, looks[k])
    return None


def _alike(history: History, look: Event) -> Finding:
    """All rows have the same outputs, or as good as the same, and no rate did it."""
    solved = _solved(history)
    return Finding(
        "constant outputs",
        "the model gives the same outputs for every row"
        + ", which is all that the loss asks for" * solved,
        "warning",
        look["step"],
        {"deviation over size": spread(look), "allowed": ALIKE if solved else CONSTANT},
        "The loss is as good as 0 though rows are not told apart: are all targets the same? A loss "
        "that only draws rows together needs others that it keeps apart."
        if solved
        else "Something between input and output is lost: a layer that is dead, saturated, cut off "
        "(detach, zeros) or overwritten, or all weights begin at 0. Print the activations layer by "
        "layer.",
        source="exact, up to rounding",
    )


def _stays(history: History) -> bool:
    """Whether hardly anything is gone of the loss."""
    return left(history.level(0.9, 1), history.untrained) > STAYS


def _solved(history: History) -> bool:
    """Whether hardly anything is left of the loss."""
    return left(history.level(0.9, 1), history.untrained) < SOLVED


def _killed(history: History, step: int, what: str) -> Finding:
    """A network that was alive, and is not since its first steps."""
    lr, fast = float(history.lrs.max()), history.early_update
    return Finding(
        "lr too high",
        f"{what}, after steps that changed weights by {fast:.0%} of their norm",
        "warning",
        step,
        {"update over weight": fast, "lr": lr} | ({"allowed": FAST} if fast > FAST else {}),
        f"Lower the learning rate to a tenth ({lr / 10:.1g}) and begin again; a warmup helps.",
        {"lr": "x0.1"},
        "19 of 20 healthy tuning runs stay below",
    )


def steepness(history: History, look: Event) -> float:
    """Gradient norm x weight norm over the loss: how many times itself the loss would change."""
    at = int(np.searchsorted(history.steps, look["step"]))
    if look.get("grad_norm") is None or at >= history.count:
        return math.nan
    weight = math.hypot(*(number(t["weight_norm"]) for t in look["tensors"].values()))
    loss = abs(history.losses[at])
    return float(look["grad_norm"] * weight / loss) if loss else math.nan


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
    if look is None:
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
