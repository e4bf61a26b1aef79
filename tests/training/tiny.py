"""A task of 52 rows whose training draws random numbers: dropout, and noise in the data set."""

from __future__ import annotations

import random
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.data import Dataset, TensorDataset

from downslope import Metric, Recipe, Run, Task, fit
from downslope.tasks import rmse

ROWS, BATCH, STEPS = 52, 8, 7  # seven steps an epoch
RECIPE = Recipe(lr=0.01, epochs=3)


def data(seed: int, scale: float = 1.0) -> TensorDataset:
    x = torch.randn(ROWS, 3, generator=torch.Generator().manual_seed(seed))
    return TensorDataset(x, scale * x.sum(dim=1, keepdim=True))


def network() -> nn.Module:
    return nn.Sequential(
        nn.Linear(3, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Dropout(0.3), nn.Linear(8, 1)
    )


def plain() -> nn.Module:
    """Without batch norm or dropout: what it makes of a row depends on that row alone."""
    return nn.Sequential(nn.Linear(3, 8), nn.Tanh(), nn.Linear(8, 1))


def nested() -> nn.Module:
    """Sequences within sequences, as convolutional stages are."""
    return nn.Sequential(nn.Sequential(nn.Linear(3, 8), nn.Tanh()), nn.Sequential(nn.Linear(8, 1)))


def tiny(
    train: Dataset[Any] | None = None,
    *,
    scale: float = 1.0,
    loss: Callable[[Tensor, Tensor], Tensor] = F.mse_loss,
    metric: Callable[[Tensor, Tensor], float] = rmse,
    model: Callable[[], nn.Module] = network,
) -> Task:
    return Task(
        name="tiny",
        model=model,
        loss=loss,
        train=train or data(0, scale),
        validation=data(1, scale),
        metric=Metric("rmse", metric, higher_is_better=False),
        batch_size=BATCH,
        epochs=3,
        kind="regression",
    )


class Noisy(Dataset[tuple[Tensor, Tensor]]):
    """Rows with noise from every global generator, as augmentations draw it."""

    def __init__(self) -> None:
        self._rows = data(0)

    def __len__(self) -> int:
        return ROWS

    def __getitem__(self, row: int) -> tuple[Tensor, Tensor]:
        x, y = self._rows[row]
        noise = random.random() + np.random.random() + torch.rand(1).item()  # noqa: NPY002 - the claim
        return x + noise, y


class Stop(Exception):  # noqa: N818 - not an error: the test pulls the plug
    """Raised by :func:`plug` to end a run as a kill would, without leaving the process."""


def plug(at: int, event: dict[str, Any]) -> None:
    if event["event"] == "train" and event["step"] == at:
        raise Stop


def break_at(step: int, task: Task, recipe: Recipe, folder: Path) -> None:
    """Train until the plug is pulled."""
    try:
        fit(task, recipe, folder, on_event=[partial(plug, step)])
    except Stop:
        return
    raise AssertionError(f"the run ended before step {step}")


def measured(run: Run) -> list[dict[str, Any]]:
    """The records of the training itself, without clocks."""
    clocks = {"seconds", "samples_per_second"}
    return [
        {k: v for k, v in record.items() if k not in clocks}
        for record in run.records()
        if record["event"] in ("train", "skip", "validation")
    ]


def recorded(run: Run, kind: str) -> list[dict[str, Any]]:
    """The events of a kind."""
    return [r for r in run.records() if r["event"] == kind]
