"""AdEMAMix."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import strategies as st

from ..entry import ADAM_BAD, ADAM_RANGES, BAD_BETAS_3, INF, NAN, RATES, Entry, variants
from ..oracles import Array, only_agreeing


def ademamix(
    p: Array,
    g: Array,
    state: dict[str, Any],
    *,
    lr: float = 1e-3,
    betas: tuple[float, float, float] = (0.9, 0.999, 0.9999),
    alpha: float = 2.0,
    beta3_warmup: float = 0,
    alpha_warmup: float = 0,
    eps: float = 1e-8,
    weight_decay: float = 0.0,
    cautious: bool = False,
) -> Array:
    """Pagliardini et al. 2024, algorithm 1 and the two schedules of section 3."""
    beta1, beta2, beta3 = betas
    t = state["step"] = state.get("step", 0) + 1
    if t < alpha_warmup:
        alpha = alpha * t / alpha_warmup
    if t < beta3_warmup:
        first, last, u = np.log(beta1), np.log(beta3), t / beta3_warmup
        beta3 = np.exp(first * last / ((1 - u) * last + u * first))
    fast = state["exp_avg_fast"] = beta1 * state.get("exp_avg_fast", 0.0) + (1 - beta1) * g
    slow = state["exp_avg_slow"] = beta3 * state.get("exp_avg_slow", 0.0) + (1 - beta3) * g
    v = state["exp_avg_sq"] = beta2 * state.get("exp_avg_sq", 0.0) + (1 - beta2) * g**2
    u = (fast / (1 - beta1**t) + alpha * slow) / (np.sqrt(v / (1 - beta2**t)) + eps)
    u = only_agreeing(u, g) if cautious else u
    return p - lr * (u + weight_decay * p)


_POSITIVE_RATES = st.floats(0.001, 0.999)

ADEMAMIX = Entry(
    "AdEMAMix",
    ademamix,
    extra=variants(
        {"lr": 0.02, "betas": (0.8, 0.95, 0.99), "alpha": 5.0, "eps": 0.03, "weight_decay": 0.3},
        {"lr": 0.02, "beta3_warmup": 12, "alpha_warmup": 8, "cautious": True},
    ),
    ranges=ADAM_RANGES
    | {
        "betas": st.tuples(_POSITIVE_RATES, RATES, _POSITIVE_RATES),
        "alpha": st.floats(0, 10),
        "beta3_warmup": st.integers(0, 8),
        "alpha_warmup": st.integers(0, 8),
    },
    bad=ADAM_BAD | BAD_BETAS_3 | {"alpha": (NAN, -1.0), "alpha_warmup": (INF, -1)},
    optimum={"lr": 0.2, "alpha": 0.5},
)
