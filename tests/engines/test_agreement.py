"""All engines compute what the formula says, also for rules that no shipped optimizer has."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from downslope.engines.trace import trace
from downslope.rules import Rule

from ..optim.catalogue import TWINNED, Entry, Variant, each, each_variant
from ..optim.harness import (
    DTYPES,
    TOLERANCE,
    assert_same,
    assert_same_bits,
    build,
    detached,
    drive,
    gradients,
    leaves,
    torch_end,
    zoo,
)
from .rules import EVERYTHING, Everything, Lamb, everything_oracle, lamb_oracle, scaled_descent

ENGINES: dict[str, dict[str, Any]] = {
    "numba": {"fused": True},
    "foreach": {"foreach": True},
    "eager": {"foreach": False},
    "tensor": {"differentiable": True},
}
each_engine = pytest.mark.parametrize("flags", ENGINES.values(), ids=ENGINES)
each_dtype = pytest.mark.parametrize("dtype", DTYPES, ids=["float32", "float64"])

STEPS = 6
#: Longer than a chunk, so that sums go over several.
SIZES = (100_003, 1, 0, 17)


def tensors(dtype: torch.dtype) -> tuple[torch.Tensor, ...]:
    """Vectors of those sizes, the same float32 numbers in every dtype."""
    make = torch.Generator().manual_seed(5)
    return tuple(torch.randn(n, generator=make).to(dtype) for n in SIZES)


@each_engine
@each_dtype
def test_sums_over_whole_tensors(flags: dict[str, Any], dtype: torch.dtype) -> None:
    """A formula with sums over its tensor gives the oracle's numbers in every engine."""
    start = tensors(dtype)
    rows = gradients(start, STEPS)
    params = leaves(start, flags)
    drive(Lamb(params, **flags), rows)
    expected = []
    for i, t in enumerate(start):
        p, average = t.double().numpy(), 0.0
        for row in rows:
            p, average = lamb_oracle(p, row[i].double().numpy(), average, lr=0.1, decay=0.9)
        expected.append(torch.from_numpy(p).to(dtype))
    assert_same(params, expected)


@each_engine
@each_dtype
@pytest.mark.parametrize("flip", [False, True])
def test_every_function_a_formula_may_use(
    flags: dict[str, Any], dtype: torch.dtype, flip: bool
) -> None:
    """Each function of ``xp`` and each of the host's scalars means the same in every engine."""
    start = tensors(dtype)[1:]
    rows = gradients(start, STEPS)
    params = leaves(start, flags)
    drive(Everything(params, flip=flip, **flags), rows)
    expected = []
    for i, t in enumerate(start):
        p, a = t.double().numpy(), np.zeros(t.shape)
        for step, row in enumerate(rows, start=1):
            p, a = everything_oracle(p, row[i].double().numpy(), a, lr=0.1, step=step, flip=flip)
        expected.append(torch.from_numpy(p).to(dtype))
    assert_same(params, expected)


@each_dtype
@each_variant(tuple(e for e in TWINNED if e.name == "SGD"))
def test_compiled_sgd_has_torchs_bits(entry: Entry, variant: Variant, dtype: torch.dtype) -> None:
    """Where no square root is taken, the compiled kernel has torch's bits too."""
    params = leaves(zoo(dtype))
    drive(build(entry.ours, params, variant.kwargs, {"fused": True}), gradients(zoo(dtype)))
    expected, _ = torch_end(entry, variant, dtype)
    assert_same_bits(detached(params), detached(expected))


SPECIAL = (float("nan"), float("inf"), float("-inf"), 0.0, -0.0, 1e-41, 3e38, -1e-30, 1.0)


@each_engine
@each(TWINNED)
def test_special_values(entry: Entry, flags: dict[str, Any]) -> None:
    """NaN, infinities, zeros and subnormals in a gradient do to the parameter what torch's do."""
    if "fused" in flags and "fused" not in entry.implementations():
        flags = {}  # the default engine, by another name
    start = (torch.ones(len(SPECIAL)), torch.zeros(len(SPECIAL)))
    rows = [[torch.tensor(SPECIAL)] * 2]
    for variant in entry.variants:
        ours, theirs = leaves(start, flags), leaves(start)
        drive(build(entry.ours, ours, variant.kwargs, flags), rows)
        drive(build(entry.torch, theirs, variant.kwargs, {"foreach": False}), rows)
        for a, e in zip(ours, theirs, strict=True):
            near = TOLERANCE[torch.float32]
            torch.testing.assert_close(a.detach(), e.detach(), rtol=near, atol=near, equal_nan=True)


def test_a_constant_in_a_formula_is_part_of_the_kernel() -> None:
    """Formulas that differ in a number alone run different kernels."""
    for factor in (1.0, 2.0):
        p = torch.zeros(3, requires_grad=True)
        drive(scaled_descent(factor)([p], lr=0.1, fused=True), [[torch.ones(3)]])
        assert_same([p], [torch.full((3,), -0.1 * factor)])


def test_a_branch_on_data_is_refused() -> None:
    """A formula that branches on an array cannot be traced, and the error says what to use."""

    def branching(xp: Any, p: Any, g: Any) -> tuple[Any]:
        return (p if g > 0 else -p,)

    with pytest.raises(TypeError, match=r"xp\.where"):
        trace(Rule(branching, "", slots=(), hypers=()), (), ())


def test_an_unknown_function_is_refused() -> None:
    """A formula that asks ``xp`` for something else is refused with the list of what there is."""

    def strange(xp: Any, p: Any, g: Any) -> tuple[Any]:
        return (xp.tanh(p),)

    with pytest.raises(AttributeError, match=r"sqrt.*xp\.tanh"):
        trace(Rule(strange, "", slots=(), hypers=()), (), ())


def test_a_slot_that_does_not_exist_is_refused() -> None:
    """A formula that fills an absent slot cannot be traced."""
    with pytest.raises(TypeError, match="does not exist"):
        trace(EVERYTHING, (), (("flip", False),))


def test_equal_expressions_are_computed_once() -> None:
    """A sub-expression that a formula writes twice is one instruction of the program."""

    def repeated(xp: Any, p: Any, g: Any) -> tuple[Any]:
        return (p - xp.sqrt(g * g) - xp.sqrt(g * g),)

    (only,) = trace(Rule(repeated, "", slots=(), hypers=()), (), ()).passes
    assert [i.op for i in only.body].count("sqrt") == 1


def test_scalars_are_computed_once_a_tensor() -> None:
    """What depends on scalars alone is not among the instructions for each element."""

    def corrected(xp: Any, p: Any, g: Any, *, step: Any) -> tuple[Any]:
        return (p - xp.sqrt(1 - 0.9**step) * g,)

    (only,) = trace(Rule(corrected, "", slots=(), hypers=()), (), ()).passes
    assert {i.op for i in only.body} == {"mul", "sub"}
    assert {"pow", "sqrt"} <= {i.op for i in only.scalars}


def test_rounded_programs_divide_by_no_scalar() -> None:
    """Where state is rounded, a division by a scalar is a product; what else divides still does."""

    def scaled(xp: Any, p: Any, g: Any, *, step: Any) -> tuple[Any]:
        return (p - (g / step + p / step) / (1 + g * g),)

    (only,) = trace(Rule(scaled, "", slots=(), hypers=()), (), ()).with_reciprocals.passes
    divisors = [made.args[1] for made in only.body if made.op == "div"]
    assert len(divisors) == 1
    assert divisors[0] not in dict(only.hoisted)
    assert len(only.hoisted) == 1
    (inverse,) = (made for made in only.scalars if made.name == only.hoisted[0][1])
    assert (inverse.op, inverse.args) == ("div", (1.0, "step"))
