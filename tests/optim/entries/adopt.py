"""ADOPT."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import strategies as st

from ..entry import ADAM_BAD, ADAM_RANGES, Entry, variants
from ..oracles import Array, only_agreeing


def adopt(
    p: Array,
    g: Array,
    state: dict[str, Any],
    *,
    lr: float = 1e-3,
    betas: tuple[float, float] = (0.9, 0.9999),
    eps: float = 1e-6,
    weight_decay: float = 0.0,
    decoupled_weight_decay: bool = False,
    cautious: bool = False,
) -> Array:
    """Taniguchi et al. 2024, algorithm 2 with clipping: v_0 is the first gradient's square."""
    beta1, beta2 = betas
    t = state["step"] = state.get("step", 0) + 1
    if not decoupled_weight_decay:
        g = g + weight_decay * p
    if t == 1:
        state["exp_avg"], state["exp_avg_sq"] = 0.0 * g, g**2
        return p
    if decoupled_weight_decay:
        p = p - lr * weight_decay * p
    bound = (t - 1) ** 0.25
    normed = np.clip(g / np.maximum(np.sqrt(state["exp_avg_sq"]), eps), -bound, bound)
    m = state["exp_avg"] = beta1 * state["exp_avg"] + (1 - beta1) * normed
    state["exp_avg_sq"] = beta2 * state["exp_avg_sq"] + (1 - beta2) * g**2
    return p - lr * (only_agreeing(m, g) if cautious else m)


ADOPT = Entry(
    "ADOPT",
    adopt,
    extra=variants(
        {"lr": 0.02, "betas": (0.8, 0.95), "eps": 0.03, "weight_decay": 0.3},
        {"lr": 0.02, "weight_decay": 0.3, "decoupled_weight_decay": True, "cautious": True},
    ),
    ranges=ADAM_RANGES | {"decoupled_weight_decay": st.booleans()},
    bad=ADAM_BAD,
    optimum={"lr": 1.0},
)
