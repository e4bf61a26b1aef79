"""torch's schedulers in many settings, each built on torch's classes or on ours."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.optim.lr_scheduler as theirs
from torch.optim import Optimizer

__all__ = [
    "ADDED",
    "BUILD",
    "NAMES",
    "PLATEAU",
    "STEPS",
    "every_build",
    "every_plateau",
    "metric",
    "momentums",
    "n",
    "now",
    "run",
    "same",
    "sequential",
    "sgd",
    "wave",
]

STEPS = 200
NAMES = sorted(set(theirs.__all__) - {"LRScheduler"})
ADDED = {"verbose", "average"}


def sgd(*lrs: float, tensor: bool = False) -> Optimizer:
    """An optimizer with a group for each learning rate; its parameters have no gradient."""
    groups = [
        {
            "params": [torch.nn.Parameter(torch.zeros(1))],
            "lr": torch.tensor(lr, dtype=torch.float64) if tensor else lr,
        }
        for lr in lrs or (0.1,)
    ]
    return torch.optim.SGD(groups, momentum=0.9)


def now(optimizer: Optimizer) -> list[float]:
    return [float(group["lr"]) for group in optimizer.param_groups]


def run(
    scheduler: Any,
    steps: int,
    metrics: Callable[[int], float] | None = None,
    also: Callable[[Optimizer], list[float]] = lambda optimizer: [],
) -> list[Any]:
    """The learning rates of ``steps`` epochs, each read before the scheduler's step."""
    seen = []
    for epoch in range(steps):
        seen.append(now(scheduler.optimizer) + also(scheduler.optimizer))
        scheduler.optimizer.step()
        scheduler.step(*([metrics(epoch)] if metrics else []))
    return [*seen, now(scheduler.optimizer) + also(scheduler.optimizer)]


def momentums(optimizer: Optimizer) -> list[float]:
    return [float(group["momentum"]) for group in optimizer.param_groups]


def same(a: Any, b: Any, rel: float = 1e-9) -> bool:
    return torch.allclose(
        torch.tensor(a, dtype=torch.float64), torch.tensor(b, dtype=torch.float64), rel, 1e-15
    )


def sequential(module: Any, optimizer: Optimizer, **extra: Any) -> Any:
    parts = [
        module.LinearLR(optimizer, start_factor=0.1, total_iters=5),
        module.StepLR(optimizer, step_size=20, gamma=0.5),
        module.CosineAnnealingLR(optimizer, T_max=60, eta_min=1e-4),
    ]
    return module.SequentialLR(optimizer, parts, milestones=[7, 90], **extra)


def n(optimizer: Optimizer) -> int:
    return len(optimizer.param_groups)


def wave(epoch: int) -> float:
    return 1 + 0.5 * math.cos(epoch)


BUILD: dict[str, Callable[[Any, Optimizer], Any]] = {
    "lambda": lambda m, o: m.LambdaLR(o, wave),
    "lambda a group": lambda m, o: m.LambdaLR(o, [wave] * len(o.param_groups)),
    "multiplicative": lambda m, o: m.MultiplicativeLR(o, lambda e: 0.9 if e % 3 else 1.1),
    "multistep": lambda m, o: m.MultiStepLR(o, [7, 60, 60, 150], gamma=0.3),
    "multistep from 0": lambda m, o: m.MultiStepLR(o, [90, 30], gamma=1.5),
    "constant": lambda m, o: m.ConstantLR(o),
    "constant long": lambda m, o: m.ConstantLR(o, factor=0.25, total_iters=77),
    "exponential": lambda m, o: m.ExponentialLR(o, 0.97),
    "exponential growing": lambda m, o: m.ExponentialLR(o, 1.02),
    "polynomial": lambda m, o: m.PolynomialLR(o, total_iters=120, power=1.7),
    "polynomial default": lambda m, o: m.PolynomialLR(o),
    "restarts": lambda m, o: m.CosineAnnealingWarmRestarts(o, 13, eta_min=1e-3),
    "restarts growing": lambda m, o: m.CosineAnnealingWarmRestarts(o, 7, T_mult=2),
    "cyclic": lambda m, o: m.CyclicLR(o, 0.01, 0.3, 8, 15),
    "cyclic each group": lambda m, o: m.CyclicLR(o, [0.01] * n(o), [0.3, 0.2][: n(o)], 8),
    "triangular2": lambda m, o: m.CyclicLR(o, 0.01, 0.3, 8, mode="triangular2"),
    "exp_range": lambda m, o: m.CyclicLR(o, 0.01, 0.3, 8, mode="exp_range", gamma=0.99),
    "cyclic own": lambda m, o: m.CyclicLR(o, 0.01, 0.3, 8, scale_fn=wave, scale_mode="iterations"),
    "cyclic still": lambda m, o: m.CyclicLR(o, 0.01, 0.3, 8, cycle_momentum=False),
    "one cycle": lambda m, o: m.OneCycleLR(o, 0.3, total_steps=STEPS + 1),
    "one cycle linear": lambda m, o: m.OneCycleLR(
        o, 0.3, epochs=67, steps_per_epoch=3, pct_start=0.2, anneal_strategy="linear"
    ),
    "one cycle in three": lambda m, o: m.OneCycleLR(
        o, 0.3, total_steps=STEPS + 1, three_phase=True, cycle_momentum=False
    ),
    "step": lambda m, o: m.StepLR(o, step_size=30),
    "step each epoch": lambda m, o: m.StepLR(o, 1, gamma=0.97),
    "step gamma 0": lambda m, o: m.StepLR(o, 3, gamma=0),
    "step growing": lambda m, o: m.StepLR(o, step_size=7, gamma=1.3),
    "linear default": lambda m, o: m.LinearLR(o),
    "linear warmup": lambda m, o: m.LinearLR(o, start_factor=0.01, total_iters=50),
    "linear decay": lambda m, o: m.LinearLR(o, 1.0, 0.25, 120),
    "linear to zero": lambda m, o: m.LinearLR(o, start_factor=1.0, end_factor=0, total_iters=40),
    "linear one epoch": lambda m, o: m.LinearLR(o, start_factor=0.5, total_iters=1),
    "cosine": lambda m, o: m.CosineAnnealingLR(o, T_max=200),
    "cosine with floor": lambda m, o: m.CosineAnnealingLR(o, T_max=50, eta_min=1e-3),
    "cosine up and down": lambda m, o: m.CosineAnnealingLR(o, T_max=13, eta_min=1e-6),
    "cosine T_max 1": lambda m, o: m.CosineAnnealingLR(o, T_max=1, eta_min=1e-3),
    "cosine fractional": lambda m, o: m.CosineAnnealingLR(o, T_max=62.5, eta_min=1e-3),
    "cosine floor above": lambda m, o: m.CosineAnnealingLR(o, T_max=30, eta_min=2.0),
    "sequence": sequential,
    "sequence of one": lambda m, o: m.SequentialLR(o, [m.StepLR(o, 9)], milestones=[]),
    "sequence from 0": lambda m, o: m.SequentialLR(
        o, [m.LinearLR(o), m.StepLR(o, 50)], milestones=[0]
    ),
    "sequence with torch's": lambda m, o: m.SequentialLR(
        o,
        [m.LinearLR(o), theirs.ExponentialLR(o, 0.9), theirs.LambdaLR(o, lambda e: 1 / (1 + e))],
        milestones=[30, 100],
    ),
    "two together": lambda m, o: m.ChainedScheduler(
        [m.LinearLR(o, 0.1, total_iters=20), m.StepLR(o, 15, 0.5), m.CosineAnnealingLR(o, 150)]
    ),
}
every_build = pytest.mark.parametrize("build", BUILD.values(), ids=BUILD)

PLATEAU: dict[str, dict[str, Any]] = {
    "default": {"patience": 5},
    "guide": {"mode": "min", "factor": 0.1, "patience": 5, "min_lr": 1e-6},
    "max": {"mode": "max", "factor": 0.5, "patience": 3},
    "absolute": {"threshold_mode": "abs", "threshold": 0.05, "patience": 2, "factor": 0.7},
    "max absolute": {"mode": "max", "threshold_mode": "abs", "threshold": 0.01, "patience": 4},
    "cooldown": {"patience": 1, "cooldown": 6, "factor": 0.8},
    "several min_lr": {"patience": 2, "min_lr": [1e-2, 1e-3], "factor": 0.6},
    "eps": {"patience": 0, "eps": 1e-3, "factor": 0.5},
}
every_plateau = pytest.mark.parametrize("arguments", PLATEAU.values(), ids=PLATEAU)


def metric(epoch: int) -> float:
    """A loss that falls, jitters and stalls."""
    return 1 / (1 + 0.05 * min(epoch, 60)) + 0.02 * math.sin(12.9898 * epoch)
