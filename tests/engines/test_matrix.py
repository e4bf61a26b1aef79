"""Matrix rules: a stack has the numbers of its matrices, and nothing is overwritten early."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from downslope.engines.matrix import run
from downslope.engines.matrix.library import VIEWS
from downslope.engines.trace import trace
from downslope.engines.tracer import MATRIX_FUNCTIONS
from downslope.optim import Adafactor, Muon, Optimizer
from downslope.rules import Hyper, Rule, Slot

from ..optim.harness import assert_same, assert_same_bits, build, detached, drive, gradients, leaves

SHAPES = ((5, 3), (3, 5), (4, 4), (5, 3), (1, 6), (5, 3), (2, 1))
START = tuple(torch.randn(s, generator=torch.Generator().manual_seed(8)).double() for s in SHAPES)
ROWS = gradients(START, 4)


def everything(
    xp: Any, p: Any, g: Any, a: Any, *, lr: Any, step: Any, rows: Any, columns: Any, numel: Any
) -> tuple[Any, Any]:
    """Every function of matrices; old values are read after new ones exist."""
    x = xp.wide(g)
    x = x / xp.maximum(xp.norm(x), 1e-3)
    x = xp.repeat("X", 2, lambda m: xp.matmul(xp.matmul(m, xp.transpose(m)), m), x)
    x = xp.named("Y", xp.addmm(0.5, x, -2.0, xp.matmul(x, xp.transpose(x)), x))
    moved = xp.turned(x, g) * xp.sqrt(rows / columns) + xp.column_mean(g) - xp.row_mean(p)
    new = p - lr / step * moved * xp.where(g > 0, 1.0, 0.5)
    return new, a + p * xp.norm(new - p) / numel + xp.bfloat16(xp.sign(a))


def everything_oracle(p: Any, g: Any, a: Any, *, lr: float, step: int) -> tuple[Any, Any]:
    """The same in NumPy."""
    rows, columns = p.shape
    x = g.T if rows > columns else g
    x = x / max(np.linalg.norm(x), 1e-3)
    for _ in range(2):
        x = x @ x.T @ x
    x = 0.5 * x - 2.0 * (x @ x.T) @ x
    x = x.T if rows > columns else x
    moved = x * np.sqrt(rows / columns) + g.mean(0, keepdims=True) - p.mean(1, keepdims=True)
    new = p - lr / step * moved * np.where(g > 0, 1.0, 0.5)
    return new, a + p * np.linalg.norm(new - p) / p.size + np.sign(a)


class Everything(Optimizer):
    """The optimizer of :func:`everything`."""

    rule = Rule(
        everything,
        "Every function of matrices.",
        slots=(Slot("a", "a sum", "a", init=0.25),),
        hypers=(Hyper("lr", "step size", "eta"),),
        matrix=True,
    )

    def __init__(self, params: Any, lr: float = 0.1, foreach: bool | None = None) -> None:
        super().__init__(params, {"lr": lr, "foreach": foreach})


assert set(MATRIX_FUNCTIONS) <= set(everything.__code__.co_names) | {"transpose", "matmul"}


@pytest.mark.parametrize("foreach", [None, True, False])
def test_every_function_of_matrices(foreach: bool | None) -> None:
    """Each function means what NumPy's means, on stacks and one by one, tall and wide."""
    params = leaves(START)
    optimizer = Everything(params, foreach=foreach)
    drive(optimizer, ROWS)
    for i, start in enumerate(START):
        p, a = start.numpy(), np.full(start.shape, 0.25)
        for step, row in enumerate(ROWS, start=1):
            p, a = everything_oracle(p, row[i].numpy(), a, lr=0.1, step=step)
        assert_same([params[i], optimizer.state[params[i]]["a"]], map(torch.from_numpy, (p, a)))


@pytest.mark.parametrize("cls", [Everything, Adafactor])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_a_stack_has_the_bits_of_its_matrices(cls: Any, dtype: torch.dtype) -> None:
    """Stacked or one at a time, in groups of one lr or of several, no bit differs."""
    start = [t.to(dtype) for t in START]
    rows = [[g.to(dtype) for g in row] for row in ROWS]
    ends = []
    for foreach in (True, False):
        params = leaves(start)
        groups = [{"params": params[:3]}, {"params": params[3:], "lr": 0.05}]
        drive(build(cls, groups, {"foreach": foreach}), rows)
        ends.append(detached(params))
    assert_same_bits(*ends)


@pytest.mark.parametrize("together", [1, 30])
@pytest.mark.parametrize("cls", [Everything, Adafactor, Muon])
def test_large_matrices_have_the_bits_of_each(
    cls: Any, together: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Too large to be stacked, they write over each other's memory, and no bit differs."""
    start = tuple(torch.randn(s, generator=torch.Generator().manual_seed(9)) for s in [(5, 3)] * 5)
    ends = []
    for stack, products in ((1 << 16, 1 << 19), (1, together)):
        monkeypatch.setattr(run, "STACK", stack)
        monkeypatch.setattr(run, "PRODUCTS", products)
        params = leaves(start)
        drive(build(cls, params), gradients(start, 4))
        ends.append(detached(params))
    assert_same_bits(*ends)


def keep(xp: Any, p: Any, g: Any, before: Any, turned: Any, *, lr: Any) -> tuple[Any, Any, Any]:
    """The parameter steps; one slot takes its old value, the other the transpose of that."""
    return xp.fma(-lr, g, p), p * 1.0, xp.transpose(xp.transpose(p))


class Keep(Optimizer):
    """The optimizer of :func:`keep`."""

    rule = Rule(
        keep,
        "Old values.",
        slots=(Slot("before", "p before", "b"), Slot("turned", "p before", "c")),
        hypers=(Hyper("lr", "step size", "eta"),),
        counts_steps=False,
        matrix=True,
    )

    def __init__(self, params: Any, lr: float = 0.5) -> None:
        super().__init__(params, {"lr": lr})


@pytest.mark.parametrize("count", [1, 3])
def test_old_values_are_read_before_they_are_overwritten(count: int) -> None:
    """A slot may take a parameter's old value, plainly or through a view of it."""
    params = leaves([torch.full((2, 3), float(k)) for k in range(count)])
    optimizer = Keep(params)
    drive(optimizer, [[torch.ones(2, 3)] * count] * 2)
    for k, p in enumerate(params):
        assert torch.equal(p.detach(), torch.full((2, 3), k - 1.0))
        for name in ("before", "turned"):
            assert torch.equal(optimizer.state[p][name], torch.full((2, 3), k - 0.5))


def swap(xp: Any, p: Any, g: Any, a: Any) -> tuple[Any, Any]:
    """Each takes the other's old value: neither's memory may be used for the other."""
    return a * 0.5, p * 2.0


class Swap(Optimizer):
    """The optimizer of :func:`swap`."""

    rule = Rule(
        swap, "", slots=(Slot("a", "", "a", init=6.0),), hypers=(), counts_steps=False, matrix=True
    )

    def __init__(self, params: Any) -> None:
        super().__init__(params, {})


@pytest.mark.parametrize("count", [1, 3])
def test_new_values_that_lie_in_each_others_memory(count: int) -> None:
    """Parameter and slot change places, and both arrive."""
    params = leaves([torch.full((2, 3), float(k)) for k in range(count)])
    optimizer = Swap(params)
    drive(optimizer, [[torch.ones(2, 3)] * count])
    for k, p in enumerate(params):
        assert torch.equal(p.detach(), torch.full((2, 3), 3.0))
        assert torch.equal(optimizer.state[p]["a"], torch.full((2, 3), 2.0 * k))


def test_a_lone_matrix_is_stepped_in_place() -> None:
    """Without stacking, the new parameter is written over the old one and not copied there."""
    seen: list[Tensor] = []
    p = torch.ones(3, 2, requires_grad=True)
    view = p.detach()
    optimizer = Adafactor([p])
    for _ in range(2):
        p.grad = torch.ones(3, 2)
        optimizer.step()
        seen.append(view.clone())
    assert torch.equal(seen[1], p.detach())
    assert not torch.equal(seen[0], seen[1])


def test_a_function_of_elementwise_rules_alone_is_refused() -> None:
    """A matrix rule that asks for ``xp.sum`` is told what there is; ``norm`` and means are."""

    def summed(xp: Any, p: Any, g: Any) -> tuple[Any]:
        return (p - xp.sum(g),)

    with pytest.raises(AttributeError, match=r"norm.*xp\.sum"):
        trace(Rule(summed, "", slots=(), hypers=(), matrix=True), (), ())


def test_an_elementwise_rule_knows_no_matrices() -> None:
    """Without ``matrix=True`` a formula has no functions of matrices."""

    def multiplied(xp: Any, p: Any, g: Any) -> tuple[Any]:
        return (xp.matmul(p, g),)

    with pytest.raises(AttributeError, match=r"xp\.matmul"):
        trace(Rule(multiplied, "", slots=(), hypers=()), (), ())


def test_parameters_without_elements_are_counted_and_left() -> None:
    """Adafactor steps over an empty parameter (torch divides by zero)."""
    empty, full = torch.zeros(0, 3, requires_grad=True), torch.ones(2, 3, requires_grad=True)
    optimizer = Adafactor([empty, full])
    drive(optimizer, [[torch.zeros(0, 3), torch.ones(2, 3)]])
    assert float(optimizer.state[empty]["step"]) == 1
    assert (full != 1).all()


def test_views_are_told_apart() -> None:
    """Every operation whose result can share its argument's memory is listed as a view."""
    x = torch.ones(1, 3, 2)
    sharing = {n for n, f in VIEWS.items() if n != "turned" and f(x).data_ptr() == x.data_ptr()}
    assert sharing == {"transpose", "wide"}
    half = x.bfloat16()
    assert VIEWS["bfloat16"](half).data_ptr() == half.data_ptr()
    assert VIEWS["turned"](x, x.mT).data_ptr() == x.data_ptr()


@pytest.mark.parametrize("rows", [7, 300])
def test_what_is_turned_lies_in_rows(rows: int) -> None:
    """Small and large matrices come back transposed, one row after the other."""
    x = torch.arange(2.0 * 200 * rows).view(2, 200, rows)
    y = VIEWS["turned"](x, x if rows < 200 else x.mT)
    assert y.is_contiguous()
    assert torch.equal(y, x.mT)
    assert torch.equal(VIEWS["bfloat16"](x.mT), x.mT.bfloat16())
