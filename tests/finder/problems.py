"""Small problems to test the range test on."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import TensorDataset

from downslope import RangeTest, find_lr, optim
from downslope.tasks import Metric, Task

mse = nn.functional.mse_loss


def problem(rows: int = 64) -> tuple[nn.Module, list[tuple[Tensor, Tensor]]]:
    """A linear regression with a known answer, in batches of 16."""
    torch.manual_seed(0)
    x = torch.randn(rows, 4)
    y = x @ torch.tensor([[1.0], [-2.0], [0.5], [3.0]])
    return nn.Linear(4, 1), list(zip(x.split(16), y.split(16), strict=True))


def sweep(**options: Any) -> RangeTest:
    model, loader = problem()
    optimizer = options.pop("optimizer", None) or optim.SGD(model.parameters(), 0.1, momentum=0.9)
    return find_lr(
        options.pop("model", model),
        options.pop("loss_fn", mse),
        options.pop("loader", loader),
        optimizer,
        **{"progress": False, **options},
    )


def line_task() -> Task:
    x = torch.linspace(-1, 1, 48)[:, None]
    data = TensorDataset(x, 3 * x + 0.1 * torch.sin(40 * x))
    return Task(
        name="line",
        model=lambda: nn.Sequential(nn.Linear(1, 8), nn.Tanh(), nn.Dropout(0.1), nn.Linear(8, 1)),
        loss=mse,
        train=data,
        validation=data,
        metric=Metric("mse", lambda o, t: float(mse(o, t)), higher_is_better=False),
        batch_size=8,
        epochs=3,
        kind="regression",
    )
