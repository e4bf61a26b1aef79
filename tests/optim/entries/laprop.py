"""LaProp."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..entry import ADAM_BAD, ADAM_RANGES, Entry, variants
from ..oracles import Array, only_agreeing


def laprop(
    p: Array,
    g: Array,
    state: dict[str, Any],
    *,
    lr: float = 4e-4,
    betas: tuple[float, float] = (0.9, 0.999),
    eps: float = 1e-15,
    weight_decay: float = 0.0,
    cautious: bool = False,
) -> Array:
    """Ziyin et al. 2020, algorithm 1, with decoupled decay."""
    beta1, beta2 = betas
    t = state["step"] = state.get("step", 0) + 1
    n = state["exp_avg_sq"] = beta2 * state.get("exp_avg_sq", 0.0) + (1 - beta2) * g**2
    normed = g / (np.sqrt(n / (1 - beta2**t)) + eps)
    m = state["exp_avg"] = beta1 * state.get("exp_avg", 0.0) + (1 - beta1) * normed
    u = only_agreeing(m, g) if cautious else m
    return p - lr * weight_decay * p - lr * u / (1 - beta1**t)


LAPROP = Entry(
    "LaProp",
    laprop,
    extra=variants(
        {"lr": 0.02, "betas": (0.8, 0.95), "eps": 0.03, "weight_decay": 0.3},
        {"lr": 0.02, "cautious": True},
    ),
    ranges=ADAM_RANGES,
    bad=ADAM_BAD,
    optimum={"lr": 0.2},
)
