"""``differentiable=True``: gradients with respect to what a few steps were given."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.autograd import gradcheck

from .catalogue import CATALOGUE, Entry, each, each_variant
from .harness import build

STEPS = 4  # torch's own amsgrad and centered RMSprop break in the third
POINT = torch.tensor([0.7, -1.3], dtype=torch.float64)
CENTRE = torch.tensor([0.1, 0.4], dtype=torch.float64)


def unrolled(entry: Entry, start: Tensor, kwargs: dict[str, Any]) -> Tensor:
    """The parameter after a few steps on a loss of its own, inside autograd."""
    p = start.clone()
    optimizer = build(entry.ours, [p], {"differentiable": True})
    optimizer.param_groups[0].update(kwargs)  # not through build, which copies tensors
    for _ in range(STEPS):
        loss = ((p - CENTRE) ** 4).sum() + 0.5 * (p * p.roll(1)).sum()
        (p.grad,) = torch.autograd.grad(loss, p, create_graph=True)
        optimizer.step()
    return p


def scalar(value: float) -> Tensor:
    """A float64 number to differentiate by."""
    return torch.tensor(value, dtype=torch.float64, requires_grad=True)


def check(function: Callable[..., Tensor], *inputs: Tensor) -> None:
    """Autograd's gradient equals central differences."""
    assert gradcheck(function, inputs, eps=1e-6, atol=1e-5, rtol=1e-5)


def smooth(kwargs: dict[str, Any]) -> dict[str, Any]:
    """The arguments with an eps that central differences can follow, where there is one."""
    return {k: v for k, v in kwargs.items() if not isinstance(v, Tensor)}


@each_variant()
def test_start_and_lr(entry: Entry, variant: Any) -> None:
    """A few steps of every variant are differentiable in the starting point and the step size."""
    kwargs = smooth(dict(variant.kwargs))
    check(
        lambda p, lr: unrolled(entry, p, kwargs | {"lr": lr}),
        POINT.clone().requires_grad_(),
        scalar(0.02),
    )


@each()
def test_weight_decay(entry: Entry) -> None:
    """A few steps are differentiable in the weight decay."""
    check(
        lambda wd: unrolled(entry, POINT.clone().requires_grad_(), {"weight_decay": wd}),
        scalar(0.3),
    )


@each(tuple(e for e in CATALOGUE if e.name in {"Adam", "AdamW"}))
@pytest.mark.parametrize("amsgrad", [False, True])
def test_betas(entry: Entry, amsgrad: bool) -> None:
    """A few steps of Adam are differentiable in both betas."""
    check(
        lambda b1, b2: unrolled(
            entry, POINT.clone().requires_grad_(), {"betas": (b1, b2), "amsgrad": amsgrad}
        ),
        scalar(0.8),
        scalar(0.9),
    )


@each()
def test_lr_learns(entry: Entry) -> None:
    """Gradient descent on the learning rate itself lowers the loss after a few steps."""
    lr = scalar(0.001)

    def final() -> Tensor:
        p = POINT.clone().requires_grad_()
        return ((unrolled(entry, p, {"lr": lr}) - CENTRE) ** 2).sum()

    before = final()
    (slope,) = torch.autograd.grad(before, lr)
    with torch.no_grad():
        lr -= 1e-4 * slope.sign()
    assert final() < before
