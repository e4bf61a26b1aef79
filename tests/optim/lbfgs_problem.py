"""What LBFGS is tested on."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn import Parameter

Closure = Callable[[], Tensor]
WHOLE = {"line_search_fn": "strong_wolfe", "max_iter": 100}


def rosenbrock(w: Tensor) -> Tensor:
    """The chain of Rosenbrock's functions, whose minimum is at ones."""
    return ((1 - w[:-1]) ** 2 + 100 * (w[1:] - w[:-1] ** 2) ** 2).sum()


def start(dtype: torch.dtype = torch.float64) -> list[Tensor]:
    """A vector for Rosenbrock's function and a matrix."""
    make = torch.Generator().manual_seed(0)
    shapes = (10,), (3, 2)
    return [Parameter(0.5 * torch.randn(s, generator=make).to(dtype)) for s in shapes]


def closure_of(
    optimizer: torch.optim.Optimizer, f: Callable[..., Tensor] | None = None
) -> tuple[Closure, list[float]]:
    """A closure that minimises f of all parameters, and the losses that it saw."""
    params = [p for group in optimizer.param_groups for p in group["params"]]
    losses: list[float] = []

    def closure() -> Tensor:
        optimizer.zero_grad()
        loss = f(*params) if f else rosenbrock(params[0]) + (params[1] ** 4).sum()
        loss.backward()
        losses.append(loss.item())
        return loss

    return closure, losses


def run(optimizer: torch.optim.Optimizer, steps: int, **kwargs: Any) -> list[float]:
    """Step, and return the loss at every call of the closure."""
    closure, losses = closure_of(optimizer, **kwargs)
    for _ in range(steps):
        optimizer.step(closure)
    return losses
