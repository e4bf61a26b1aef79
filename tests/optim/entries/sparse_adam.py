"""SparseAdam."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import strategies as st

from ..entry import BAD_BETAS, BAD_EPS, BAD_EVERYWHERE, EPSILONS, RATES, STEP_SIZES, Entry, variants
from ..oracles import Array


def sparse_adam(
    p: Array,
    g: Array,
    state: dict[str, Any],
    *,
    lr: float = 1e-3,
    betas: tuple[float, float] = (0.9, 0.999),
    eps: float = 1e-8,
) -> Array:
    """Kingma & Ba 2015, end of section 2, where g is not 0; elsewhere nothing moves or decays."""
    beta1, beta2 = betas
    there = g != 0
    t = state["step"] = state.get("step", 0) + 1
    m = np.broadcast_to(state.get("exp_avg", 0.0), g.shape)
    v = np.broadcast_to(state.get("exp_avg_sq", 0.0), g.shape)
    m = state["exp_avg"] = np.where(there, beta1 * m + (1 - beta1) * g, m)
    v = state["exp_avg_sq"] = np.where(there, beta2 * v + (1 - beta2) * g**2, v)
    rate = lr * np.sqrt(1 - beta2**t) / (1 - beta1**t)
    return np.where(there, p - rate * m / (np.sqrt(v) + eps), p)


SPARSE_ADAM = Entry(
    "SparseAdam",
    sparse_adam,
    extra=variants({"lr": 0.02, "betas": (0.8, 0.95), "eps": 0.03, "maximize": True}),
    ranges={
        "lr": STEP_SIZES,
        "betas": st.tuples(RATES, RATES),
        "eps": EPSILONS,
        "maximize": st.booleans(),
    },
    bad={"lr": BAD_EVERYWHERE["lr"]} | BAD_BETAS | BAD_EPS,
)
