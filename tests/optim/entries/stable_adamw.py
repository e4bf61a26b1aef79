"""StableAdamW."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..entry import ADAM_BAD, ADAM_RANGES, Entry, variants
from ..oracles import Array, only_agreeing


def stable_adamw(
    p: Array,
    g: Array,
    state: dict[str, Any],
    *,
    lr: float = 2e-3,
    betas: tuple[float, float] = (0.9, 0.99),
    eps: float = 1e-6,
    weight_decay: float = 0.2,
    cautious: bool = False,
) -> Array:
    """Wortsman et al. 2023, algorithm 2."""
    t = state["step"] = state.get("step", 0) + 1
    beta1, beta2 = (b * (1 - b ** (t - 1)) / (1 - b**t) for b in betas)
    v = state["exp_avg"] = beta1 * state.get("exp_avg", 0.0) + (1 - beta1) * g
    u = state["exp_avg_sq"] = beta2 * state.get("exp_avg_sq", 0.0) + (1 - beta2) * g**2
    rms = np.sqrt(np.mean(g**2 / np.maximum(u, eps**2))) if g.size else 0.0
    eta = lr / max(1.0, rms)
    update = v / (np.sqrt(u) + eps)
    update = only_agreeing(update, g) if cautious else update
    return p - eta * weight_decay * p - eta * update


STABLE_ADAMW = Entry(
    "StableAdamW",
    stable_adamw,
    extra=variants(
        {"lr": 0.02, "betas": (0.8, 0.95), "eps": 0.03, "weight_decay": 0.3},
        {"lr": 0.02, "betas": (0.9, 0.5), "cautious": True},
    ),
    ranges=ADAM_RANGES,
    bad=ADAM_BAD,
    optimum={"lr": 0.2, "weight_decay": 0},
)
