"""Sums over all tensors of a step, in a formula: every engine, across engines and groups."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from downslope.engines import together
from downslope.engines.symbolic import equations, pretty
from downslope.engines.trace import trace
from downslope.errors import EngineError
from downslope.optim import Optimizer
from downslope.rules import Flag, Hyper, Rule, Slot

from ..optim.harness import assert_same, assert_same_bits, detached, drive, gradients, leaves
from .test_agreement import each_dtype, each_engine

STEPS = 5
#: Longer than a chunk, so that shares go over several; and as many tensors as buckets can split.
SIZES = (70_001, 1, 0, 17, 300)


def travelled(
    xp: Any, p: Any, g: Any, average: Any, distance: Any, *, lr: Any, decay: Any
) -> tuple[Any, Any, Any]:
    """A step as long as all gradients agree with their averages: two turns, three sums."""
    average = xp.lerp(average, g, 1 - decay)
    length = xp.sqrt(xp.total(average * average))
    agreement = xp.total(g * average / (1 + length))
    distance = xp.maximum(distance, agreement / (1 + xp.total(xp.abs(p))))
    return p - lr * distance * average, average, distance


TRAVELLED = Rule(
    travelled,
    "A step as long as all gradients agree with their averages.",
    slots=(Slot("average", "mean", "m"), Slot("distance", "largest", "d", init=1e-6, scalar=True)),
    hypers=(Hyper("lr", "step size", "eta"), Hyper("decay", "share kept", "beta", high=1.0)),
    counts_steps=False,
)


class Travelled(Optimizer):
    """The optimizer of :func:`travelled`."""

    rule = TRAVELLED

    def __init__(self, params: Any, **flags: Any) -> None:
        none = {"maximize": False, "foreach": None, "differentiable": False, "fused": None}
        super().__init__(params, {"lr": 0.5, "decay": 0.8, **none, **flags})


def oracle(start: list[Tensor], rows: Any) -> list[Tensor]:
    """The same in NumPy, all tensors joined to one vector."""
    p = np.concatenate([t.double().numpy().ravel() for t in start])
    average, distance = np.zeros_like(p), 1e-6
    for row in rows:
        g = np.concatenate([t.double().numpy().ravel() for t in row])
        average = 0.8 * average + 0.2 * g
        agreement = (g * average).sum() / (1 + np.sqrt((average**2).sum()))
        distance = max(distance, agreement / (1 + np.abs(p).sum()))
        p = p - 0.5 * distance * average
    ends = np.split(p, np.cumsum([t.numel() for t in start])[:-1])
    return [torch.from_numpy(e).to(t.dtype) for e, t in zip(ends, start, strict=True)]


def vectors(dtype: torch.dtype = torch.float64) -> tuple[Tensor, ...]:
    make = torch.Generator().manual_seed(8)
    return tuple(torch.randn(n, generator=make).to(dtype) for n in SIZES)


@each_engine
@each_dtype
def test_sums_over_all_tensors(
    flags: dict[str, Any], dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A formula with sums over all tensors gives the oracle's numbers in every engine."""
    monkeypatch.setattr(torch, "get_default_dtype", lambda: dtype)  # of the numbers in the state
    start = vectors(dtype)
    rows = gradients(start, STEPS)
    params = leaves(start, flags)
    drive(Travelled(params, **flags), rows)
    assert_same(params, oracle(list(start), rows))


def test_sums_go_over_all_groups_and_engines() -> None:
    """Tensors of several groups, engines and kinds of number add to the same sums."""
    start = [t.to(d) for t, d in zip(vectors(), 3 * (torch.float64, torch.float32), strict=False)]
    rows = gradients(tuple(start), STEPS)
    params = leaves(start)
    flags = ({"foreach": False}, {}, {"fused": True}, {"foreach": True}, {})
    groups = [{"params": [p], **f} for p, f in zip(params, flags, strict=True)]
    drive(Travelled(groups), rows)
    for p, expected in zip(params, oracle(start, rows), strict=True):
        torch.testing.assert_close(p.detach(), expected, rtol=2e-6, atol=2e-6)


@each_engine
def test_order_of_tensors_does_not_matter(flags: dict[str, Any]) -> None:
    """The sums have the same bits in any order of the parameters."""
    start = vectors(torch.float32)
    rows = gradients(start, STEPS)
    forth, back = leaves(start, flags), leaves(start, flags)
    drive(Travelled(forth, **flags), rows)
    drive(Travelled(back[::-1], **flags), [row[::-1] for row in rows])
    assert_same_bits(detached(forth), detached(back))


def test_a_gradient_that_is_missing_adds_nothing() -> None:
    """Tensors without a gradient are in no sum."""
    start = vectors()
    rows = gradients(start, STEPS)
    params, alone = leaves(start), leaves(start[:4])
    drive(Travelled(params), [(*row[:4], None) for row in rows])
    drive(Travelled(alone), [row[:4] for row in rows])
    assert_same_bits(detached(params[:4]), detached(alone))


def test_what_needs_a_sum_waits_for_it() -> None:
    """The first pass makes two sums, the next the one that needs them; only the last writes."""
    passes = trace(TRAVELLED, ("average", "distance"), ()).passes
    assert [[t.call for t in p.totals] for p in passes] == [[0, 2], [1], []]
    assert [bool(p.writes) for p in passes] == [False, False, True]


def test_the_printed_formula_says_total() -> None:
    """``explain`` tells sums over all tensors from sums over one."""
    group = {"lr": 0.1, "decay": 0.9}
    assert "total(" in pretty(equations(TRAVELLED, group))


def flagged(xp: Any, p: Any, g: Any, *, lr: Any, whole: bool) -> tuple[Any]:
    """A sum over all tensors with one flag, none without."""
    return (p - lr * (xp.total(g) if whole else g),)


class Flagged(Optimizer):
    """The optimizer of :func:`flagged`."""

    rule = Rule(
        flagged, "", (), (Hyper("lr", "step", "eta"),), (Flag("whole"),), counts_steps=False
    )

    def __init__(self, params: Any) -> None:
        none = {"maximize": False, "foreach": None, "differentiable": False, "fused": None}
        super().__init__(params, {"lr": 0.5, "whole": False, **none})


@pytest.mark.parametrize("first", [True, False])
def test_groups_that_ask_for_different_sums_are_refused(first: bool) -> None:
    """When flags differ so that one group wants a sum which another does not know, it is said."""
    params = [torch.ones(3, requires_grad=True) for _ in range(2)]
    groups = [{"params": [params[0]], "whole": first}, {"params": [params[1]], "whole": not first}]
    with pytest.raises(EngineError, match="same flags"):
        drive(Flagged(groups), [[torch.ones(3)] * 2])


def test_whole_is_exact_and_knows_infinities() -> None:
    """Numbers are added without rounding on the way; infinities and NaN as IEEE has it."""
    inf = float("inf")
    assert together.whole([1e16, 1.0, 1.0, -1e16]) == 2.0
    assert together.whole([]) == 0.0
    assert together.whole([1.0, inf]) == inf
    assert np.isnan(together.whole([inf, -inf]))
    assert together.whole([1e308, 1e308, 1e308]) == inf
    assert together.whole([torch.tensor(1.0), 2.0]) == torch.tensor(3.0)
