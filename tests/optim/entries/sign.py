"""Lion and Signum."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import strategies as st

from ..entry import (
    BAD_BETAS,
    BAD_EVERYWHERE,
    DECAYS,
    INF,
    NAN,
    RATES,
    STEP_SIZES,
    Entry,
    variants,
)
from ..oracles import Array, only_agreeing


def lion(
    p: Array,
    g: Array,
    state: dict[str, Any],
    *,
    lr: float = 1e-4,
    betas: tuple[float, float] = (0.9, 0.99),
    weight_decay: float = 0.0,
    cautious: bool = False,
) -> Array:
    """Chen et al. 2023, algorithm 2."""
    beta1, beta2 = betas
    m = state.get("exp_avg", 0.0)
    update = np.sign(beta1 * m + (1 - beta1) * g)
    if cautious:
        update = only_agreeing(update, g)
    state["exp_avg"] = beta2 * m + (1 - beta2) * g
    return p - lr * (update + weight_decay * p)


def signum(
    p: Array,
    g: Array,
    state: dict[str, Any],
    *,
    lr: float = 1e-4,
    momentum: float = 0.9,
    weight_decay: float = 0.0,
    cautious: bool = False,
) -> Array:
    """Bernstein et al. 2018, algorithm 2; the decay as in arXiv 1810.05291, algorithm 1."""
    update = np.sign(g)
    if momentum != 0:
        m = momentum * state.get("momentum_buffer", 0.0) + (1 - momentum) * g
        state["momentum_buffer"] = m
        update = only_agreeing(np.sign(m), g) if cautious else np.sign(m)
    return p - lr * (update + weight_decay * p)


_SHARED = {
    "lr": STEP_SIZES,
    "weight_decay": DECAYS,
    "cautious": st.booleans(),
    "maximize": st.booleans(),
}

LION = Entry(
    "Lion",
    lion,
    extra=variants(
        {"lr": 0.02, "betas": (0.8, 0.95), "weight_decay": 0.3, "maximize": True},
        {"lr": 0.02, "cautious": True},
    ),
    ranges={**_SHARED, "betas": st.tuples(RATES, RATES)},
    bad=BAD_EVERYWHERE | BAD_BETAS,
    optimum={"lr": 0.1},
)

SIGNUM = Entry(
    "Signum",
    signum,
    extra=variants(
        {"lr": 0.02, "momentum": 0},
        {"lr": 0.02, "weight_decay": 0.3, "cautious": True},
    ),
    ranges={**_SHARED, "momentum": RATES},
    bad=BAD_EVERYWHERE | {"momentum": (NAN, INF, 1.0, 1.5)},
    optimum={"lr": 0.1},
)
