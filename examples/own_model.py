"""A model and data of your own as a task: the loop, checkpoints and the report are then done.

The same in a terminal, in this folder:

    downslope train own_model:task
"""

from __future__ import annotations

import torch
from torch import nn
from torch.utils.data import TensorDataset

import downslope
from downslope.tasks import accuracy


def task(seed: int = 0) -> downslope.Task:
    """Points inside of the unit circle, and outside."""
    points = torch.randn(1000, 2, generator=torch.Generator().manual_seed(seed))
    inside = (points.norm(dim=1) < 1).long()
    return downslope.Task(
        name="circle",
        model=lambda: nn.Sequential(nn.Linear(2, 32), nn.ReLU(), nn.Linear(32, 2)),
        loss=nn.functional.cross_entropy,
        train=TensorDataset(points[:800], inside[:800]),
        validation=TensorDataset(points[800:], inside[800:]),
        metric=downslope.Metric("accuracy", accuracy, higher_is_better=True),
        batch_size=32,
        epochs=15,
        kind="classification",
    )


def main() -> None:
    circle = task()
    run = downslope.fit(circle, downslope.Recipe(optimizer="adamw", clip_norm=1.0))
    print(f"accuracy {run.best_metric:.3f}, at lr {run.recipe.lr:.3g}")
    model = run.model(task=circle)  # the best one, a plain torch module
    print("is (0.1, 0.2) inside?", model(torch.tensor([[0.1, 0.2]])).argmax().item() == 1)


if __name__ == "__main__":
    main()
