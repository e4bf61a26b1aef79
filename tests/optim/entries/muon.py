"""Muon."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import strategies as st

from ..entry import BAD_EPS, BAD_EVERYWHERE, DECAYS, INF, NAN, RATES, STEP_SIZES, Entry, variants
from ..oracles import Array


def muon(
    p: Array,
    g: Array,
    state: dict[str, Any],
    *,
    lr: float = 1e-3,
    weight_decay: float = 0.1,
    momentum: float = 0.95,
    nesterov: bool = True,
    ns_coefficients: tuple[float, float, float] = (3.4445, -4.7750, 2.0315),
    eps: float = 1e-7,
    ns_steps: int = 5,
    adjust_lr_fn: str | None = None,
) -> Array:
    """Jordan et al. 2024, through the singular values, in full precision; the mean as in torch."""
    m = momentum * state.get("momentum_buffer", 0.0) + (1 - momentum) * g
    state["momentum_buffer"] = m
    if nesterov:
        m = (1 - momentum) * g + momentum * m
    left, values, right = np.linalg.svd(m, full_matrices=False)
    a, b, c = ns_coefficients
    values = values / max(np.sqrt((values**2).sum()), eps)
    for _ in range(ns_steps):
        values = a * values + b * values**3 + c * values**5
    rows, columns = m.shape
    if adjust_lr_fn == "match_rms_adamw":
        rate = lr * 0.2 * max(rows, columns) ** 0.5
    else:
        rate = lr * max(1, rows / max(columns, 1)) ** 0.5
    return p - lr * weight_decay * p - rate * (left * values) @ right


MUON = Entry(
    "Muon",
    muon,
    extra=variants(
        {"nesterov": False, "adjust_lr_fn": "original", "eps": 0.3},
        {"lr": 0.005, "weight_decay": 0, "momentum": 0, "adjust_lr_fn": "match_rms_adamw"},
    ),
    ranges={
        "lr": STEP_SIZES,
        "weight_decay": DECAYS,
        "momentum": RATES,
        "nesterov": st.booleans(),
        "ns_steps": st.integers(0, 6),
        "adjust_lr_fn": st.sampled_from([None, "original", "match_rms_adamw"]),
    },
    bad=BAD_EVERYWHERE
    | BAD_EPS
    | {
        "momentum": (NAN, INF, 1.0, -0.1),
        "ns_coefficients": ((1.0, 2.0), (NAN, 1.0, 1.0), 3.0),
        "ns_steps": (100, -1, 2.5, True),
        "adjust_lr_fn": ("adamw", 1),
    },
    dims=(2, 2),
    slack=2**-8 * 0.05,
)
