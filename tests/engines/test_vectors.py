"""Vectors, the numbers that kernels walk large arrays in."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from downslope.engines.cpu.kernel import source
from downslope.engines.cpu.library import JITTED
from downslope.engines.cpu.vectors import OPERATIONS, WIDTH
from downslope.engines.trace import trace
from downslope.optim import Optimizer
from downslope.rules import Hyper, Rule, Slot

pytestmark = pytest.mark.skipif(not JITTED, reason="without a compiler there are no vectors")

ODD = [0.0, -0.0, 1.0, -1.0, 1e-45, -1e-45, 3e38, -3e38, np.inf, -np.inf, np.nan]


def arithmetic(xp: Any, p: Any, g: Any, a: Any, *, lr: Any) -> tuple[Any, Any]:
    """Everything that can be done with vectors."""
    moved = xp.fma(lr, g, xp.lerp(p, a, 0.3)) / xp.lerp(a, g, 0.8)
    larger = xp.maximum(xp.minimum(p, a), xp.maximum(g, lr)) - xp.minimum(lr, p * g)
    chosen = xp.where(p > a, xp.where(p < g, moved, -larger), xp.where(a >= g, g, lr))
    return xp.where(a <= p, chosen, xp.sqrt(xp.abs(p))) + xp.sign(g), moved


RULE = Rule(
    arithmetic,
    "",
    slots=(Slot("a", "an array", "a"),),
    hypers=(Hyper("lr", "step size", "eta"),),
    counts_steps=False,
)


class Arithmetic(Optimizer):
    """A rule of one slot."""

    rule = RULE

    def __init__(self, params: Any) -> None:
        flags = {"maximize": False, "foreach": None, "differentiable": False, "fused": None}
        super().__init__(params, {"lr": 0.7, **flags})


def stepped(
    params: list[torch.Tensor], grads: list[torch.Tensor], slots: list[torch.Tensor]
) -> Any:
    """What a step makes of the parameters and of the slot, in one row."""
    leaves = [p.clone().requires_grad_() for p in params]
    optimizer = Arithmetic(leaves)
    for p, g, a in zip(leaves, grads, slots, strict=True):
        p.grad, optimizer.state[p] = g, {"a": a.clone()}
    optimizer.step()
    ends = [p.detach() for p in leaves], [optimizer.state[p]["a"] for p in leaves]
    return torch.stack([torch.cat(end) for end in ends])


def test_every_operation_on_vectors_has_the_bits_of_plain_loops() -> None:
    """A tensor as long as a turn of vectors becomes what the same in pieces becomes."""
    program = trace(RULE, ("a",), ())
    assert {made.op for made in program.passes[-1].body} == OPERATIONS
    assert "load_vector" in source(program, ("float32",) * 3)
    odd = torch.tensor(np.array(np.meshgrid(ODD, ODD, ODD)), dtype=torch.float32).reshape(3, -1)
    rows = torch.cat([odd, torch.randn(3, 4096 - odd.shape[1])], dim=1)
    whole = stepped(*([row] for row in rows))
    pieces = stepped(*(list(row.split(WIDTH)) for row in rows))
    numbers = ~whole.isnan()
    assert torch.equal(numbers, ~pieces.isnan())
    assert torch.equal(whole.view(torch.int32)[numbers], pieces.view(torch.int32)[numbers])
