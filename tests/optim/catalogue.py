"""The catalogue: what every optimizer test needs to know about each optimizer.

Those that torch has too are listed here, with their oracles in ``oracles.py``: their variants,
implementation flags and bad inputs come from torch's own test database, so they follow torch. Each
of the others is an entry with its oracle in a file of ``entries/``.
"""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import strategies as st

from . import oracles
from .entries import ENTRIES
from .entry import (
    BAD_BETAS,
    BAD_EPS,
    BAD_EVERYWHERE,
    DECAYS,
    EPSILONS,
    INF,
    NAN,
    RATES,
    STEP_SIZES,
    Entry,
    Variant,
    crosses,
    variants,
)

__all__ = [
    "ANY_SHAPE",
    "BACKWARD",
    "CATALOGUE",
    "DENSE",
    "DRIVEN",
    "TWINNED",
    "TWINS",
    "Entry",
    "Variant",
    "each",
    "each_implementation",
    "each_variant",
]


def _sgd_crosses() -> tuple[Variant, ...]:
    """Momentum with dampening or Nesterov, weight decay and maximize, each with each."""
    rows = crosses(
        momentum=(0, 0.9),
        dampening=(0, 0.3),
        nesterov=(False, True),
        weight_decay=(0, 0.05),
        maximize=(False, True),
    )
    allowed = (
        row
        for row in rows
        if not row.get("nesterov") or ("momentum" in row and "dampening" not in row)
    )
    return variants(*({"lr": 0.03} | row for row in allowed))


_ADAM_RANGES: dict[str, st.SearchStrategy[Any]] = {
    "lr": STEP_SIZES,
    "betas": st.tuples(RATES, RATES),
    "eps": EPSILONS,
    "weight_decay": DECAYS,
    "amsgrad": st.booleans(),
    "maximize": st.booleans(),
}
_ADAM_EXTRA = variants(
    {"lr": 0.02, "betas": (0.8, 0.95), "eps": 0.03, "weight_decay": 0.3},
    {"lr": 0.02, "betas": (0.0, 0.5), "eps": 0.03, "amsgrad": True},
    {"lr": 0.02, "weight_decay": 0.3, "amsgrad": True, "maximize": True},
)

CATALOGUE: tuple[Entry, ...] = (
    Entry(
        "SGD",
        oracles.sgd,
        extra=_sgd_crosses(),
        ranges={
            "lr": STEP_SIZES,
            "momentum": RATES,
            "dampening": st.floats(0, 1),
            "weight_decay": DECAYS,
            "maximize": st.booleans(),
        },
        bad=BAD_EVERYWHERE | {"momentum": (NAN, INF, 1.0, 1.5), "dampening": (NAN, INF)},
        optimum={"lr": 0.1, "momentum": 0.9},
    ),
    Entry(
        "RMSprop",
        oracles.rmsprop,
        extra=variants(
            *(
                {"lr": 0.02, "alpha": 0.8, "eps": 0.03} | row
                for row in crosses(momentum=(0, 0.7), centered=(False, True), weight_decay=(0, 0.3))
            ),
            {"lr": torch.tensor(0.001), "momentum": 0.7},
        ),
        ranges={
            "lr": STEP_SIZES,
            "alpha": RATES,
            "eps": EPSILONS,
            "weight_decay": DECAYS,
            "momentum": RATES,
            "maximize": st.booleans(),
        },
        bad=BAD_EVERYWHERE | BAD_EPS | {"alpha": (NAN, 1.0, 1.5), "momentum": (NAN, INF, 1.0, 1.5)},
        optimum={"lr": 0.1},
    ),
    Entry(
        "Adagrad",
        oracles.adagrad,
        extra=variants(
            {"lr": 0.2, "eps": 0.03, "maximize": True},
            {"lr": 0.2, "lr_decay": 0.1, "initial_accumulator_value": 0.5, "eps": 0.03},
        ),
        ranges={
            "lr": STEP_SIZES,
            "lr_decay": st.floats(0, 1),
            "weight_decay": DECAYS,
            "initial_accumulator_value": st.floats(0, 1),
            "eps": EPSILONS,
            "maximize": st.booleans(),
        },
        bad=BAD_EVERYWHERE
        | BAD_EPS
        | {"lr_decay": (NAN, INF), "initial_accumulator_value": (NAN, INF, -0.1)},
        optimum={"lr": 1.0},
    ),
    Entry(
        "Adam",
        oracles.adam,
        extra=_ADAM_EXTRA
        + variants({"lr": 0.02, "weight_decay": 0.3, "decoupled_weight_decay": True}),
        ranges=_ADAM_RANGES | {"decoupled_weight_decay": st.booleans()},
        bad=BAD_EVERYWHERE | BAD_EPS | BAD_BETAS,
        optimum={"lr": 0.2},
    ),
    Entry(
        "AdamW",
        oracles.adamw,
        extra=_ADAM_EXTRA,
        ranges=_ADAM_RANGES,
        bad=BAD_EVERYWHERE | BAD_EPS | BAD_BETAS,
        optimum={"lr": 0.2, "weight_decay": 0},
    ),
    Entry(
        "Adadelta",
        oracles.adadelta,
        extra=variants({"lr": 0.5, "rho": 0.8, "eps": 0.03, "weight_decay": 0.3}),
        ranges={
            "lr": STEP_SIZES,
            "rho": RATES,
            "eps": EPSILONS,
            "weight_decay": DECAYS,
            "maximize": st.booleans(),
        },
        bad=BAD_EPS
        | {"rho": (NAN, 1.5, -0.1), "weight_decay": BAD_EVERYWHERE["weight_decay"]}
        # The default lr is 1, and True == 1: a program that sets it later changes nothing.
        | {"lr": tuple(v for v in BAD_EVERYWHERE["lr"] if v is not True)},
        optimum={"lr": 3.0, "eps": 1e-2},
    ),
    Entry(
        "Adamax",
        oracles.adamax,
        extra=variants({"lr": 0.02, "betas": (0.8, 0.95), "eps": 0.03, "weight_decay": 0.3}),
        ranges={k: v for k, v in _ADAM_RANGES.items() if k != "amsgrad"},
        bad=BAD_EVERYWHERE | BAD_EPS | BAD_BETAS,
        optimum={"lr": 0.2},
    ),
    Entry(
        "NAdam",
        oracles.nadam,
        extra=variants({"lr": 0.02, "betas": (0.8, 0.95), "eps": 0.03, "momentum_decay": 0.1}),
        ranges={k: v for k, v in _ADAM_RANGES.items() if k != "amsgrad"}
        | {"momentum_decay": st.floats(0, 0.1), "decoupled_weight_decay": st.booleans()},
        bad=BAD_EVERYWHERE | BAD_EPS | BAD_BETAS | {"momentum_decay": (NAN, INF, -0.1)},
        optimum={"lr": 0.2},
    ),
    Entry(
        "RAdam",
        oracles.radam,
        # 0.8: the average is long enough after a few steps, so both branches are taken.
        extra=variants({"lr": 0.02, "betas": (0.8, 0.8), "eps": 0.03, "weight_decay": 0.3}),
        ranges={k: v for k, v in _ADAM_RANGES.items() if k != "amsgrad"}
        | {"decoupled_weight_decay": st.booleans()},
        bad=BAD_EVERYWHERE | BAD_EPS | BAD_BETAS,
        optimum={"lr": 0.3},
    ),
    Entry(
        "Rprop",
        oracles.rprop,
        extra=variants({"lr": 0.02, "etas": (0.3, 1.5), "step_sizes": (1e-3, 0.05)}),
        ranges={"lr": STEP_SIZES, "maximize": st.booleans()},
        bad={"lr": BAD_EVERYWHERE["lr"], "etas": ((1.0, 1.2), (0.5, 1.0), (0.5, INF), (0.5,))},
        optimum={"lr": 0.1},
    ),
    Entry(
        "ASGD",
        oracles.asgd,
        extra=variants({"lr": 0.03, "lambd": 0.1, "alpha": 0.5, "t0": 4, "weight_decay": 0.3}),
        ranges={
            "lr": STEP_SIZES,
            "lambd": st.floats(0, 0.1),
            "alpha": st.floats(0, 1),
            "t0": st.floats(0, 10),
            "weight_decay": DECAYS,
            "maximize": st.booleans(),
        },
        bad=BAD_EVERYWHERE | {"lambd": (NAN, INF), "t0": (NAN,)},
        optimum={"lr": 0.3, "lambd": 0},
    ),
    *ENTRIES,
)

#: Those that step on gradients alone, without a closure. Give them ``start_of`` and ``rows_of``.
DRIVEN: tuple[Entry, ...] = CATALOGUE
#: Those that take the dense gradients that a backward pass leaves.
BACKWARD: tuple[Entry, ...] = tuple(e for e in DRIVEN if not e.sparse_only)
#: Those of them that take parameters of any shape.
ANY_SHAPE: tuple[Entry, ...] = tuple(e for e in BACKWARD if e.dims == (0, 9))
#: Those of them whose formula is elementwise, so that every engine runs it. Most tests.
DENSE: tuple[Entry, ...] = tuple(e for e in ANY_SHAPE if not e.ours.rule.matrix)
TWINS: tuple[Entry, ...] = tuple(e for e in DRIVEN if e.twinned)
TWINNED: tuple[Entry, ...] = tuple(e for e in DENSE if e.twinned)


def each(entries: tuple[Entry, ...] = DENSE) -> pytest.MarkDecorator:
    """Run a test for every optimizer, as its argument ``entry``."""
    return pytest.mark.parametrize("entry", [pytest.param(e, id=e.name) for e in entries])


def each_variant(entries: tuple[Entry, ...] = DENSE) -> pytest.MarkDecorator:
    """Run a test for every optimizer and variant: arguments ``entry`` and ``variant``."""
    rows = [pytest.param(e, v, id=f"{e.name}-{v.name}") for e in entries for v in e.variants]
    return pytest.mark.parametrize(("entry", "variant"), rows)


def each_implementation(
    entries: tuple[Entry, ...] = DENSE, without: tuple[str, ...] = ()
) -> pytest.MarkDecorator:
    """Run a test for every optimizer and implementation: ``entry`` and ``flags``."""
    rows = [
        pytest.param(e, flags, id=f"{e.name}-{name}")
        for e in entries
        for name, flags in e.implementations().items()
        if name not in without
    ]
    return pytest.mark.parametrize(("entry", "flags"), rows)
