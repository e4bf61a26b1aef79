"""A task of a few milliseconds: a linear model finds a plane through 64 points."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch.utils.data import TensorDataset

from downslope import Metric, Recipe, Task
from downslope.tasks import rmse

WEIGHTS = torch.tensor([[1.0], [-2.0], [0.5]])


def data(seed: int) -> TensorDataset:
    x = torch.randn(64, 3, generator=torch.Generator().manual_seed(seed))
    return TensorDataset(x, x @ WEIGHTS)


def plane() -> Task:
    return Task(
        name="plane",
        model=lambda: torch.nn.Linear(3, 1),
        loss=F.mse_loss,
        train=data(0),
        validation=data(1),
        metric=Metric("rmse", rmse, higher_is_better=False),
        batch_size=8,
        epochs=4,
        kind="regression",
    )


#: 32 steps at a constant rate; a tenth of it comes a tenth of the way.
QUICK = Recipe(optimizer="sgd", lr=0.1, schedule="constant", validate_steps=4)
SLOW = QUICK.replace(lr=0.01)
