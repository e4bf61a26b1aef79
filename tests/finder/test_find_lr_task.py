"""A range test of a task: what is built from it."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from downslope import find_lr
from downslope.tasks import Task

from .problems import line_task


def test_a_task_is_enough() -> None:
    """With a task the rest is built, from the seed: the same twice, another with another seed."""
    first = find_lr(line_task(), progress=False)
    assert first.optimizer == "adamw"
    assert first == find_lr(line_task(), progress=False)
    assert first.losses != find_lr(line_task(), seed=1, progress=False).losses


def test_a_task_leaves_the_random_generators_alone() -> None:
    """Seeding the model does not seed the caller."""
    before = torch.get_rng_state()
    find_lr(line_task(), progress=False)
    assert torch.get_rng_state().equal(before)


def test_a_tasks_optimizer_takes_hyperparameters() -> None:
    """``optimizer`` is a name, ``hyperparameters`` its arguments."""
    plain = find_lr(line_task(), optimizer="sgd", progress=False)
    heavy = find_lr(line_task(), optimizer="SGD", hyperparameters={"momentum": 0.9}, progress=False)
    assert plain.optimizer == heavy.optimizer == "sgd"
    assert plain.losses[:2] == heavy.losses[:2]
    assert plain.losses != heavy.losses


def test_a_task_sees_new_orders_of_its_rows() -> None:
    """Each pass over a task's data is another permutation."""
    seen: list[float] = []
    task = line_task()

    class Watch(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = nn.Parameter(torch.zeros(1))

        def forward(self, x: Tensor) -> Tensor:
            seen.extend(x.flatten().tolist())
            return x * self.weight

    watched = Task(**{**vars(task), "model": Watch})
    find_lr(watched, iterations=12, start=1e-5, end=1e-3, progress=False)
    assert seen[:48] != seen[48:96]
    assert sorted(seen[:48]) == sorted(seen[48:96])


def test_a_tasks_own_length_is_the_plan() -> None:
    """Its epochs times its batches: the same as ``steps=`` says."""
    longer = Task(**{**vars(line_task()), "epochs": 50})
    assert find_lr(longer, progress=False) == find_lr(line_task(), steps=300, progress=False)
