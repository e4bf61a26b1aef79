"""``release_gradients()``: steps inside the backward pass."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import nn

from downslope.errors import EngineError
from downslope.optim import SGD, AdamW, Optimizer
from downslope.optim.lr_scheduler import StepLR
from downslope.schedules import cosine

from .harness import assert_same_bits, detached, quadratic


def model(dtype: torch.dtype = torch.float32) -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(70, 80), nn.Tanh(), nn.Linear(80, 3)).to(dtype)


def inputs(steps: int = 4) -> list[torch.Tensor]:
    make = torch.Generator().manual_seed(1)
    return [torch.randn(8, 70, generator=make) for _ in range(steps)]


def train(net: nn.Module, optimizer: Optimizer, scheduler: Any = None) -> list[torch.Tensor]:
    dtype = next(net.parameters()).dtype
    for x in inputs():
        optimizer.zero_grad()
        net(x.to(dtype)).float().square().mean().backward()
        optimizer.step()
        if scheduler is not None:
            scheduler.step()
    return detached(net.parameters())


@pytest.mark.parametrize(
    "kwargs",
    [
        {},
        {"storage": "int8"},
        {"foreach": False},
        {"clip_value": 0.01},
        {"clip_agc": 0.01},
        {"maximize": True},
    ],
    ids=str,
)
def test_the_same_bits_as_ordinary_steps(kwargs: dict[str, Any]) -> None:
    """Released or not, training ends at the same parameters, with the same state."""
    ends, states = [], []
    for released in (False, True):
        net = model()
        optimizer = AdamW(net.parameters(), 1e-2, **kwargs)
        if released:
            optimizer.release_gradients()
        ends.append(train(net, optimizer))
        saved = sorted(optimizer.state_dict()["state"].items())
        states.append([v for _, state in saved for v in state.values()])
    assert_same_bits(*ends)
    assert_same_bits(*states)


def test_gradients_are_gone_when_the_next_one_comes() -> None:
    """While the backward pass goes on, at most one gradient exists; after it, none."""
    net, alive = model(), []
    optimizer = AdamW(net.parameters(), 1e-2, storage="int8")
    optimizer.release_gradients()
    for p in net.parameters():
        p.register_hook(lambda g: alive.append(sum(q.grad is not None for q in net.parameters())))
    train(net, optimizer)
    assert max(alive) == 0
    assert all(p.grad is None for p in net.parameters())


def test_schedules_and_schedulers_move_on_with_step() -> None:
    """A schedule and a torch scheduler give each backward pass the rate that a step would have."""
    for scheduled in (False, True):
        ends = []
        for released in (False, True):
            net = model()
            lr = cosine(8) * 1e-2 if scheduled else 1e-2
            optimizer = SGD(net.parameters(), lr, momentum=0.9)
            if released:
                optimizer.release_gradients()
            ends.append(train(net, optimizer, None if scheduled else StepLR(optimizer, 2)))
        assert_same_bits(*ends)


def test_hooks_around_a_step_still_run() -> None:
    """Step hooks run when ``step`` counts."""
    net, seen = model(), []
    optimizer = AdamW(net.parameters(), 1e-2)
    optimizer.release_gradients()
    optimizer.register_step_post_hook(lambda *_: seen.append(1))
    train(net, optimizer)
    assert len(seen) == len(inputs())


def test_a_handle_ends_it() -> None:
    """After ``remove``, or outside the ``with`` block, a backward pass only leaves gradients."""
    p = torch.ones(3, requires_grad=True)
    optimizer = SGD([p], 0.1)
    with optimizer.release_gradients() as handle:
        assert optimizer.release_gradients() is handle
        quadratic([p]).backward()
        assert p.grad is None
    moved = p.detach().clone()
    quadratic([p]).backward()
    assert torch.equal(p.detach(), moved)
    assert p.grad is not None
    optimizer.step()
    assert not torch.equal(p.detach(), moved)


def test_a_new_group_is_released_too() -> None:
    """A group that is added later is stepped in the backward pass as well."""
    p, q = (torch.ones(3, requires_grad=True) for _ in range(2))
    optimizer = SGD([p], 0.1)
    optimizer.release_gradients()
    optimizer.add_param_group({"params": [q], "lr": 0.2})
    quadratic([p, q]).backward()
    assert p.grad is None
    assert q.grad is None
    assert (q < p).all()


def test_a_copy_is_an_ordinary_optimizer() -> None:
    """A deep copy does not step in anybody's backward pass."""
    p = torch.ones(3, requires_grad=True)
    optimizer = SGD([p], 0.1)
    optimizer.release_gradients()
    copied = copy.deepcopy(optimizer)
    (q,) = copied.param_groups[0]["params"]
    quadratic([q]).backward()
    assert torch.equal(q.detach(), torch.ones(3))


@pytest.mark.parametrize(
    ("kwargs", "words"),
    [
        ({"clip_norm": 1.0}, "clip_norm.*clip_value"),
        ({"on_nonfinite": "skip"}, "on_nonfinite"),
        ({"differentiable": True}, "differentiable"),
    ],
)
def test_what_needs_all_gradients_is_refused(kwargs: dict[str, Any], words: str) -> None:
    """What cannot work with one gradient at a time is refused, with what to do."""
    with pytest.raises(EngineError, match=words):
        AdamW(model().parameters(), **kwargs).release_gradients()


def test_clipping_that_comes_later_is_refused() -> None:
    """A ``clip_norm`` that is set after the release is refused at the next backward pass."""
    p = torch.ones(3, requires_grad=True)
    optimizer = SGD([p], 0.1, clip_norm=None, clip_value=1.0)
    optimizer.release_gradients()
    optimizer.param_groups[0]["clip_norm"] = 1.0
    with pytest.raises(EngineError, match="clip_norm"):
        quadratic([p]).backward()


def test_a_grad_scaler_is_refused() -> None:
    """A scaler that would divide gradients which are gone is an error at the step."""
    p = torch.ones(3, requires_grad=True)
    optimizer = AdamW([p], 0.1, fused=True)
    optimizer.release_gradients()
    optimizer.grad_scale = torch.tensor(2.0)
    optimizer.found_inf = torch.tensor(0.0)
    with pytest.raises(EngineError, match="GradScaler"):
        optimizer.step()
