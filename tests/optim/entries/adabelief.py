"""AdaBelief."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..entry import ADAM_BAD, ADAM_RANGES, Entry, variants
from ..oracles import Array, only_agreeing


def adabelief(
    p: Array,
    g: Array,
    state: dict[str, Any],
    *,
    lr: float = 1e-3,
    betas: tuple[float, float] = (0.9, 0.999),
    eps: float = 1e-16,
    weight_decay: float = 0.0,
    cautious: bool = False,
) -> Array:
    """Zhuang et al. 2020, algorithm 2, with decoupled decay; eps is added to s as it is kept."""
    beta1, beta2 = betas
    t = state["step"] = state.get("step", 0) + 1
    m = state["exp_avg"] = beta1 * state.get("exp_avg", 0.0) + (1 - beta1) * g
    s = beta2 * state.get("exp_avg_var", 0.0) + (1 - beta2) * (g - m) ** 2 + eps
    state["exp_avg_var"] = s
    u = (m / (1 - beta1**t)) / (np.sqrt(s / (1 - beta2**t)) + eps)
    u = only_agreeing(u, g) if cautious else u
    return p - lr * weight_decay * p - lr * u


ADABELIEF = Entry(
    "AdaBelief",
    adabelief,
    extra=variants(
        {"lr": 0.02, "betas": (0.8, 0.95), "eps": 0.03, "weight_decay": 0.3},
        {"lr": 0.02, "cautious": True},
    ),
    ranges=ADAM_RANGES,
    bad=ADAM_BAD,
    optimum={"lr": 0.2},
)
