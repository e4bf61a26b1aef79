"""Schedule-Free SGD and AdamW."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import strategies as st

from ..entry import (
    ADAM_BAD,
    BAD_EVERYWHERE,
    DECAYS,
    EPSILONS,
    INF,
    NAN,
    RATES,
    STEP_SIZES,
    Entry,
    variants,
)
from ..oracles import Array


def _averaged(p: Array, z: Array, state: dict[str, Any], gamma: float, r: float, q: float) -> Array:
    """The average x, kept as such, after z was stepped with the learning rate gamma."""
    state["lr_max"] = max(gamma, state.get("lr_max", 0.0))
    weight = state["step"] ** r * state["lr_max"] ** q
    state["weight_sum"] = state.get("weight_sum", 0.0) + weight
    c = weight / state["weight_sum"] if state["weight_sum"] > 0 else 0.0
    state["_x"] = (1 - c) * state.get("_x", p) + c * z
    return state["_x"]


def sgd_schedule_free(
    p: Array,
    g: Array,
    state: dict[str, Any],
    *,
    lr: float = 1.0,
    momentum: float = 0.9,
    weight_decay: float = 0.0,
    warmup_steps: float = 0,
    r: float = 0.0,
    weight_lr_power: float = 2.0,
) -> Array:
    """Defazio et al. 2024, equations 3 to 5, with x, y and z apart; p is y."""
    t = state["step"] = state.get("step", 0) + 1
    gamma = lr * min(1.0, t / warmup_steps) if warmup_steps else lr
    z = state["z"] = state.get("z", p) - gamma * (g + weight_decay * p)
    x = _averaged(p, z, state, gamma, r, weight_lr_power)
    return (1 - momentum) * z + momentum * x


def adamw_schedule_free(
    p: Array,
    g: Array,
    state: dict[str, Any],
    *,
    lr: float = 0.0025,
    betas: tuple[float, float] = (0.9, 0.999),
    eps: float = 1e-8,
    weight_decay: float = 0.0,
    warmup_steps: float = 0,
    r: float = 0.0,
    weight_lr_power: float = 2.0,
) -> Array:
    """Defazio et al. 2024, algorithm 1, with x, y and z apart; p is y."""
    beta1, beta2 = betas
    t = state["step"] = state.get("step", 0) + 1
    gamma = lr * np.sqrt(1 - beta2**t) * (min(1.0, t / warmup_steps) if warmup_steps else 1.0)
    v = state["exp_avg_sq"] = beta2 * state.get("exp_avg_sq", 0.0) + (1 - beta2) * g**2
    z = state.get("z", p) - gamma * g / (np.sqrt(v) + eps) - gamma * weight_decay * p
    state["z"] = z
    x = _averaged(p, z, state, gamma, r, weight_lr_power)
    return (1 - beta1) * z + beta1 * x


_SCHEDULE = {
    "warmup_steps": st.integers(0, 8),
    "r": st.floats(0, 2),
    "weight_lr_power": st.floats(0, 3),
}
_SHARED = {"lr": STEP_SIZES, "weight_decay": DECAYS, "maximize": st.booleans(), **_SCHEDULE}
_BLENDS = st.floats(0.05, 0.999)

SGD_SCHEDULE_FREE = Entry(
    "SGDScheduleFree",
    sgd_schedule_free,
    extra=variants(
        {"lr": 0.02},
        {"lr": 0.02, "momentum": 0.6, "weight_decay": 0.3, "warmup_steps": 8, "r": 0.5},
    ),
    ranges=_SHARED | {"momentum": _BLENDS},
    # The default lr is 1, and True == 1: a program that sets it later changes nothing.
    bad=BAD_EVERYWHERE
    | {"lr": tuple(v for v in BAD_EVERYWHERE["lr"] if v is not True)}
    | {"momentum": (NAN, INF, 1.0, 0.0), "warmup_steps": (NAN, -1)},
    optimum={"lr": 0.3, "r": 10},
)

ADAMW_SCHEDULE_FREE = Entry(
    "AdamWScheduleFree",
    adamw_schedule_free,
    extra=variants(
        {"lr": 0.02, "weight_lr_power": 0},
        {"lr": 0.02, "betas": (0.6, 0.95), "eps": 0.03, "weight_decay": 0.3, "warmup_steps": 8},
    ),
    ranges=_SHARED | {"betas": st.tuples(_BLENDS, RATES), "eps": EPSILONS},
    bad=ADAM_BAD | {"betas": (*ADAM_BAD["betas"], (0.0, 0.9)), "warmup_steps": (NAN, -1)},
    optimum={"lr": 0.3, "r": 10},
)
