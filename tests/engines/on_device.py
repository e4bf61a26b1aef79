"""The optimizers' harness with tensors on the device that the Triton engine's tests run on.

That is the CPU, in Triton's interpreter; with ``DOWNSLOPE_GPU=1`` the first CUDA device. Inputs and
oracles stay on the host.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import torch
from torch import Tensor

from ..optim import harness

__all__ = [
    "DEVICE",
    "assert_same",
    "assert_same_bits",
    "drive",
    "host",
    "leaves",
    "moved",
    "vectors",
]

#: Where tensors are stepped.
DEVICE = torch.device("cuda", 0) if os.environ.get("DOWNSLOPE_GPU") == "1" else torch.device("cpu")


def moved(tensors: Iterable[Tensor]) -> list[Tensor]:
    """The tensors on the device, laid out as they are."""
    return [t.detach().to(DEVICE) for t in tensors]


def host(tensors: Iterable[Tensor]) -> list[Tensor]:
    """The tensors on the host."""
    return [t.detach().cpu() for t in tensors]


def leaves(tensors: Iterable[Tensor]) -> list[Tensor]:
    """Fresh parameters on the device with these values and layouts."""
    return harness.leaves(moved(tensors))


def drive(
    optimizer: torch.optim.Optimizer,
    rows: Iterable[Sequence[Tensor]],
    before: Callable[[int], Any] | None = None,
) -> None:
    """Take one step for each row of gradients; ``before(i)`` runs just before the i-th."""
    harness.drive(optimizer, map(moved, rows), before)


def assert_same(actual: Iterable[Tensor], expected: Iterable[Tensor]) -> None:
    """The tensors agree to the tolerance of their dtype, wherever they are."""
    harness.assert_same(host(actual), host(expected))


def assert_same_bits(actual: Iterable[Tensor], expected: Iterable[Tensor]) -> None:
    """The tensors are equal in every bit, wherever they are."""
    harness.assert_same_bits(host(actual), host(expected))


#: The first longer than a chunk, so that sums go over several.
SIZES = (8_200, 1, 0, 1_100)


def vectors(dtype: torch.dtype = torch.float32) -> tuple[Tensor, ...]:
    """Vectors of those sizes, the same float32 numbers in every dtype."""
    make = torch.Generator().manual_seed(5)
    return tuple(torch.randn(n, generator=make).to(dtype) for n in SIZES)
