"""The catalogue: what every optimizer test needs to know about each optimizer.

A new optimizer is one entry here (and its oracle in ``oracles.py``). Where torch has the class, its
variants, its implementation flags and its bad inputs come from torch's own test database, so they
follow torch.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import pytest
import torch
from hypothesis import strategies as st
from torch.testing._internal.common_optimizers import (
    ErrorOptimizerInput,
    OptimizerErrorEnum,
    OptimizerInfo,
    optim_db,
)

import downslope.optim

from . import oracles

__all__ = [
    "CATALOGUE",
    "TWINNED",
    "Entry",
    "Variant",
    "each",
    "each_implementation",
    "each_variant",
]

_DATABASE: dict[str, OptimizerInfo] = {info.name: info for info in optim_db}

#: Ways of asking for an implementation. torch's database names the ones that a class supports.
_FLAGS: dict[str, tuple[str, dict[str, Any]]] = {
    "default": ("", {}),
    "for-loop": ("foreach", {"foreach": False}),
    "foreach": ("foreach", {"foreach": True}),
    "fused": ("fused", {"fused": True}),
    "differentiable": ("differentiable", {"differentiable": True}),
}


@dataclass(frozen=True, eq=False)
class Variant:
    """One set of constructor arguments, with a name for the test's id."""

    name: str
    kwargs: Mapping[str, Any]


@dataclass(frozen=True, eq=False)
class Entry:
    """One optimizer.

    Args:
        name: the class's name, in ``downslope.optim`` and, where torch has it, in ``torch.optim``.
        oracle: the naive float64 step.
        extra: variants beside those of torch's database.
        ranges: hyperparameters that hypothesis may draw, with their ranges.
        bad: argument -> values that torch takes in silence or refuses unclearly, and we refuse.
        optimum: arguments with which it finds the minimum of a quadratic (see test_optimum).
        flags: implementation flags of a class that torch does not have.
    """

    name: str
    oracle: oracles.Oracle
    extra: tuple[Variant, ...] = ()
    ranges: Mapping[str, st.SearchStrategy[Any]] = field(default_factory=dict)
    bad: Mapping[str, tuple[Any, ...]] = field(default_factory=dict)
    optimum: Mapping[str, Any] = field(default_factory=dict)
    flags: tuple[str, ...] = ("foreach", "fused", "differentiable")

    @property
    def ours(self) -> type[torch.optim.Optimizer]:
        """Our class."""
        return getattr(downslope.optim, self.name)

    @property
    def torch(self) -> type[torch.optim.Optimizer]:
        """Torch's class of the same name; ask only where :attr:`twinned`."""
        return getattr(torch.optim, self.name)

    @property
    def twinned(self) -> bool:
        """Whether torch has the class."""
        return self.name in _DATABASE

    @cached_property
    def variants(self) -> tuple[Variant, ...]:
        """Torch's variants, then ours."""
        if not self.twinned:
            return self.extra
        inputs = _DATABASE[self.name].optim_inputs_func(device="cpu")
        return tuple(Variant(i.desc.replace(" ", "-"), i.kwargs) for i in inputs) + self.extra

    def implementations(self) -> dict[str, dict[str, Any]]:
        """Name -> constructor arguments that ask for that implementation on the CPU."""
        flags: tuple[str, ...] = self.flags
        if self.twinned:
            info = _DATABASE[self.name]
            fused = "cpu" in info.supports_fused_on
            flags = tuple(f for f in info.supported_impls if f != "fused" or fused)
        return {name: kwargs for name, (flag, kwargs) in _FLAGS.items() if flag in ("", *flags)}

    def refused_by_torch(self) -> list[ErrorOptimizerInput]:
        """Torch's database of inputs that its constructor refuses or warns about."""
        cases = _DATABASE[self.name].optim_error_inputs_func(device="cpu", dtype=torch.float32)
        return [c for c in cases if c.error_on is OptimizerErrorEnum.CONSTRUCTION_ERROR]

    @property
    def sparse(self) -> bool:
        """Whether it takes sparse gradients."""
        return self.twinned and bool(_DATABASE[self.name].supports_sparse)

    @property
    def capturable(self) -> bool:
        """Whether the constructor takes ``capturable``."""
        return self.twinned and bool(_DATABASE[self.name].has_capturable_arg)


def _label(kwargs: Mapping[str, Any]) -> str:
    return ",".join(f"{k}={v}" for k, v in kwargs.items()) or "plain"


def _variants(*several: dict[str, Any]) -> tuple[Variant, ...]:
    return tuple(Variant(_label(kwargs), kwargs) for kwargs in several)


def _crosses(**choices: tuple[Any, ...]) -> list[dict[str, Any]]:
    """Every combination, leaving out the arguments that are zero or False."""
    rows = (dict(zip(choices, row, strict=True)) for row in itertools.product(*choices.values()))
    return [{k: v for k, v in row.items() if v} for row in rows]


def _sgd_crosses() -> tuple[Variant, ...]:
    """Momentum with dampening or Nesterov, weight decay and maximize, each with each."""
    crosses = _crosses(
        momentum=(0, 0.9),
        dampening=(0, 0.3),
        nesterov=(False, True),
        weight_decay=(0, 0.05),
        maximize=(False, True),
    )
    allowed = (
        row
        for row in crosses
        if not row.get("nesterov") or ("momentum" in row and "dampening" not in row)
    )
    return _variants(*({"lr": 0.03} | row for row in allowed))


_NAN, _INF = float("nan"), float("inf")
_STEP_SIZES = st.floats(1e-4, 0.1)
_DECAYS = st.floats(0, 0.2)
_EPSILONS = st.floats(1e-8, 1e-2)
_RATES = st.floats(0, 0.999)

_BAD_EVERYWHERE: dict[str, tuple[Any, ...]] = {
    "lr": (_NAN, _INF, -_INF, -1e-3, True, "0.1", None),
    "weight_decay": (_NAN, _INF, -0.1),
}
_BAD_EPS: dict[str, tuple[Any, ...]] = {"eps": (_NAN, _INF, -1e-8)}
_BAD_BETAS: dict[str, tuple[Any, ...]] = {
    "betas": ((_NAN, 0.999), (0.9, _NAN), (0.9, 1.0), (-0.1, 0.999), (0.9,), (0.9, 0.99, 0.999)),
}

_ADAM_RANGES: dict[str, st.SearchStrategy[Any]] = {
    "lr": _STEP_SIZES,
    "betas": st.tuples(_RATES, _RATES),
    "eps": _EPSILONS,
    "weight_decay": _DECAYS,
    "amsgrad": st.booleans(),
    "maximize": st.booleans(),
}
_ADAM_EXTRA = _variants(
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
            "lr": _STEP_SIZES,
            "momentum": _RATES,
            "dampening": st.floats(0, 1),
            "weight_decay": _DECAYS,
            "maximize": st.booleans(),
        },
        bad=_BAD_EVERYWHERE | {"momentum": (_NAN, _INF, 1.0, 1.5), "dampening": (_NAN, _INF)},
        optimum={"lr": 0.1, "momentum": 0.9},
    ),
    Entry(
        "NormalizedSGD",
        oracles.normalized_sgd,
        extra=_variants(
            {},
            {"lr": 0.03},
            {"lr": 0.03, "eps": 0.1},
            {"lr": 0.03, "eps": 0.1, "weight_decay": 0.3},
            {"lr": 0.03, "weight_decay": 0.3, "maximize": True},
            {"lr": torch.tensor(0.001)},
        ),
        ranges={
            "lr": _STEP_SIZES,
            "eps": _EPSILONS,
            "weight_decay": _DECAYS,
            "maximize": st.booleans(),
        },
        bad=_BAD_EVERYWHERE | _BAD_EPS,
        optimum={"lr": 0.3, "eps": 1.0},
    ),
    Entry(
        "RMSprop",
        oracles.rmsprop,
        extra=_variants(
            *(
                {"lr": 0.02, "alpha": 0.8, "eps": 0.03} | row
                for row in _crosses(
                    momentum=(0, 0.7), centered=(False, True), weight_decay=(0, 0.3)
                )
            ),
            {"lr": torch.tensor(0.001), "momentum": 0.7},
        ),
        ranges={
            "lr": _STEP_SIZES,
            "alpha": _RATES,
            "eps": _EPSILONS,
            "weight_decay": _DECAYS,
            "momentum": _RATES,
            "maximize": st.booleans(),
        },
        bad=_BAD_EVERYWHERE
        | _BAD_EPS
        | {"alpha": (_NAN, 1.0, 1.5), "momentum": (_NAN, _INF, 1.0, 1.5)},
        optimum={"lr": 0.1},
    ),
    Entry(
        "Adagrad",
        oracles.adagrad,
        extra=_variants(
            {"lr": 0.2, "eps": 0.03, "maximize": True},
            {"lr": 0.2, "lr_decay": 0.1, "initial_accumulator_value": 0.5, "eps": 0.03},
        ),
        ranges={
            "lr": _STEP_SIZES,
            "lr_decay": st.floats(0, 1),
            "weight_decay": _DECAYS,
            "initial_accumulator_value": st.floats(0, 1),
            "eps": _EPSILONS,
            "maximize": st.booleans(),
        },
        bad=_BAD_EVERYWHERE
        | _BAD_EPS
        | {"lr_decay": (_NAN, _INF), "initial_accumulator_value": (_NAN, _INF, -0.1)},
        optimum={"lr": 1.0},
    ),
    Entry(
        "Adam",
        oracles.adam,
        extra=_ADAM_EXTRA
        + _variants({"lr": 0.02, "weight_decay": 0.3, "decoupled_weight_decay": True}),
        ranges=_ADAM_RANGES | {"decoupled_weight_decay": st.booleans()},
        bad=_BAD_EVERYWHERE | _BAD_EPS | _BAD_BETAS,
        optimum={"lr": 0.2},
    ),
    Entry(
        "AdamW",
        oracles.adamw,
        extra=_ADAM_EXTRA,
        ranges=_ADAM_RANGES,
        bad=_BAD_EVERYWHERE | _BAD_EPS | _BAD_BETAS,
        optimum={"lr": 0.2, "weight_decay": 0},
    ),
    Entry(
        "Adadelta",
        oracles.adadelta,
        extra=_variants({"lr": 0.5, "rho": 0.8, "eps": 0.03, "weight_decay": 0.3}),
        ranges={
            "lr": _STEP_SIZES,
            "rho": _RATES,
            "eps": _EPSILONS,
            "weight_decay": _DECAYS,
            "maximize": st.booleans(),
        },
        bad=_BAD_EPS
        | {"rho": (_NAN, 1.5, -0.1), "weight_decay": _BAD_EVERYWHERE["weight_decay"]}
        # The default lr is 1, and True == 1: a program that sets it later changes nothing.
        | {"lr": tuple(v for v in _BAD_EVERYWHERE["lr"] if v is not True)},
        optimum={"lr": 3.0, "eps": 1e-2},
    ),
    Entry(
        "Adamax",
        oracles.adamax,
        extra=_variants({"lr": 0.02, "betas": (0.8, 0.95), "eps": 0.03, "weight_decay": 0.3}),
        ranges={k: v for k, v in _ADAM_RANGES.items() if k != "amsgrad"},
        bad=_BAD_EVERYWHERE | _BAD_EPS | _BAD_BETAS,
        optimum={"lr": 0.2},
    ),
    Entry(
        "NAdam",
        oracles.nadam,
        extra=_variants({"lr": 0.02, "betas": (0.8, 0.95), "eps": 0.03, "momentum_decay": 0.1}),
        ranges={k: v for k, v in _ADAM_RANGES.items() if k != "amsgrad"}
        | {"momentum_decay": st.floats(0, 0.1), "decoupled_weight_decay": st.booleans()},
        bad=_BAD_EVERYWHERE | _BAD_EPS | _BAD_BETAS | {"momentum_decay": (_NAN, _INF, -0.1)},
        optimum={"lr": 0.2},
    ),
    Entry(
        "RAdam",
        oracles.radam,
        # 0.8: the average is long enough after a few steps, so both branches are taken.
        extra=_variants({"lr": 0.02, "betas": (0.8, 0.8), "eps": 0.03, "weight_decay": 0.3}),
        ranges={k: v for k, v in _ADAM_RANGES.items() if k != "amsgrad"}
        | {"decoupled_weight_decay": st.booleans()},
        bad=_BAD_EVERYWHERE | _BAD_EPS | _BAD_BETAS,
        optimum={"lr": 0.3},
    ),
    Entry(
        "Rprop",
        oracles.rprop,
        extra=_variants({"lr": 0.02, "etas": (0.3, 1.5), "step_sizes": (1e-3, 0.05)}),
        ranges={"lr": _STEP_SIZES, "maximize": st.booleans()},
        bad={"lr": _BAD_EVERYWHERE["lr"], "etas": ((1.0, 1.2), (0.5, 1.0), (0.5, _INF), (0.5,))},
        optimum={"lr": 0.1},
    ),
    Entry(
        "ASGD",
        oracles.asgd,
        extra=_variants({"lr": 0.03, "lambd": 0.1, "alpha": 0.5, "t0": 4, "weight_decay": 0.3}),
        ranges={
            "lr": _STEP_SIZES,
            "lambd": st.floats(0, 0.1),
            "alpha": st.floats(0, 1),
            "t0": st.floats(0, 10),
            "weight_decay": _DECAYS,
            "maximize": st.booleans(),
        },
        bad=_BAD_EVERYWHERE | {"lambd": (_NAN, _INF), "t0": (_NAN,)},
        optimum={"lr": 0.3, "lambd": 0},
    ),
)

TWINNED: tuple[Entry, ...] = tuple(entry for entry in CATALOGUE if entry.twinned)


def each(entries: tuple[Entry, ...] = CATALOGUE) -> pytest.MarkDecorator:
    """Run a test for every optimizer, as its argument ``entry``."""
    return pytest.mark.parametrize("entry", [pytest.param(e, id=e.name) for e in entries])


def each_variant(entries: tuple[Entry, ...] = CATALOGUE) -> pytest.MarkDecorator:
    """Run a test for every optimizer and variant: arguments ``entry`` and ``variant``."""
    rows = [pytest.param(e, v, id=f"{e.name}-{v.name}") for e in entries for v in e.variants]
    return pytest.mark.parametrize(("entry", "variant"), rows)


def each_implementation(
    entries: tuple[Entry, ...] = CATALOGUE, without: tuple[str, ...] = ()
) -> pytest.MarkDecorator:
    """Run a test for every optimizer and implementation: ``entry`` and ``flags``."""
    rows = [
        pytest.param(e, flags, id=f"{e.name}-{name}")
        for e in entries
        for name, flags in e.implementations().items()
        if name not in without
    ]
    return pytest.mark.parametrize(("entry", "flags"), rows)
