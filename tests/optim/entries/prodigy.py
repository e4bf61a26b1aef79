"""Prodigy, whose estimate is one for all parameters."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import strategies as st

from ..entry import ADAM_BAD, ADAM_RANGES, INF, NAN, Entry, variants
from ..oracles import Array, only_agreeing


def prodigy(
    ps: list[Array],
    gs: list[Array],
    state: dict[str, Any],
    *,
    lr: float = 1.0,
    betas: tuple[float, float] = (0.9, 0.999),
    beta3: float = 0,
    eps: float = 1e-8,
    weight_decay: float = 0.0,
    d0: float = 1e-6,
    d_coef: float = 1.0,
    growth_rate: float = INF,
    use_bias_correction: bool = False,
    safeguard_warmup: bool = False,
    cautious: bool = False,
) -> list[Array]:
    """Mishchenko & Defazio 2023, algorithm 4, in the form of the authors' code."""
    beta1, beta2 = betas
    beta3 = beta3 or np.sqrt(beta2)
    k = state["step"] = state.get("step", 0) + 1
    d, d_max = state.get("d", d0), state.get("d_max", d0)
    zeros = [np.zeros_like(p) for p in ps]
    p0s = state["p0"] = state.get("p0", ps)
    correction = np.sqrt(1 - beta2**k) / (1 - beta1**k) if use_bias_correction else 1.0
    dlr = d * lr * correction
    way = sum(np.sum(g * (p0 - p)) for g, p0, p in zip(gs, p0s, ps, strict=True))
    state["d_numerator"] = beta3 * state.get("d_numerator", 0.0) + d / d0 * dlr * way

    def mean(key: str, rate: float, new: list[Array]) -> list[Array]:
        old = state.get(key, zeros)
        state[key] = [rate * a + b for a, b in zip(old, new, strict=True)]
        return state[key]

    ms = mean("exp_avg", beta1, [d * (1 - beta1) * g for g in gs])
    vs = mean("exp_avg_sq", beta2, [d**2 * (1 - beta2) * g**2 for g in gs])
    weight = d if safeguard_warmup and lr > 0 else dlr
    ss = mean("s", beta3, [d / d0 * weight * g for g in gs])
    length = sum(np.abs(s).sum() for s in ss)
    if length > 0:
        d_hat = d_coef * state["d_numerator"] / length
        d_max = max(d_max, d_hat)
        d = min(d_max, growth_rate * (max(d, d_hat) if d == d0 else d))
    state["d"], state["d_max"] = d, d_max
    us = [m / (np.sqrt(v) + d * eps) for m, v in zip(ms, vs, strict=True)]
    if cautious:
        us = [only_agreeing(u, g) for u, g in zip(us, gs, strict=True)]
    return [p - dlr * weight_decay * p - dlr * u for p, u in zip(ps, us, strict=True)]


PRODIGY = Entry(
    "Prodigy",
    prodigy,
    extra=variants(
        {"d0": 0.05, "betas": (0.8, 0.95), "eps": 0.03, "weight_decay": 0.3, "lr": 0.5},
        {"d0": 0.05, "use_bias_correction": True, "growth_rate": 1.1, "beta3": 0.8},
        {"d0": 0.05, "safeguard_warmup": True, "cautious": True},
    ),
    ranges=ADAM_RANGES
    | {
        "d0": st.floats(0.01, 0.1),
        "d_coef": st.floats(0.5, 2),
        "beta3": st.floats(0, 0.99),
        "growth_rate": st.floats(1, 2),
        "use_bias_correction": st.booleans(),
        "safeguard_warmup": st.booleans(),
    },
    # The default lr is 1, and True == 1: a program that sets it later changes nothing.
    bad=ADAM_BAD
    | {"lr": tuple(v for v in ADAM_BAD["lr"] if v is not True)}
    | {"d0": (NAN, 0.0, -1.0), "growth_rate": (NAN, 0.5), "beta3": (1.0,)},
    optimum={"d0": 0.1},
    joint=True,
)
