"""What the host tells the device at each step, in one copy, and only when something changed."""

from __future__ import annotations

from collections.abc import Mapping
from math import prod
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

__all__ = ["Words"]

_KINDS: dict[Any, torch.dtype] = {
    np.dtype(np.int64): torch.int64,
    np.dtype(np.float64): torch.float64,
}


class Words:
    """Tables of 8-byte numbers on the host with a twin on a device.

    Args:
        tables: name -> shape and kind.
        device: where the twin is.

    >>> words = Words({"lr": ((2,), np.float64)}, torch.device("cpu"))
    >>> words.host["lr"][:] = 0.1, 0.2
    >>> words.send()["lr"]
    tensor([0.1000, 0.2000], dtype=torch.float64)
    """

    def __init__(
        self, tables: Mapping[str, tuple[tuple[int, ...], npt.DTypeLike]], device: torch.device
    ) -> None:
        self._tables = {n: (shape, np.dtype(kind)) for n, (shape, kind) in tables.items()}
        ends = np.cumsum([0, *(prod(shape) for shape, _ in self._tables.values())]).tolist()
        self._places = dict(zip(self._tables, map(slice, ends[:-1], ends[1:]), strict=True))
        self._words = np.zeros(ends[-1], np.int64)
        #: The host's tables, to be written to.
        self.host: dict[str, npt.NDArray[Any]] = {
            name: self._words[self._places[name]].view(kind).reshape(shape)
            for name, (shape, kind) in self._tables.items()
        }
        self._sent: npt.NDArray[np.int64] | None = None
        self._device = device
        self._twin = torch.empty(ends[-1], dtype=torch.int64, device=device)
        self._on_device = self._cut(self._twin)

    def _cut(self, words: Tensor) -> dict[str, Tensor]:
        return {
            name: words[self._places[name]].view(_KINDS[kind]).view(shape)
            for name, (shape, kind) in self._tables.items()
        }

    def send(self) -> dict[str, Tensor]:
        """The device's tables with what the host's hold now; the copy is waited for by nobody."""
        if self._sent is None or not np.array_equal(self._words, self._sent):
            # A new one each time: what was given to the last copy may not have been read yet.
            pinned = self._device.type != "cpu"
            staging = torch.empty(len(self._words), dtype=torch.int64, pin_memory=pinned)
            staging.numpy()[:] = self._words
            self._twin.copy_(staging, non_blocking=True)
            self._sent = self._words.copy()
        return self._on_device

    def embed(self) -> dict[str, Tensor]:
        """The same in tables of their own, written by kernels that have the numbers as arguments.

        For a graph that is being captured: it then needs nothing of the host's when it is replayed.
        """
        twin = torch.zeros_like(self._twin)
        torch._foreach_add_(list(twin.unbind()), self._words.tolist())
        return self._cut(twin)
