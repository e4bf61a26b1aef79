"""What units and outputs show: dead, saturated, or the same for every row."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ..finding import Finding
from ..history import History
from .signs import (
    CONSTANT,
    DEAD,
    DEAD_LATER,
    EARLY_STEP,
    EXACT,
    FAST,
    SATURATED,
    STEEP,
    alike,
    deadest,
    most_saturated,
    solved,
    spread,
    stays,
    steepness,
    stuck,
    wild,
)

__all__ = ["constant_outputs", "dead_units", "saturated_activations"]

Event = dict[str, Any]

ALIKE = 0.02  # as CONSTANT, where units died and hardly anything is left of the loss
ALL = 0.99  # of a layer's units: nothing gets through; where fewer are dead, the loss must stay
OUTPUTS = 0.9  # of the model's outputs in the flat part, in the last
SAME = 3  # looks
GONE_FAR = 1.0  # of their norms: how far weights have moved


def dead_units(history: History) -> Finding | None:
    """Most units of a layer give 0 for every row, in three looks in a row."""
    looks = history.looks
    if looks and not any(t["weight_norm"] for t in looks[0].get("tensors", {}).values()):
        return None  # all begins at 0: see constant outputs
    if looks and spread(looks[0]) < EXACT and deadest(looks[0]) < DEAD:
        return None  # all rows were one before units died
    for k in range(2, len(looks)):
        three = looks[k - 2 : k + 1]
        least = DEAD if three[0]["step"] <= EARLY_STEP else DEAD_LATER
        share = min(map(deadest, three))
        if share < least:
            continue
        violent = wild(history, looks[k]["step"])
        acts = looks[k]["activations"]
        name = max(acts, key=lambda n: acts[n].get("dead", 0.0))
        if (
            deadest(looks[0]) < DEAD
            and (violent or history.early_update > FAST or stuck(history))
            and (not acts[name].get("output"))
        ):
            if solved(history):
                return _alike(history, looks[k]) if spread(looks[k]) < ALIKE else None
            if share > ALL or stuck(history):
                return _killed(history, looks[k]["step"], "most units of a layer died")
            continue
        if (violent and not acts[name].get("output")) or not (share > ALL or stuck(history)):
            continue
        return Finding(
            "dead units",
            f"{acts[name]['dead']:.0%} of the units of {name!r} give 0 for every row",
            "warning",
            looks[k]["step"],
            {"layer": name, "dead": acts[name]["dead"], "allowed": least},
            "Leave it out: these are the model's outputs, which have no gradient once they are 0."
            if acts[name].get("output")
            else "Look at the biases' initial values; lower the learning rate; use LeakyReLU, GELU "
            "or batch norm.",
            {"lr": "x0.1"},
            "AutoTrainer, DeepDiagnosis: 0.7",
        )
    return None


def saturated_activations(history: History) -> Finding | None:
    """Most of a layer is in the flat part from the start, or outputs are while the loss stays."""
    ends = [(look["step"], *most_saturated(look, outputs=True)) for look in history.looks[-SAME:]]
    if len(ends) == SAME and min(share for _, share, _ in ends) > OUTPUTS and stays(history):
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
    if not (steepness(history, looks[0]) > STEEP or stuck(history)):
        return None  # by its biases and beside another way, as gates are
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
        if alike(history, looks[k - 2 : k + 1]):
            if spread(looks[0]) > CONSTANT and not solved(history):
                return _killed(history, looks[k]["step"], "all rows have the same outputs")
            return _alike(history, looks[k])
    if history.travelled > GONE_FAR and _unmoved(history):
        return _alike(history, history.looks[-1])
    return None


def _unmoved(history: History) -> bool:
    """Whether the loss is the same number all the while, whatever the weights."""
    losses = history.losses
    return stuck(history) and bool(np.ptp(losses) < CONSTANT * abs(np.median(losses)))


def _alike(history: History, look: Event) -> Finding:
    """All rows have the same outputs, or as good as the same, and no rate did it."""
    done = solved(history)
    return Finding(
        "constant outputs",
        "the model gives the same outputs for every row"
        + ", which is all that the loss asks for" * done,
        "warning",
        look["step"],
        {"deviation over size": spread(look), "allowed": ALIKE if done else CONSTANT},
        "The loss is as good as 0 though rows are not told apart: are all targets the same? A loss "
        "that only draws rows together needs others that it keeps apart."
        if done
        else "Something between input and output is lost: a layer that is dead, saturated, cut off "
        "(detach, zeros) or overwritten, or all weights begin at 0. Print the activations layer by "
        "layer.",
        source="exact, up to rounding",
    )


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
