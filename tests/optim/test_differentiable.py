"""``differentiable=True``: gradients with respect to what a few steps were given."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd import gradcheck
from torch.func import functional_call

from downslope.optim import Adagrad
from downslope.rules import Hyper

from .catalogue import Entry, each, each_variant
from .harness import build

FAR = 5.0  # a target that is not reached: a gradient near 0 has no slope to compare
STEPS = 4  # torch's own amsgrad and centered RMSprop break in the third
POINT = torch.tensor([0.7, -1.3], dtype=torch.float64)
CENTRE = torch.tensor([0.1, 0.4], dtype=torch.float64)


def unrolled(entry: Entry, start: Tensor, kwargs: dict[str, Any], steps: int = STEPS) -> Tensor:
    """The parameter after a few steps on a loss of its own, inside autograd."""
    p = start.clone()
    optimizer = build(entry.ours, [p], {"differentiable": True})
    optimizer.param_groups[0].update(kwargs)  # not through build, which copies tensors
    for _ in range(steps):
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
def test_every_hyperparameter(entry: Entry) -> None:
    """Many steps are differentiable in all hyperparameters at once."""
    point = POINT.clone().requires_grad_()
    defaults = entry.ours([POINT.clone()]).param_groups[0]
    hypers = [h for h in entry.ours.rule.scalar_hypers if _movable(h.of(defaults))]
    if entry.name == "SGD":
        defaults["momentum"] = 0.7  # without it there is nothing to dampen
    if "decoupled_weight_decay" in defaults:
        defaults["decoupled_weight_decay"] = True

    def ends(*values: Tensor) -> Tensor:
        kwargs = {k: v for k, v in defaults.items() if k != "params"}
        for hyper, value in zip(hypers, values, strict=True):
            if hyper.index is None:
                kwargs[hyper.group_key] = value
            else:
                parts = list(kwargs[hyper.group_key])
                parts[hyper.index] = value
                kwargs[hyper.group_key] = tuple(parts)
        return unrolled(entry, point, kwargs | {"differentiable": True}, steps=12)

    check(ends, *(scalar(_inside(h, float(h.of(defaults)))) for h in hypers))


def _movable(value: Any) -> bool:
    return value is not None and math.isfinite(value)


def _inside(hyper: Hyper, value: float) -> float:
    """A value that central differences can move both ways, and whose slope they can tell."""
    if hyper.name == "lr":
        return 0.01
    return max(value, 0.1 if hyper.name == "eps" else 0.02) if hyper.low == 0 else value


@each()
def test_through_a_network(entry: Entry) -> None:
    """Two layers, called with copies of what is stepped, as the documentation has it."""
    model = nn.Sequential(nn.Linear(2, 3), nn.Tanh(), nn.Linear(3, 1)).double()
    x = torch.linspace(-1, 1, 8, dtype=torch.float64).reshape(4, 2)

    def end(lr: Tensor) -> Tensor:
        params = {name: p.clone() for name, p in model.named_parameters()}
        optimizer = entry.ours(params.values(), differentiable=True)
        optimizer.param_groups[0]["lr"] = lr

        def loss() -> Tensor:
            copies = {name: p.clone() for name, p in params.items()}
            outputs = functional_call(model, copies, x)
            return (outputs - FAR).square().mean()

        for _ in range(8):
            grads = torch.autograd.grad(loss(), list(params.values()), create_graph=True)
            for p, g in zip(params.values(), grads, strict=True):
                p.grad = g
            optimizer.step()
        return loss()

    check(end, scalar(0.01))


def test_what_a_slot_begins_with() -> None:
    """Where a hyperparameter is a slot's first value, a slope flows through that."""

    def ends(value: Tensor) -> Tensor:
        p = POINT.clone().requires_grad_().clone()
        optimizer = Adagrad([p], lr=0.1, initial_accumulator_value=value, differentiable=True)
        for _ in range(STEPS):
            (p.grad,) = torch.autograd.grad((p.clone() ** 2).sum(), p, create_graph=True)
            optimizer.step()
        return p

    check(ends, scalar(0.3))


@each()
def test_elements_without_gradient(entry: Entry) -> None:
    """Where a gradient is 0 at every step, slopes are finite (torch's become NaN)."""
    start, lr = torch.tensor([0.5, -0.3, 0.0]).double().requires_grad_(), scalar(0.01)
    p = start.clone()
    optimizer = build(entry.ours, [p], {"differentiable": True})
    optimizer.param_groups[0]["lr"] = lr
    for _ in range(STEPS):
        (p.grad,) = torch.autograd.grad((torch.relu(p) ** 2).sum(), p, create_graph=True)
        optimizer.step()
    for slope in torch.autograd.grad(p.sum(), [start, lr]):
        assert slope.isfinite().all()


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
