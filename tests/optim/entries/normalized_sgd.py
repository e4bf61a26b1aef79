"""NormalizedSGD."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from hypothesis import strategies as st

from ..entry import BAD_EPS, BAD_EVERYWHERE, DECAYS, EPSILONS, STEP_SIZES, Entry, variants
from ..oracles import Array


def normalized_sgd(
    p: Array,
    g: Array,
    state: dict[str, Any],
    *,
    lr: float = 1e-3,
    eps: float = 1e-8,
    weight_decay: float = 0.0,
) -> Array:
    """The sign step, smooth at zero: every coordinate moves by nearly lr."""
    del state
    g = g + weight_decay * p
    return p - lr * g / (np.abs(g) + eps)


NORMALIZED_SGD = Entry(
    "NormalizedSGD",
    normalized_sgd,
    extra=variants(
        {},
        {"lr": 0.03},
        {"lr": 0.03, "eps": 0.1},
        {"lr": 0.03, "eps": 0.1, "weight_decay": 0.3},
        {"lr": 0.03, "weight_decay": 0.3, "maximize": True},
        {"lr": torch.tensor(0.001)},
    ),
    ranges={
        "lr": STEP_SIZES,
        "eps": EPSILONS,
        "weight_decay": DECAYS,
        "maximize": st.booleans(),
    },
    bad=BAD_EVERYWHERE | BAD_EPS,
    optimum={"lr": 0.3, "eps": 1.0},
)
