"""What `find_lr` and the rival rules suggest for a case."""

from __future__ import annotations

import torch
from torch import Tensor

from downslope import RangeTest, find_lr, optim

from .cases import Case
from .many import OPTIMIZERS, order

__all__ = ["Loader", "suggestion"]


class Loader:
    """A case's batches, from the same first permutation each time it is read."""

    def __init__(self, case: Case, seed: int) -> None:
        self._data, self._case, self._seed = case.what.data(), case, seed

    def __len__(self) -> int:
        return max(1, len(self._data.inputs) // self._case.batch_size)

    def __iter__(self) -> object:
        rows = order(len(self._data.inputs), self._case.batch_size, self._seed)
        for _ in range(len(self)):
            batch = next(rows)
            yield self._data.inputs[batch], self._data.targets[batch]


def suggestion(case: Case, seed: int, scale: float = 1.0) -> RangeTest:
    """Run the range test on a fresh network, with the loss times ``scale``."""
    torch.manual_seed(seed)
    model = case.what.model()
    optimizer = optim.get(case.optimizer)(model.parameters(), **OPTIMIZERS[case.optimizer])

    def loss(outputs: Tensor, targets: Tensor) -> Tensor:
        return scale * case.what.loss(outputs, targets)

    return find_lr(model, loss, Loader(case, seed), optimizer, steps=case.steps, progress=False)
