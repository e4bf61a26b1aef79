"""What an entry of the catalogue says of one optimizer, and what many entries say alike."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import torch
from hypothesis import strategies as st
from torch.testing._internal.common_optimizers import (
    ErrorOptimizerInput,
    OptimizerErrorEnum,
    OptimizerInfo,
    optim_db,
)

import downslope.optim

from .oracles import Oracle

__all__ = [
    "ADAM_BAD",
    "ADAM_RANGES",
    "BAD_BETAS",
    "BAD_BETAS_3",
    "BAD_EPS",
    "BAD_EVERYWHERE",
    "DECAYS",
    "EPSILONS",
    "INF",
    "NAN",
    "RATES",
    "STEP_SIZES",
    "Entry",
    "Variant",
    "crosses",
    "variants",
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
        dims: the least and the largest number of dimensions of a parameter that it takes.
        empty: whether it takes (in torch) parameters without elements.
        joint: whether a step depends on all parameters together; the oracle is then given lists of
            arrays, and keeps lists under the keys of arrays.
        slack: how far a parameter may go from torch's, beside rounding, because a step computes in
            bfloat16: an intermediate of equal precision is then rounded up here and down there.
    """

    name: str
    oracle: Oracle
    extra: tuple[Variant, ...] = ()
    ranges: Mapping[str, st.SearchStrategy[Any]] = field(default_factory=dict)
    bad: Mapping[str, tuple[Any, ...]] = field(default_factory=dict)
    optimum: Mapping[str, Any] = field(default_factory=dict)
    flags: tuple[str, ...] = ("foreach", "fused", "differentiable")
    dims: tuple[int, int] = (0, 9)
    empty: bool = True
    joint: bool = False
    slack: float = 0.0

    def takes(self, t: torch.Tensor) -> bool:
        """Whether it, and torch's twin, can step a parameter of this shape and layout."""
        if self.sparse_only and not t.is_contiguous():  # torch adds to it as to a view of a leaf
            return False
        return self.dims[0] <= t.ndim <= self.dims[1] and (self.empty or t.numel() > 0)

    @property
    def shapes(self) -> st.SearchStrategy[list[int]]:
        """Small shapes that it takes."""
        least, most = self.dims
        sizes = st.integers(0 if self.empty else 1, 5)
        return st.lists(sizes, min_size=least, max_size=min(most, 3))

    @property
    def ours(self) -> type[downslope.optim.Optimizer]:
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
        found = []
        for i in inputs:
            kwargs = dict(i.kwargs)
            if self.sparse_only and isinstance(kwargs.get("lr"), torch.Tensor):
                # There torch computes the step's scalars in the tensor's own precision.
                kwargs["lr"] = kwargs["lr"].double()
            found.append(Variant(i.desc.replace(" ", "-"), kwargs))
        return (*found, *self.extra)

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
        """Whether it takes sparse gradients beside dense ones."""
        return self.twinned and bool(_DATABASE[self.name].supports_sparse)

    @property
    def sparse_only(self) -> bool:
        """Whether it takes no other gradients than sparse ones."""
        return self.twinned and bool(_DATABASE[self.name].only_supports_sparse_grads)

    @property
    def complex(self) -> bool:
        """Whether it takes complex parameters."""
        return not self.twinned or bool(_DATABASE[self.name].supports_complex)

    @property
    def one_by_one(self) -> Mapping[str, Any]:
        """The arguments that ask for torch's loop over the parameters."""
        return self.implementations().get("for-loop", {})

    @property
    def capturable(self) -> bool:
        """Whether the constructor takes ``capturable``."""
        return self.twinned and bool(_DATABASE[self.name].has_capturable_arg)


def _label(kwargs: Mapping[str, Any]) -> str:
    return ",".join(f"{k}={v}" for k, v in kwargs.items()) or "plain"


def variants(*several: dict[str, Any]) -> tuple[Variant, ...]:
    return tuple(Variant(_label(kwargs), kwargs) for kwargs in several)


def crosses(**choices: tuple[Any, ...]) -> list[dict[str, Any]]:
    """Every combination, leaving out the arguments that are zero or False."""
    rows = (dict(zip(choices, row, strict=True)) for row in itertools.product(*choices.values()))
    return [{k: v for k, v in row.items() if v} for row in rows]


NAN, INF = float("nan"), float("inf")
STEP_SIZES = st.floats(1e-4, 0.1)
DECAYS = st.floats(0, 0.2)
EPSILONS = st.floats(1e-8, 1e-2)
RATES = st.floats(0, 0.999)

BAD_EVERYWHERE: dict[str, tuple[Any, ...]] = {
    "lr": (NAN, INF, -INF, -1e-3, True, "0.1", None),
    "weight_decay": (NAN, INF, -0.1),
}
BAD_EPS: dict[str, tuple[Any, ...]] = {"eps": (NAN, INF, -1e-8)}
BAD_BETAS: dict[str, tuple[Any, ...]] = {
    "betas": ((NAN, 0.999), (0.9, NAN), (0.9, 1.0), (-0.1, 0.999), (0.9,), (0.9, 0.99, 0.999)),
}
BAD_BETAS_3: dict[str, tuple[Any, ...]] = {
    "betas": ((NAN, 0.9, 0.9), (0.9, 0.9, 1.0), (0.9, -0.1, 0.9), (0.9, 0.9)),
}

#: What optimizers that are called as Adam is called have in common.
ADAM_RANGES: dict[str, st.SearchStrategy[Any]] = {
    "lr": STEP_SIZES,
    "betas": st.tuples(RATES, RATES),
    "eps": EPSILONS,
    "weight_decay": DECAYS,
    "cautious": st.booleans(),
    "maximize": st.booleans(),
}
ADAM_BAD = BAD_EVERYWHERE | BAD_EPS | BAD_BETAS
