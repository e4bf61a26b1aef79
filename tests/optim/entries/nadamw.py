"""NAdamW."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from ..entry import ADAM_BAD, ADAM_RANGES, INF, NAN, Entry, variants
from ..oracles import Array, nadam


def nadamw(p: Array, g: Array, state: dict[str, Any], **hyper: Any) -> Array:
    """Dozat 2016, algorithm 2, with decoupled decay."""
    return nadam(p, g, state, **{"weight_decay": 1e-2} | hyper, decoupled_weight_decay=True)


NADAMW = Entry(
    "NAdamW",
    nadamw,
    extra=variants(
        {"lr": 0.02, "betas": (0.8, 0.95), "eps": 0.03, "weight_decay": 0.3, "momentum_decay": 0.1},
        {"lr": 0.02, "cautious": True},
    ),
    ranges=ADAM_RANGES | {"momentum_decay": st.floats(0, 0.1)},
    bad=ADAM_BAD | {"momentum_decay": (NAN, INF, -0.1)},
    optimum={"lr": 0.2, "weight_decay": 0},
    flags=("foreach", "differentiable"),
)
