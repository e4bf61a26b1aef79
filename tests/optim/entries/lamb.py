"""LAMB."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..entry import ADAM_BAD, ADAM_RANGES, Entry, variants
from ..oracles import Array, only_agreeing


def lamb(
    p: Array,
    g: Array,
    state: dict[str, Any],
    *,
    lr: float = 1e-3,
    betas: tuple[float, float] = (0.9, 0.999),
    eps: float = 1e-6,
    weight_decay: float = 0.01,
    cautious: bool = False,
) -> Array:
    """You et al. 2020, algorithm 2, with the identity as its phi."""
    beta1, beta2 = betas
    t = state["step"] = state.get("step", 0) + 1
    m = state["exp_avg"] = beta1 * state.get("exp_avg", 0.0) + (1 - beta1) * g
    v = state["exp_avg_sq"] = beta2 * state.get("exp_avg_sq", 0.0) + (1 - beta2) * g**2
    r = (m / (1 - beta1**t)) / (np.sqrt(v / (1 - beta2**t)) + eps)
    u = (only_agreeing(r, g) if cautious else r) + weight_decay * p
    of_p, of_u = np.linalg.norm(p.ravel()), np.linalg.norm(u.ravel())
    return p - lr * (of_p / of_u if of_p > 0 and of_u > 0 else 1.0) * u


LAMB = Entry(
    "LAMB",
    lamb,
    extra=variants(
        {"lr": 0.02, "betas": (0.8, 0.95), "eps": 0.03, "weight_decay": 0.3},
        {"lr": 0.02, "cautious": True},
    ),
    ranges=ADAM_RANGES,
    bad=ADAM_BAD,
    optimum={"lr": 0.1, "weight_decay": 0},
)
