"""Adam-atan2."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import strategies as st

from ..entry import BAD_BETAS, BAD_EVERYWHERE, DECAYS, NAN, RATES, STEP_SIZES, Entry, variants
from ..oracles import Array, only_agreeing


def adam_atan2(
    p: Array,
    g: Array,
    state: dict[str, Any],
    *,
    lr: float = 1e-4,
    betas: tuple[float, float] = (0.9, 0.99),
    weight_decay: float = 0.0,
    a: float = 1.27,
    b: float = 1.0,
    cautious: bool = False,
) -> Array:
    """Everett et al. 2024: AdamW with atan2 in place of the division."""
    beta1, beta2 = betas
    t = state["step"] = state.get("step", 0) + 1
    m = state["exp_avg"] = beta1 * state.get("exp_avg", 0.0) + (1 - beta1) * g
    v = state["exp_avg_sq"] = beta2 * state.get("exp_avg_sq", 0.0) + (1 - beta2) * g**2
    u = a * np.arctan2(m / (1 - beta1**t), b * np.sqrt(v / (1 - beta2**t)))
    u = only_agreeing(u, g) if cautious else u
    return p - lr * (u + weight_decay * p)


ADAM_ATAN2 = Entry(
    "AdamAtan2",
    adam_atan2,
    extra=variants(
        {"lr": 0.02, "betas": (0.8, 0.95), "weight_decay": 0.3, "a": 1.0, "b": 2.0},
        {"lr": 0.02, "cautious": True},
    ),
    ranges={
        "lr": STEP_SIZES,
        "betas": st.tuples(RATES, RATES),
        "weight_decay": DECAYS,
        "a": st.floats(0.1, 2),
        "b": st.floats(0.1, 2),
        "cautious": st.booleans(),
        "maximize": st.booleans(),
    },
    bad=BAD_EVERYWHERE | BAD_BETAS | {"a": (NAN, -1.0)},
    optimum={"lr": 0.2},
)
