"""A small regression, the optimizers to compare, and torch's twins of them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

import downslope.optim as ours

ROWS, BATCH, STEPS = 48, 8, 12  # two epochs of six batches

OPTIMIZERS = [
    ("SGD", {"lr": 0.05, "momentum": 0.9, "weight_decay": 0.01}),
    ("AdamW", {"lr": 0.02, "weight_decay": 0.1}),
    ("NAdam", {"lr": 0.02}),
]
SCHEDULERS = [
    ("CosineAnnealingLR", {"T_max": STEPS}),
    ("OneCycleLR", {"max_lr": 0.05, "total_steps": STEPS}),
    ("StepLR", {"step_size": 5, "gamma": 0.5}),
]
#: Each optimizer once, each with another scheduler.
CASES = [
    (*optimizer, *scheduler) for optimizer, scheduler in zip(OPTIMIZERS, SCHEDULERS, strict=True)
]

Case = tuple[str, dict[str, Any], str, dict[str, Any]]


def network() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(3, 16), nn.ReLU(), nn.Linear(16, 1))


def data() -> TensorDataset:
    x = torch.randn(ROWS, 3, generator=torch.Generator().manual_seed(1))
    return TensorDataset(x, x.sum(1, keepdim=True))


def loader() -> DataLoader[Any]:
    return DataLoader(data(), batch_size=BATCH)


def stepping(case: Case, whose: Any, params: Iterable[Tensor]) -> tuple[Any, Any]:
    """The optimizer and the scheduler of a case, ours or torch's."""
    optimizer_name, arguments, scheduler_name, more = case
    optimizer = getattr(whose, optimizer_name)(params, **arguments)
    return optimizer, getattr(whose.lr_scheduler, scheduler_name)(optimizer, **more)


def weights(model: nn.Module) -> list[Tensor]:
    return [p.detach().clone() for p in model.parameters()]


def assert_equal_trajectories(mine: list[list[Tensor]], torchs: list[list[Tensor]]) -> None:
    """Equal to rounding after every step, and they went somewhere."""
    assert len(mine) == len(torchs) >= 2
    for ours_now, theirs in zip(mine, torchs, strict=True):
        torch.testing.assert_close(ours_now, theirs, rtol=1e-5, atol=1e-6)
    assert not mine[0][0].allclose(mine[-1][0], atol=1e-3)


WHOSE = (ours, torch.optim)
