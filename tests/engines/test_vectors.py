"""Vectors, the numbers that kernels walk large arrays in."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from downslope.engines.cpu.kernel import source
from downslope.engines.cpu.library import JITTED
from downslope.engines.cpu.vectors import OPERATIONS
from downslope.engines.trace import trace
from downslope.optim import Optimizer
from downslope.rules import Hyper, Rule, Slot

pytestmark = pytest.mark.skipif(not JITTED, reason="without a compiler there are no vectors")

ODD = [0.0, -0.0, 1.0, -1.0, 1e-45, -1e-45, 3e38, -3e38, np.inf, -np.inf, np.nan]


def arithmetic(xp: Any, p: Any, g: Any, a: Any, b: Any, *, lr: Any) -> tuple[Any, ...]:
    """Everything that can be done with vectors."""
    moved = xp.fma(lr, g, xp.lerp(p, a, 0.3)) / xp.lerp(a, g, 0.8)
    larger = xp.maximum(xp.minimum(p, a), xp.maximum(g, lr)) - xp.minimum(lr, p * g)
    chosen = xp.where(p > a, xp.where(p < g, moved, -larger), xp.where(a >= b, b, lr))
    return xp.where(a <= p, chosen, xp.sqrt(xp.abs(b))) + xp.sign(g), moved, b - a


RULE = Rule(
    arithmetic,
    "",
    slots=tuple(Slot(name, "an array", name) for name in "ab"),
    hypers=(Hyper("lr", "step size", "eta"),),
    counts_steps=False,
)


class Arithmetic(Optimizer):
    """A rule of two slots."""

    rule = RULE

    def __init__(self, params: Any) -> None:
        flags = {"maximize": False, "foreach": None, "differentiable": False, "fused": None}
        super().__init__(params, {"lr": 0.7, **flags})


def stepped(*tensors: list[torch.Tensor]) -> torch.Tensor:
    """What a step makes of the parameters and slots, in one row each.

    Args:
        tensors: the parameters, gradients, and values of both slots.
    """
    leaves = [p.clone().requires_grad_() for p in tensors[0]]
    optimizer = Arithmetic(leaves)
    for p, g, a, b in zip(leaves, *tensors[1:], strict=True):
        p.grad, optimizer.state[p] = g, {"a": a.clone(), "b": b.clone()}
    optimizer.step()
    slots = ([optimizer.state[p][name] for p in leaves] for name in "ab")
    return torch.stack([torch.cat(end).detach() for end in (leaves, *slots)])


def test_every_operation_on_vectors_has_the_bits_of_plain_loops(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Tensors that are walked in vectors become what they do in plain loops."""
    program = trace(RULE, ("a", "b"), ())
    assert {made.op for made in program.passes[-1].body} == OPERATIONS
    assert "load_vector" in source(program, ("float32",) * 4)
    odd = torch.tensor(np.array(np.meshgrid(*[ODD] * 4)), dtype=torch.float32).reshape(4, -1)
    rows = [[row] for row in torch.cat([odd, torch.randn(4, 40_000)], dim=1)]
    plain = stepped(*rows)
    monkeypatch.setattr("downslope.engines.cpu.run.FAR", 0)
    vectors = stepped(*rows)
    numbers = ~plain.isnan()
    assert torch.equal(numbers, ~vectors.isnan())
    assert torch.equal(plain.view(torch.int32)[numbers], vectors.view(torch.int32)[numbers])
