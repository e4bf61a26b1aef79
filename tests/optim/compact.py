"""What tests of compact state share: tensors, gradients, engines."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from downslope.engines.storage import BLOCK, SMALL
from downslope.optim import Optimizer

from .harness import leaves

__all__ = [
    "ENGINES",
    "SHAPES",
    "drive",
    "each_engine",
    "each_format",
    "gaps",
    "gradients_into",
    "rows",
    "start",
    "values",
]

ENGINES: dict[str, dict[str, Any]] = {"numba": {}, "eager": {"foreach": False}}
each_engine = pytest.mark.parametrize("flags", ENGINES.values(), ids=ENGINES)
each_format = pytest.mark.parametrize("storage", ["float32", "bfloat16", "int8"])

#: No multiple of a block; and one that is too small to be compact.
SHAPES = ((SMALL // 64 + 3, 65), (7,))


def start(seed: int = 0) -> list[Tensor]:
    make = torch.Generator().manual_seed(seed)
    return leaves(torch.randn(shape, generator=make) for shape in SHAPES)


def rows(steps: int, seed: int = 1) -> list[list[Tensor]]:
    """Gradients whose scale differs from block to block."""
    make = torch.Generator().manual_seed(seed)

    def draw(shape: tuple[int, ...]) -> Tensor:
        g = torch.randn(shape, generator=make)
        return g * 10 ** -torch.rand(shape[0], generator=make).mul(2).view(-1, *[1] * (g.ndim - 1))

    return [[draw(shape) for shape in SHAPES] for _ in range(steps)]


def gradients_into(params: list[Tensor], row: list[Tensor]) -> None:
    for p, g in zip(params, row, strict=True):
        p.grad = g.clone()


def drive(optimizer: Optimizer, gradients: list[list[Tensor]]) -> Optimizer:
    params = [p for group in optimizer.param_groups for p in group["params"]]
    for row in gradients:
        gradients_into(params, row)
        optimizer.step()
    return optimizer


def values(state_dict: dict[str, Any]) -> list[Tensor]:
    return [v for state in state_dict["state"].values() for v in state.values()]


def gaps(exact: np.ndarray, storage: str, positive: bool) -> np.ndarray:
    """How far a number may be from what is kept of it: the distance of its two neighbours."""
    if storage == "float32" or exact.size < SMALL:
        return np.abs(exact) * 2.0**-22 + 1e-12
    if storage == "bfloat16":
        return np.abs(exact) * 2.0**-7 + 1e-12
    flat = np.abs(np.pad(exact.ravel(), (0, -exact.size % BLOCK)).reshape(-1, BLOCK))
    top = flat.max(1, keepdims=True)
    if positive:
        unit = top / 255**2
        found = unit * (2 * np.sqrt(flat / np.maximum(unit, 1e-300)) + 3)
    else:
        found = (top + flat + top / 100) ** 2 / (254 * np.maximum(top, 1e-300))
    return found.ravel()[: exact.size].reshape(exact.shape) + 1e-12
