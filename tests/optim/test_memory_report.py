"""``optimizer.memory()``: what is foretold is what there is."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from downslope.optim import LAMB, SGD, Adafactor, AdamW, NAdam, Optimizer


def network(dtype: torch.dtype) -> nn.Module:
    """Matrices of equal size, so that one gradient is a small part of all."""
    layers = [nn.Linear(256, 256) for _ in range(30)]
    return nn.Sequential(*layers).to(dtype)


def stepped(optimizer: Optimizer, net: nn.Module) -> Optimizer:
    dtype = next(net.parameters()).dtype
    net(torch.ones(2, 256, dtype=dtype)).float().square().mean().backward()
    optimizer.step()
    return optimizer


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("storage", [None, "float32", "bfloat16", "int8", {"exp_avg": "int8"}])
def test_prediction_is_what_is_measured(dtype: torch.dtype, storage: Any) -> None:
    """Sizes and formats alone give the bytes of weights, gradients and state after a step."""
    net = network(dtype)
    optimizer = AdamW(net.parameters(), storage=storage)
    foretold = optimizer.memory().predicted
    memory = stepped(optimizer, net).memory()
    assert memory.predicted == foretold
    for name in ("weights", "gradients", "state"):
        assert getattr(memory.measured, name) == getattr(foretold, name), name
    assert foretold.scratch == pytest.approx(memory.measured.scratch, rel=0.5)


@pytest.mark.parametrize(
    "make",
    [
        lambda p: SGD(p, 0.1),
        lambda p: SGD(p, 0.1, momentum=0.9, storage="int8"),
        lambda p: LAMB(p, storage="bfloat16"),
        NAdam,
        Adafactor,
    ],
)
def test_other_rules_states(make: Any) -> None:
    """Rules without state, with numbers or factors in place of arrays, that count no steps."""
    net = network(torch.float32)
    memory = stepped(make(net.parameters()), net).memory()
    plain = sum(8 for _ in net.parameters()) if make is Adafactor else 0  # steps kept as Python's
    assert memory.measured.state == pytest.approx(memory.predicted.state, abs=plain)


@pytest.mark.parametrize(
    ("dtype", "storage", "released", "most"),
    [
        (torch.float32, None, False, 16.01),
        (torch.bfloat16, "int8", False, 7.2),
        (torch.bfloat16, "int8", True, 5.2),
    ],
)
def test_bytes_a_parameter(dtype: torch.dtype, storage: Any, released: bool, most: float) -> None:
    """AdamW takes 16 bytes a parameter, 7 when compact, 5 when gradients are released."""
    net = network(dtype)
    optimizer = AdamW(net.parameters(), storage=storage)
    if released:
        optimizer.release_gradients()
    memory = stepped(optimizer, net).memory()
    tables = memory.measured.scratch
    assert (memory.measured.total - tables) / memory.parameters <= most
    assert memory.bytes_per_parameter <= most + 0.01 * 2  # this net's tensors are small
    assert f"{memory.parameters:,}" in str(memory)
