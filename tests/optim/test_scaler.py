"""torch.amp.GradScaler over our optimizers, on the CPU."""

from __future__ import annotations

from typing import Any

import torch

from .catalogue import TWINNED, Entry, each, each_implementation
from .harness import (
    assert_equal_state,
    assert_same,
    assert_same_bits,
    build,
    detached,
    drive,
    gradients,
    leaves,
    snapshot,
    tensors,
    zoo,
)

SCALE = 2.0**10  # a power of two: scaling and unscaling then round nothing
ROWS = gradients(zoo(), 4)


def scaled_steps(
    optimizer: torch.optim.Optimizer, rows: Any, *, unscale_first: bool = False
) -> list[float]:
    """Step with gradients of a scaled loss; returns the scale after each step."""
    scaler = torch.amp.GradScaler("cpu", init_scale=SCALE, growth_interval=1000)
    params = [p for group in optimizer.param_groups for p in group["params"]]
    scales = []
    for row in rows:
        loss = torch.stack([(p * g).sum() for p, g in zip(params, row, strict=True)]).sum()
        optimizer.zero_grad()
        scaler.scale(loss).backward()
        if unscale_first:
            scaler.unscale_(optimizer)
        scaler.step(optimizer)
        scaler.update()
        scales.append(scaler.get_scale())
    return scales


@each_implementation(without=("differentiable",))
def test_scaled_steps_are_plain_steps(entry: Entry, flags: dict[str, Any]) -> None:
    """Scaling the loss and unscaling in the step gives the parameters and state of plain steps."""
    for unscale_first in (False, True):
        plain, scaled = leaves(zoo()), leaves(zoo())
        other, optimizer = (build(entry.ours, p, flags) for p in (plain, scaled))
        drive(other, ROWS)
        scaled_steps(optimizer, ROWS, unscale_first=unscale_first)
        assert_same(scaled, plain)
        assert_equal_state(snapshot(optimizer), snapshot(other))


@each_implementation(without=("differentiable",))
def test_an_infinite_gradient_skips_the_step(entry: Entry, flags: dict[str, Any]) -> None:
    """On an infinite gradient neither a parameter nor a state changes, and the scale is halved."""
    for variant in (v for v in entry.variants if "lr" not in v.kwargs):
        params = leaves(zoo())
        optimizer = build(entry.ours, params, variant.kwargs, flags)
        drive(optimizer, ROWS[:3])
        moved, state = [p.detach().clone() for p in params], snapshot(optimizer)
        infinite = [g.clone() for g in ROWS[3]]
        infinite[-1].view(-1)[17] = float("inf")
        assert scaled_steps(optimizer, [infinite]) == [SCALE / 2]
        assert_same_bits(detached(params), moved)
        assert_same_bits(*map(tensors, (snapshot(optimizer), state)))


@each_implementation(without=("differentiable",))
def test_an_infinite_gradient_at_the_first_step(entry: Entry, flags: dict[str, Any]) -> None:
    """A skipped first step does not count: the run then goes as if it had not been."""
    for variant in (v for v in entry.variants if "lr" not in v.kwargs):
        plain, scaled = leaves(zoo()), leaves(zoo())
        optimizer = build(entry.ours, scaled, variant.kwargs, flags)
        infinite = [torch.full_like(g, float("inf")) for g in ROWS[0]]
        scaled_steps(optimizer, [infinite, *ROWS])
        drive(build(entry.ours, plain, variant.kwargs, flags), ROWS)
        assert_same(scaled, plain)


@each(TWINNED)
def test_same_as_torch_under_a_growing_scale(entry: Entry) -> None:
    """With a scale that grows every other step, the parameters follow torch's."""
    ends = []
    for cls in (entry.ours, entry.torch):
        params = leaves(zoo())
        optimizer = build(cls, params)
        scaler = torch.amp.GradScaler("cpu", init_scale=SCALE, growth_interval=2)
        for row in ROWS:
            loss = torch.stack([(p * g).sum() for p, g in zip(params, row, strict=True)]).sum()
            optimizer.zero_grad()
            scaler.scale(loss).backward()
            scaler.step(optimizer)
            scaler.update()
        ends.append(params)
    assert_same(*ends)
