"""LARS."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import strategies as st

from ..entry import BAD_EVERYWHERE, DECAYS, INF, NAN, RATES, STEP_SIZES, Entry, variants
from ..oracles import Array, only_agreeing


def lars(
    p: Array,
    g: Array,
    state: dict[str, Any],
    *,
    lr: float = 1.0,
    momentum: float = 0.9,
    weight_decay: float = 5e-4,
    trust_coefficient: float = 1e-3,
    cautious: bool = False,
) -> Array:
    """You et al. 2017, algorithm 1."""
    of_p, of_g = np.linalg.norm(p.ravel()), np.linalg.norm(g.ravel())
    local = 1.0
    if trust_coefficient > 0 and of_p > 0 and of_g > 0:
        local = trust_coefficient * of_p / (of_g + weight_decay * of_p)
    g = g + weight_decay * p
    v = lr * local * g
    if momentum != 0:
        v = state["momentum_buffer"] = momentum * state.get("momentum_buffer", 0.0) + v
        v = only_agreeing(v, g) if cautious else v
    return p - v


LARS = Entry(
    "LARS",
    lars,
    extra=variants(
        {},
        {"lr": 0.02, "momentum": 0, "trust_coefficient": 0.5, "weight_decay": 0.3},
        {"lr": 0.02, "trust_coefficient": 0, "cautious": True},
    ),
    ranges={
        "lr": STEP_SIZES,
        "momentum": RATES,
        "weight_decay": DECAYS,
        "trust_coefficient": st.floats(0, 1),
        "cautious": st.booleans(),
        "maximize": st.booleans(),
    },
    # The default lr is 1, and True == 1: a program that sets it later changes nothing.
    bad=BAD_EVERYWHERE
    | {"lr": tuple(v for v in BAD_EVERYWHERE["lr"] if v is not True)}
    | {"momentum": (NAN, INF, 1.0, 1.5), "trust_coefficient": (NAN, INF, -0.1)},
    optimum={"lr": 0.1, "trust_coefficient": 1.0, "momentum": 0, "weight_decay": 0},
)
