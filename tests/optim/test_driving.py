"""What drives an optimizer: groups added later, closures, hooks, the profiler, zero_grad."""

from __future__ import annotations

import inspect
from typing import Any

import pytest
import torch
from torch.optim.optimizer import (
    register_optimizer_step_post_hook,
    register_optimizer_step_pre_hook,
)
from torch.profiler import ProfilerActivity, profile

import downslope.optim
from downslope.schedules import linear

from .catalogue import BACKWARD, DRIVEN, TWINS, Entry, each, each_implementation
from .harness import (
    assert_same,
    assert_same_bits,
    build,
    detached,
    drive,
    leaves,
    quadratic,
    rows_of,
    start_of,
)

LEAVING_GRADIENTS = ("differentiable",)  # its parameters are no leaves, so nothing fills their grad


def start(entry: Entry) -> tuple[torch.Tensor, ...]:
    """The parameters' first values."""
    return start_of(entry, torch.float64)


def rows(entry: Entry) -> tuple[tuple[torch.Tensor, ...], ...]:
    """Their gradients in eight steps."""
    return rows_of(entry, start(entry), 8)


@each(TWINS)
def test_group_added_between_steps(entry: Entry) -> None:
    """A group that is added later, with its own lr, steps from then on as in torch."""
    ends = []
    for cls in (entry.ours, entry.torch):
        params = leaves(start(entry))
        optimizer = build(cls, params[:2])
        drive(optimizer, [row[:2] for row in rows(entry)[:3]])
        optimizer.add_param_group({"params": params[2:], "lr": 0.05})
        drive(optimizer, rows(entry)[3:])
        ends.append(params)
    assert_same(*ends, entry.slack)


def test_a_group_added_later_begins_its_schedule() -> None:
    """Its own steps count, not those that the others have done."""
    first, later = (torch.nn.Parameter(torch.zeros(1)) for _ in range(2))
    optimizer = downslope.optim.SGD([first], lr=linear(4))
    drive(optimizer, [[torch.ones(1)]] * 2)
    optimizer.add_param_group({"params": [later]})
    drive(optimizer, [[torch.ones(1)] * 2])
    assert [group["lr"] for group in optimizer.param_groups] == [0.5, 1.0]


@each(TWINS)
def test_named_parameters(entry: Entry) -> None:
    """``named_parameters()`` is taken, and the names come back in the state dict, as in torch."""
    module = torch.nn.Linear(3, 2, bias=False)
    ours, theirs = (build(c, module.named_parameters()) for c in (entry.ours, entry.torch))
    assert ours.state_dict()["param_groups"] == theirs.state_dict()["param_groups"]


@each_implementation(BACKWARD, without=LEAVING_GRADIENTS)
def test_closure(entry: Entry, flags: dict[str, Any]) -> None:
    """``step(closure)`` evaluates once, with gradients on, uses them and returns the loss."""
    params = leaves(start(entry))
    optimizer = build(entry.ours, params, flags)
    by_hand = leaves(start(entry))
    other = build(entry.ours, by_hand, flags)
    losses = []

    def closure() -> torch.Tensor:
        optimizer.zero_grad()
        loss = quadratic(params)
        loss.backward()
        losses.append(loss)
        return loss

    with torch.no_grad():
        returned = optimizer.step(closure)
    quadratic(by_hand).backward()
    other.step()
    assert [returned] == losses
    assert_same_bits(detached(params), detached(by_hand))


@each(DRIVEN)
def test_step_without_closure_returns_none(entry: Entry) -> None:
    """``step()`` returns None."""
    params = leaves(start(entry))
    optimizer = build(entry.ours, params)
    drive(optimizer, rows(entry)[:1])
    assert optimizer.step() is None


@each(DRIVEN)
def test_step_hooks_run_in_torchs_order(entry: Entry) -> None:
    """Global and own hooks run before and after each step, once each."""
    optimizer = build(entry.ours, leaves(start(entry)))
    calls: list[str] = []
    handles = [
        register_optimizer_step_pre_hook(lambda *_: calls.append("global before")),
        register_optimizer_step_post_hook(lambda *_: calls.append("global after")),
        optimizer.register_step_pre_hook(lambda *_: calls.append("before")),
        optimizer.register_step_post_hook(lambda *_: calls.append("after")),
    ]
    try:
        drive(optimizer, rows(entry)[:1])
    finally:
        for handle in handles:
            handle.remove()
    assert calls == ["global before", "before", "after", "global after"]


@each(DRIVEN)
def test_pre_hook_may_replace_the_arguments(entry: Entry) -> None:
    """A hook that returns new arguments hands its closure to the step."""
    params = leaves(start(entry))
    optimizer = build(entry.ours, params)
    drive(optimizer, rows(entry)[:1])
    optimizer.register_step_pre_hook(lambda o, args, kwargs: ((o, lambda: 42), kwargs))
    assert optimizer.step() == 42


def test_pre_hook_that_returns_something_else_is_refused() -> None:
    """As by torch: before the step changes anything."""
    p = torch.nn.Parameter(torch.ones(2))
    p.grad = torch.ones(2)
    optimizer = downslope.optim.SGD([p], lr=0.1)
    optimizer.register_step_pre_hook(lambda *_: "nonsense")  # type: ignore[arg-type,return-value]
    with pytest.raises(RuntimeError, match=r"before SGD\.step must return None or a tuple"):
        optimizer.step()
    assert torch.equal(p, torch.ones(2))


@each(DRIVEN)
def test_profiler_sees_the_step_under_torchs_name(entry: Entry) -> None:
    """The profiler records ``Optimizer.step#Class.step`` and ``Optimizer.zero_grad#...``, once."""
    optimizer = build(entry.ours, leaves(start(entry)))
    drive(optimizer, rows(entry)[:1])
    with profile(activities=[ProfilerActivity.CPU]) as trace:
        optimizer.step()
        optimizer.zero_grad()
    counts = {event.key: event.count for event in trace.key_averages()}
    assert counts[f"Optimizer.step#{entry.name}.step"] == 1
    assert counts[f"Optimizer.zero_grad#{entry.name}.zero_grad"] == 1


@each_implementation(BACKWARD, without=LEAVING_GRADIENTS)
def test_zero_grad(entry: Entry, flags: dict[str, Any]) -> None:
    """``zero_grad`` fills with zeros when told so, and drops the gradients otherwise."""
    params = leaves(start(entry))
    optimizer = build(entry.ours, params, flags)
    drive(optimizer, rows(entry)[:1])
    optimizer.zero_grad(set_to_none=False)
    assert all(not p.grad.any() for p in params)
    optimizer.zero_grad()
    assert all(p.grad is None for p in params)


@each(tuple(e for e in DRIVEN if "maximize" in inspect.signature(e.ours).parameters))
def test_maximize_climbs(entry: Entry) -> None:
    """``maximize=True`` on a loss is the plain step on its negative."""
    up, down = leaves(start(entry)), leaves(start(entry))
    plain = {"weight_decay": 0} if "weight_decay" in entry.ranges else {}
    drive(build(entry.ours, up, {"maximize": True, **plain}), rows(entry))
    negative = [[-g for g in row] for row in rows(entry)]
    drive(build(entry.ours, down, plain), negative)
    assert_same_bits(detached(up), detached(down))


@each(DRIVEN)
@pytest.mark.parametrize("enabled", [True, False], ids=["grad", "no_grad"])
def test_step_leaves_the_grad_mode(entry: Entry, enabled: bool) -> None:
    """A step changes neither the grad mode nor ``requires_grad`` of a parameter."""
    params = leaves(start(entry))
    optimizer = build(entry.ours, params)
    with torch.set_grad_enabled(enabled):
        drive(optimizer, rows(entry)[:1])
        assert torch.is_grad_enabled() is enabled
    assert all(p.requires_grad and p.is_leaf and p.grad_fn is None for p in params)


@each(DRIVEN)
def test_steps_in_inference_mode_or_after(entry: Entry) -> None:
    """A step inside ``torch.inference_mode`` on ordinary parameters works, as in torch."""
    params = leaves(start(entry))
    optimizer = build(entry.ours, params)
    drive(optimizer, rows(entry)[:1])
    with torch.inference_mode():
        optimizer.step()
    assert all(torch.isfinite(p).all() for p in params)


def test_averaged_weights_as_with_torch() -> None:
    """Torch's weight averaging and its learning-rate schedule give what they give with torch's."""
    averages = []
    for module in (downslope.optim, torch.optim):
        torch.manual_seed(0)
        model = torch.nn.Linear(3, 2)
        optimizer = module.SGD(model.parameters(), lr=0.5)
        average = torch.optim.swa_utils.AveragedModel(model)
        schedule = torch.optim.swa_utils.SWALR(optimizer, swa_lr=0.05, anneal_epochs=3)
        for _ in range(6):
            quadratic(model.parameters()).backward()
            optimizer.step()
            optimizer.zero_grad()
            schedule.step()
            average.update_parameters(model)
        averages.append([p.detach() for p in average.module.parameters()])
    assert_same(*averages)
