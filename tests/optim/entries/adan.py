"""Adan."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import strategies as st

from ..entry import ADAM_BAD, ADAM_RANGES, BAD_BETAS_3, RATES, Entry, variants
from ..oracles import Array, only_agreeing


def adan(
    p: Array,
    g: Array,
    state: dict[str, Any],
    *,
    lr: float = 1e-3,
    betas: tuple[float, float, float] = (0.98, 0.92, 0.99),
    eps: float = 1e-8,
    weight_decay: float = 0.0,
    cautious: bool = False,
) -> Array:
    """Xie et al. 2022, algorithm 1, with betas as decay rates and corrected for their start."""
    beta1, beta2, beta3 = betas
    t = state["step"] = state.get("step", 0) + 1
    before = -state["neg_pre_grad"] if t > 1 else g
    state["neg_pre_grad"] = -g
    m = state["exp_avg"] = beta1 * state.get("exp_avg", 0.0) + (1 - beta1) * g
    v = beta2 * state.get("exp_avg_diff", 0.0) + (1 - beta2) * (g - before)
    state["exp_avg_diff"] = v
    looked = (g + beta2 * (g - before)) ** 2
    n = state["exp_avg_sq"] = beta3 * state.get("exp_avg_sq", 0.0) + (1 - beta3) * looked
    u = m / (1 - beta1**t) + beta2 * v / (1 - beta2**t)
    u = u / (np.sqrt(n / (1 - beta3**t)) + eps)
    u = only_agreeing(u, g) if cautious else u
    return (p - lr * u) / (1 + lr * weight_decay)


ADAN = Entry(
    "Adan",
    adan,
    extra=variants(
        {"lr": 0.02, "betas": (0.8, 0.7, 0.95), "eps": 0.03, "weight_decay": 0.3},
        {"lr": 0.02, "cautious": True},
    ),
    ranges=ADAM_RANGES | {"betas": st.tuples(RATES, RATES, RATES)},
    bad=ADAM_BAD | BAD_BETAS_3,
    optimum={"lr": 0.2},
)
