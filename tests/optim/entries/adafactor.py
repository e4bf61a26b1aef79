"""Adafactor."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import strategies as st

from ..entry import BAD_EVERYWHERE, DECAYS, INF, NAN, STEP_SIZES, Entry, variants
from ..oracles import Array


def adafactor(
    p: Array,
    g: Array,
    state: dict[str, Any],
    *,
    lr: float = 1e-2,
    beta2_decay: float = -0.8,
    eps: tuple[float | None, float] = (None, 1e-3),
    d: float = 1.0,
    weight_decay: float = 0.0,
) -> Array:
    """Shazeer & Stern 2018, algorithms 4 and 5, with torch's lr, eps and decoupled decay."""
    floor = np.finfo(np.float64).eps if eps[0] is None else eps[0]
    t = state["step"] = state.get("step", 0) + 1
    beta2 = 1 - t**beta2_decay
    alpha = max(eps[1], np.sqrt((p**2).mean())) * min(lr, 1 / np.sqrt(t))
    if p.ndim < 2:
        v = state["variance"] = beta2 * state.get("variance", 0.0) + (1 - beta2) * g**2
    else:
        r = beta2 * state.get("row_var", 0.0) + (1 - beta2) * (g**2).mean(-1, keepdims=True)
        c = beta2 * state.get("col_var", 0.0) + (1 - beta2) * (g**2).mean(-2, keepdims=True)
        state["row_var"], state["col_var"] = r, c
        v = r @ c / np.maximum(r.mean(-2, keepdims=True), floor)
    u = g / np.maximum(np.sqrt(v), floor)
    u = u / max(1.0, np.sqrt((u**2).mean()) / d)
    return p - lr * weight_decay * p - alpha * u


ADAFACTOR = Entry(
    "Adafactor",
    adafactor,
    extra=variants(
        {"lr": 0.3, "eps": (0.1, 0.5), "weight_decay": 0.3},
        {"lr": 0.3, "beta2_decay": -0.3, "d": 1.2, "maximize": True},
    ),
    ranges={
        "lr": STEP_SIZES,
        "beta2_decay": st.floats(-2, 0),
        "eps": st.tuples(st.floats(1e-8, 1e-2), st.floats(0, 1)),
        "d": st.floats(1, 3),
        "weight_decay": DECAYS,
        "maximize": st.booleans(),
    },
    bad=BAD_EVERYWHERE
    | {
        "beta2_decay": (NAN, -INF, 0.1),
        "eps": ((NAN, 0.1), (-0.1, 0.1), (0.1, -0.1), (0.1, None), (0.1,)),
        "d": (NAN, INF, 0.9),
    },
    optimum={"lr": 0.3},
    empty=False,
)
