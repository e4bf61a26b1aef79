"""MARS."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import strategies as st

from ..entry import ADAM_BAD, ADAM_RANGES, NAN, Entry, variants
from ..oracles import Array, only_agreeing


def mars(
    p: Array,
    g: Array,
    state: dict[str, Any],
    *,
    lr: float = 3e-3,
    betas: tuple[float, float] = (0.95, 0.99),
    eps: float = 1e-8,
    weight_decay: float = 0.0,
    gamma: float = 0.025,
    cautious: bool = False,
) -> Array:
    """Yuan et al. 2024, algorithm 2 with the approximate difference, from a gradient of zero."""
    beta1, beta2 = betas
    t = state["step"] = state.get("step", 0) + 1
    c = g + gamma * beta1 / (1 - beta1) * (g - state.get("last_grad", 0.0))
    c = c / max(1.0, np.linalg.norm(c.ravel()))
    state["last_grad"] = g
    m = state["exp_avg"] = beta1 * state.get("exp_avg", 0.0) + (1 - beta1) * c
    v = state["exp_avg_sq"] = beta2 * state.get("exp_avg_sq", 0.0) + (1 - beta2) * c**2
    u = (m / (1 - beta1**t)) / (np.sqrt(v / (1 - beta2**t)) + eps)
    u = only_agreeing(u, g) if cautious else u
    return p - lr * (u + weight_decay * p)


MARS = Entry(
    "MARS",
    mars,
    extra=variants(
        {"lr": 0.02, "betas": (0.8, 0.95), "eps": 0.03, "weight_decay": 0.3, "gamma": 0.5},
        {"lr": 0.02, "cautious": True},
    ),
    ranges=ADAM_RANGES | {"gamma": st.floats(0, 1)},
    bad=ADAM_BAD | {"gamma": (NAN, -1.0)},
    optimum={"lr": 0.2},
)
