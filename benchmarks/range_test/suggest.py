"""What `find_lr` and the rival rules suggest for a case."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from downslope import RangeTest, find_lr, optim
from downslope.finder._sweep import Curve, sweep
from downslope.finder._trial import Trial

from .cases import Case
from .many import OPTIMIZERS, order

__all__ = ["Loader", "suggestion", "swept", "trial"]

RIVALS_ITERATIONS = 100  # fastai's, Lightning's and torch-lr-finder's own number


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
    return find_lr(*_parts(case, seed, scale), steps=case.steps, progress=False)


def swept(case: Case, seed: int, scale: float = 1.0) -> Curve:
    """The sweep of 100 iterations that the other rules are made for."""
    lrs = np.geomspace(1e-7, 10, RIVALS_ITERATIONS).tolist()
    return sweep(trial(case, seed, scale), lrs, len(lrs), lambda lr, loss: None)


def trial(case: Case, seed: int, scale: float = 1.0) -> Trial:
    """What a range test of a case trains, before it is told how long the run will be."""
    return Trial(*_parts(case, seed, scale))


def _parts(
    case: Case, seed: int, scale: float
) -> tuple[nn.Module, Callable[[Tensor, Tensor], Tensor], Loader, Optimizer]:
    torch.manual_seed(seed)
    model = case.what.model()
    optimizer = optim.get(case.optimizer)(model.parameters(), **OPTIMIZERS[case.optimizer])

    def loss(outputs: Tensor, targets: Tensor) -> Tensor:
        return scale * case.what.loss(outputs, targets)

    return model, loss, Loader(case, seed), optimizer
