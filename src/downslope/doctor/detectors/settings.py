"""What the settings alone show: parameters left out, decay too strong, a schedule too short."""

from __future__ import annotations

import math

import numpy as np

from ..finding import Finding
from ..gathered import number
from ..history import History, steps_in_one
from .signs import CONSTANT, solved, spread, stuck

__all__ = [
    "decay_of_biases_and_norms",
    "not_trained",
    "schedule_ended_early",
    "weight_decay_too_strong",
]

LOOKS = 3  # that a parameter must be without a gradient in
DECAY_A_STEP = 2e-3  # lr x weight_decay; 1e-2 x 0.1 is the top of what is usual
USUAL_DECAY = 1e-4  # the same: 1e-3 x 0.1
LOST = 0.2  # of biases and norms over the run; the default takes an eighth in short ones
DECAY = 0.25  # below it the product is large for the learning rate's sake
DECAY_OF_SGD = 0.025  # the same: five times the most of published recipes
OVER = 1e-3  # of the highest learning rate: training has ended
EARLY = 0.1  # of the planned steps are still to come
FLAT = 0.98  # the last two validations over the lowest before them
LOW_RATE, LOWERED_EARLY = 0.02, 0.5  # the same where something is left: a cosine has 9% to come
MOST_LOST = 0.3  # of the weights at first, that are left
PENALTY = 1.0  # norm of the decay over that of the gradient, of a group's weights in the first step
#: Rules that add the decay to the gradient and divide by its size.
_PENALISE = frozenset({"Adam", "RMSprop", "Adagrad", "Adadelta", "Adamax", "NAdam", "RAdam"})
#: Rules that shrink weights by lr x weight_decay a step; SGD does, coupled or not.
_SHRINK = frozenset(
    {"SGD", "AdamW", "NAdamW", "Lion", "StableAdamW", "Adan", "Signum", "AdamAtan2"}
)


def not_trained(history: History) -> Finding | None:
    """Parameters that want a gradient and are in no group, or that never get a gradient."""
    tensors = history.setup.get("tensors", {})
    trained = [name for name, t in tensors.items() if t["trained"]]
    left_out = [name for name in trained if tensors[name]["group"] is None]
    step, how = 0, "in no group of the optimizer"
    if not left_out:
        looks = [look for look in history.looks if "tensors" in look]
        if len(looks) < LOOKS:
            return None
        seen = {name for look in looks for name in look["tensors"]}
        left_out = [name for name in trained if name not in seen]
        step, how = looks[LOOKS - 1]["step"], f"without a gradient in {len(looks)} looks"
        if spread(looks[-1]) < CONSTANT:
            return None  # what cuts them off hides behind the constant outputs
    if not left_out and spread(history.looks[-1] if history.looks else {}) > CONSTANT:
        left_out, how = _at_zero(history), "0, and so are their gradients,"
    if not left_out and stuck(history):
        left_out, how = _frozen(history), "frozen, all that there are of weights,"
    if not left_out:
        return None
    names = ", ".join(left_out[:4]) + ", ..." * (len(left_out) > 4)
    return Finding(
        "parameters not trained",
        f"{len(left_out)} of {len(tensors)} tensors are {how}",
        "warning",
        step,
        {"tensors": names},
        f"Give {names} to the optimizer and use them in the forward pass, or set "
        "requires_grad = False if they are meant to stay.",
        source="exact",
    )


def _at_zero(history: History) -> list[str]:
    """The weights that are trained, if all of them and their gradients are 0 in all looks."""
    tensors = history.setup.get("tensors", {})
    of = [n for n in tensors if tensors[n]["trained"] and history.kind_of(n) == "weight"]
    seen = [look.get("tensors", {}).get(name) for look in history.looks for name in of]
    still = [t is not None and not t["weight_norm"] and not t["grad_norm"] for t in seen]
    return of if len(history.looks) >= LOOKS and still and all(still) else []


def _frozen(history: History) -> list[str]:
    """All weights, if none of them is trained and something else is."""
    tensors = history.setup.get("tensors", {})
    weights = [name for name in tensors if history.kind_of(name) == "weight"]
    some = any(t["trained"] for t in tensors.values())
    return weights if some and not any(tensors[name]["trained"] for name in weights) else []


def weight_decay_too_strong(history: History) -> Finding | None:
    """Decoupled decay that halves weights within 350 steps: no gradient holds against it."""
    worst = max(_decays(history), key=lambda d: d[0], default=(0.0, 0.0, ()))
    a_step, decay, tensors = worst
    if a_step <= DECAY_A_STEP or decay < (DECAY_OF_SGD if _is_sgd(history) else DECAY):
        return _penalty(history)
    times = USUAL_DECAY / a_step
    alone = {history.kind_of(name) for name in tensors} <= {"bias", "norm"}
    cause = "decay of biases and norms" if alone else "weight decay too strong"
    return Finding(
        cause,
        f"every {'bias and norm' if alone else 'weight'} loses {a_step:.2%} of itself each step",
        "warning",
        int(history.steps[int(np.argmax(history.lr_shares * a_step > DECAY_A_STEP))]),
        {"lost a step": a_step, "weight_decay": decay, "allowed": DECAY_A_STEP},
        f"Use weight_decay = {decay * times:.1g} or so, and "
        "none for biases and norms: downslope.optim.param_groups(model).",
        {"weight_decay": f"x{times:.1g}"},
        "lr x weight_decay of published recipes is at most 1e-3",
    )


def _penalty(history: History) -> Finding | None:
    """Decay as a part of the gradient, of which it is the larger part from the start."""
    if history.setup.get("optimizer") not in _PENALISE or not history.looks:
        return None
    look = history.looks[0]
    shrunk = _shrunk(history)
    for which, group in enumerate(history.setup.get("groups", [])):
        decay = float(group.get("weight_decay") or 0)
        if group.get("decoupled_weight_decay") or decay < (DECAY_OF_SGD if shrunk else DECAY):
            continue
        norms = [
            (t["weight_norm"], number(t["grad_norm"]))
            for name, t in look.get("tensors", {}).items()
            if history.setup.get("tensors", {}).get(name, {}).get("group") == which
            and history.kind_of(name) == "weight"
        ]
        weight, gradient = (math.hypot(*(n[k] for n in norms)) for k in (0, 1))
        if gradient and ((share := decay * weight / gradient) > PENALTY or shrunk):
            return Finding(
                "weight decay too strong",
                f"the decay of weights is {share:.3g} times their gradient at the start"
                + ", and hardly anything is left of them" * shrunk,
                "warning",
                look["step"],
                {"decay over gradient": share, "weight_decay": decay, "allowed": PENALTY},
                f"Use weight_decay = {decay / share / 100:.1g} or so, or AdamW, whose decay is no "
                "part of the gradient.",
                {"weight_decay": f"x{0.01 / share:.1g}"},
                "Loshchilov and Hutter 2019: an adaptive rule follows what is larger",
            )
    return None


def _shrunk(history: History) -> bool:
    """Whether weights have lost most of themselves, and the loss stays."""
    first, last = (history.weights(history.looks[k], "weight_norm") for k in (0, -1))
    same = len(first) == len(last) > 0 and bool((first > 0).all())
    return same and stuck(history) and float(np.median(last / first)) < MOST_LOST


def decay_of_biases_and_norms(history: History) -> Finding | None:
    """Biases and norms lose a fifth of themselves or more over the run to weight decay."""
    total, seen = history.total_steps or history.count, float(np.sum(history.lr_shares))
    if not history.count:
        return None
    for a_step, decay, tensors in _decays(history):
        names = [name for name in tensors if history.kind_of(name) in ("bias", "norm")]
        lost = 1 - math.exp(-a_step * seen * max(1.0, total / history.count))
        if names and lost > LOST:
            return Finding(
                "decay of biases and norms",
                f"weight decay takes {lost:.0%} of {len(names)} biases and norms over the run",
                "note",
                history.last_step,
                {"lost": lost, "weight_decay": decay, "allowed": LOST},
                "Decay weights alone: downslope.optim.param_groups(model, weight_decay=...).",
                source="the guides: no decay for biases and norms; less than a fifth shows nowhere",
            )
    return None


def _decays(history: History) -> list[tuple[float, float, tuple[str, ...]]]:
    """Of each group that decays: its share a step at the highest rate, its decay, its tensors."""
    if history.setup.get("optimizer") not in _SHRINK or not history.count:
        return []
    highest = float(np.max(history.lrs))
    tensors = history.setup["tensors"]
    # SGD's decay is a part of the gradient, which momentum adds up.
    momentum = "momentum" if _is_sgd(history) else ""
    return [
        (
            highest * decay * steps_in_one(float(group.get(momentum) or 0)),
            decay,
            tuple(n for n, t in tensors.items() if t["group"] == number),
        )
        for number, group in enumerate(history.setup["groups"])
        if (decay := float(group.get("weight_decay") or 0)) > 0
    ]


def _is_sgd(history: History) -> bool:
    return history.setup.get("optimizer") == "SGD"


def schedule_ended_early(history: History) -> Finding | None:
    """The learning rate is at nothing and a good part of the run is still to come."""
    total = history.total_steps
    if total is None or history.count < 3:
        return None
    ended = _over(history, OVER, EARLY) or _over(history, LOW_RATE, LOWERED_EARLY)
    if ended is None or solved(history) or _was_flat(history):
        return None
    step, share = ended
    return Finding(
        "schedule ended early",
        f"the learning rate is {share:.1%} of its highest with {1 - step / total:.0%} of the steps "
        "to come",
        "warning",
        step,
        {"lr": float(history.lrs[-1]), "highest lr": float(history.lrs.max()), "steps": total},
        f"Let the schedule end with the run: {total} steps, not {step}; lower the rate later, or "
        "less.",
        {"schedule": "warmup-cosine"},
        "exact",
    )


def _was_flat(history: History) -> bool:
    """Whether validation got no better while the rate was still at half its height or more."""
    high = history.steps[history.lr_shares >= 0.5]
    checks = [v.loss for v in history.validations if v.step <= high[-1]]
    return len(checks) > 3 and history.above(min(checks[-2:]), min(checks[:-2])) > FLAT


def _over(history: History, share: float, early: float) -> tuple[int, float] | None:
    """After which step the rate was below a share of its highest for good, and what it was."""
    total = history.total_steps or 0
    over = history.lr_shares <= share
    over[: int(np.argmax(history.lrs)) + 1] = False  # a warmup begins there
    if not over.any():
        return None
    first = int(np.argmax(over))
    step, seen = int(history.steps[first]), int(over.sum())
    if not over[first:].all() or total - step <= early * total or seen < max(5, 0.03 * total):
        return None
    return step, float(history.lr_shares[-1])
