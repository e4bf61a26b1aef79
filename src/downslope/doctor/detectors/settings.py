"""What the settings alone show: parameters left out, decay too strong, a schedule too short."""

from __future__ import annotations

import numpy as np

from ..finding import Finding
from ..history import History
from .flow import CONSTANT, spread

__all__ = ["not_trained", "schedule_ended_early", "weight_decay_too_strong"]

LOOKS = 3  # that a parameter must be without a gradient in
DECAY_A_STEP = 2e-3  # lr x weight_decay; 1e-3 x 0.1 = 1e-4 is usual, 1e-2 x 0.1 the top of it
DECAY = 0.25  # below it the product is large for the learning rate's sake
OVER = 1e-3  # of the highest learning rate: training has ended
EARLY = 0.1  # of the planned steps are still to come
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
    if not left_out:
        return None
    names = ", ".join(left_out[:4]) + ", ..." * (len(left_out) > 4)
    return Finding(
        "parameters not trained",
        f"{len(left_out)} of {len(trained)} tensors are {how}",
        "warning",
        step,
        {"tensors": names},
        f"Give {names} to the optimizer and use them in the forward pass, or set "
        "requires_grad = False if they are meant to stay.",
        source="exact",
    )


def weight_decay_too_strong(history: History) -> Finding | None:
    """Decoupled decay that halves weights within 350 steps: no gradient holds against it."""
    if history.setup.get("optimizer") not in _SHRINK or not history.count:
        return None
    highest = float(np.max(history.lrs))
    decays = [float(g.get("weight_decay") or 0) for g in history.setup["groups"]]
    worst = max(decays)
    if highest * worst <= DECAY_A_STEP or worst < DECAY:
        return None
    step = int(history.steps[int(np.argmax(history.lrs * worst > DECAY_A_STEP))])
    return Finding(
        "weight decay too strong",
        f"every weight loses {highest * worst:.2%} of itself each step",
        "warning",
        step,
        {"lr": highest, "weight_decay": worst, "allowed": DECAY_A_STEP},
        f"Use weight_decay = {0.05 * DECAY_A_STEP / highest:.1g} or so (a tenth of it first), and "
        "none for biases and norms: downslope.optim.param_groups(model).",
        {"weight_decay": "x0.01"},
        "lr x weight_decay of published recipes is at most 1e-3",
    )


def schedule_ended_early(history: History) -> Finding | None:
    """The learning rate is at nothing and a good part of the run is still to come."""
    total = history.total_steps
    if total is None or history.count < 3:
        return None
    over = history.lr_shares <= OVER
    over[: int(np.argmax(history.lrs)) + 1] = False  # a warmup begins there
    if not over.any():
        return None
    first = int(np.argmax(over))
    step, seen = int(history.steps[first]), int(over.sum())
    if not over[first:].all() or total - step <= EARLY * total or seen < max(5, 0.03 * total):
        return None
    return Finding(
        "schedule ended early",
        f"the learning rate is 0 with {1 - step / total:.0%} of the steps to come",
        "warning",
        step,
        {"lr": float(history.lrs[-1]), "highest lr": float(history.lrs.max()), "steps": total},
        f"Let the schedule end with the run: {total} steps, not {step}.",
        {"schedule": "warmup-cosine"},
        "exact",
    )
