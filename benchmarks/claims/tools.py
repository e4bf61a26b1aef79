"""What experiments share: descents on functions of few numbers, and small trainings."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Iterable, Sequence
from functools import cache
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from downslope.tasks import load_task
from downslope.tasks.models import mlp

Make = Callable[[Any], torch.optim.Optimizer]
Loss = Callable[[Tensor], Tensor]


def descent(
    loss: Loss,
    start: Sequence[float],
    make: Make,
    steps: int,
    *,
    noise: float = 0.0,
    seed: int = 0,
    each: Callable[[torch.optim.Optimizer, int], None] = lambda optimizer, step: None,
) -> Tensor:
    """The points of a descent in float64, the start included: [steps + 1, numbers].

    Args:
        loss: of the point.
        start: the first one.
        make: parameters -> optimizer.
        steps: how many.
        noise: standard deviation of what is added to every number of a gradient.
        seed: of the noise.
        each: called before every step.
    """
    p = nn.Parameter(torch.tensor(start, dtype=torch.float64))
    optimizer = make([p])
    random = torch.Generator().manual_seed(seed)
    path = [p.detach().clone()]
    for step in range(steps):
        each(optimizer, step)
        optimizer.zero_grad()
        loss(p).backward()
        if noise:
            p.grad += noise * torch.randn(p.shape, generator=random, dtype=p.dtype)
        optimizer.step()
        path.append(p.detach().clone())
    return torch.stack(path)


def descents(
    loss: Loss, start: Sequence[float], make: Make, rates: Sequence[float], steps: int
) -> Tensor:
    """Descents at several learning rates side by side: [steps + 1, rates, numbers].

    Args:
        loss: of one point.
        start: the first one of each.
        make: groups -> optimizer; each group has its learning rate.
        rates: one a descent.
        steps: how many.
    """
    points = [nn.Parameter(torch.tensor(start, dtype=torch.float64)) for _ in rates]
    optimizer = make([{"params": [p], "lr": lr} for p, lr in zip(points, rates, strict=True)])
    slopes = torch.func.vmap(torch.func.grad(loss))
    path = [torch.stack([p.detach() for p in points])]
    for _ in range(steps):
        for p, g in zip(points, slopes(path[-1]).unbind(), strict=True):
            p.grad = g
        optimizer.step()
        path.append(torch.stack([p.detach() for p in points]))
    return torch.stack(path)


def steps_until(path: Tensor, loss: Loss, below: float) -> float:
    """The first step from which on the loss stays below; infinite if it never does."""
    losses = torch.func.vmap(loss)(path)
    over = torch.nonzero(~(losses < below)).flatten()
    first = int(over[-1]) + 1 if len(over) else 0
    return float(first) if first < len(losses) else math.inf


def median(values: Iterable[float]) -> float:
    """NaN counts as infinite: nothing good is said of a run that broke."""
    return statistics.median([math.inf if math.isnan(v) else v for v in values])


class Data(NamedTuple):
    """Rows to train on, and rows to judge by."""

    x: Tensor
    y: Tensor
    held_x: Tensor
    held_y: Tensor


@cache
def digits(rows: int = 1437) -> Data:
    """The handwritten digits as rows of 64 numbers from 0 to 1."""
    task = load_task("digits")
    (x, y), (held_x, held_y) = task.train.tensors, task.validation.tensors
    return Data(x.flatten(1)[:rows], y[:rows], held_x.flatten(1), held_y)


def network(*widths: int) -> Callable[[], nn.Module]:
    """Makes a perceptron of these widths, by default one for the digits."""
    return lambda: mlp(*(widths or (64, 48, 10)))


def sigmoids() -> nn.Module:
    """Eight layers of sigmoids, through which hardly a gradient comes."""
    return mlp(64, *[48] * 8, 10, activation=nn.Sigmoid)


class Trained(NamedTuple):
    """How a small training went."""

    model: nn.Module
    losses: list[float]  # of every batch
    held: list[float]  # of the held-out rows, every ``judge`` steps and at the end

    @property
    def last(self) -> float:
        """The held-out loss at the end."""
        return self.held[-1] if math.isfinite(self.held[-1]) else math.inf


def train(
    data: Data,
    make_model: Callable[[], nn.Module],
    make: Make,
    steps: int,
    *,
    seed: int = 0,
    batch: int = 64,
    judge: int = 0,
    loss: Callable[[Tensor, Tensor], Tensor] = F.cross_entropy,
    schedule: Callable[[float], float] = lambda share: 1.0,
    clip: float | None = None,
    clear: bool = True,
) -> Trained:
    """Train on random batches.

    Args:
        data: rows.
        make_model: makes the model, after seeding.
        make: parameters -> optimizer.
        steps: how many.
        seed: of weights and batches.
        batch: rows a step.
        judge: the held-out loss every so many steps.
        loss: of outputs and targets.
        schedule: factor of the learning rate by the share of the training that is done.
        clip: largest norm of the gradient.
        clear: whether gradients are cleared before each step.
    """
    torch.manual_seed(seed)
    model = make_model()
    optimizer = make(model.parameters())
    rates = [group["lr"] for group in optimizer.param_groups]
    random = torch.Generator().manual_seed(seed + 1)
    losses, held = [], []

    def judged() -> float:
        model.eval()
        with torch.no_grad():
            value = float(loss(model(data.held_x), data.held_y))
        model.train()
        return value

    for step in range(steps):
        for group, rate in zip(optimizer.param_groups, rates, strict=True):
            group["lr"] = rate * schedule(step / steps)
        rows = torch.randint(len(data.x), (batch,), generator=random)
        if clear:
            optimizer.zero_grad()
        value = loss(model(data.x[rows]), data.y[rows])
        losses.append(float(value.detach()))
        if not math.isfinite(losses[-1]):
            return Trained(model, losses, [*held, math.inf])
        value.backward()
        if clip is not None:
            nn.utils.clip_grad_norm_(model.parameters(), clip)
        optimizer.step()
        if judge and (step + 1) % judge == 0:
            held.append(judged())
    return Trained(model, losses, [*held, judged()])


def best(values: dict[float, float]) -> tuple[float, float]:
    """The learning rate with the least loss, and that loss."""
    rate = min(values, key=lambda lr: (values[lr], lr))
    return rate, values[rate]
