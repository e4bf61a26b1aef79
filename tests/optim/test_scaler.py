"""torch.amp.GradScaler over our optimizers, on the CPU."""

from __future__ import annotations

from typing import Any

import torch

from .catalogue import BACKWARD, TWINS, Entry, each, each_implementation
from .harness import (
    assert_equal_state,
    assert_same,
    assert_same_bits,
    build,
    detached,
    drive,
    leaves,
    rows_of,
    snapshot,
    start_of,
    tensors,
)

SCALE = 2.0**10  # a power of two: scaling and unscaling then round nothing


def rows(entry: Entry) -> tuple[tuple[torch.Tensor, ...], ...]:
    """The gradients of four steps."""
    return rows_of(entry, start_of(entry), 4)


def scaled_steps(
    optimizer: torch.optim.Optimizer, given: Any, *, unscale_first: bool = False
) -> list[float]:
    """Step with gradients of a scaled loss; returns the scale after each step."""
    scaler = torch.amp.GradScaler("cpu", init_scale=SCALE, growth_interval=1000)
    params = [p for group in optimizer.param_groups for p in group["params"]]
    scales = []
    for row in given:
        loss = torch.stack([(p * g).sum() for p, g in zip(params, row, strict=True)]).sum()
        optimizer.zero_grad()
        scaler.scale(loss).backward()
        if unscale_first:
            scaler.unscale_(optimizer)
        scaler.step(optimizer)
        scaler.update()
        scales.append(scaler.get_scale())
    return scales


@each_implementation(BACKWARD, without=("differentiable",))
def test_scaled_steps_are_plain_steps(entry: Entry, flags: dict[str, Any]) -> None:
    """Scaling the loss and unscaling in the step gives the parameters and state of plain steps."""
    for unscale_first in (False, True):
        plain, scaled = leaves(start_of(entry)), leaves(start_of(entry))
        other, optimizer = (build(entry.ours, p, flags) for p in (plain, scaled))
        drive(other, rows(entry))
        scaled_steps(optimizer, rows(entry), unscale_first=unscale_first)
        assert_same(scaled, plain)
        assert_equal_state(snapshot(optimizer), snapshot(other))


@each_implementation(BACKWARD, without=("differentiable",))
def test_an_infinite_gradient_skips_the_step(entry: Entry, flags: dict[str, Any]) -> None:
    """On an infinite gradient neither a parameter nor a state changes, and the scale is halved."""
    for variant in (v for v in entry.variants if "lr" not in v.kwargs):
        params = leaves(start_of(entry))
        optimizer = build(entry.ours, params, variant.kwargs, flags)
        drive(optimizer, rows(entry)[:3])
        moved, state = [p.detach().clone() for p in params], snapshot(optimizer)
        infinite = [g.clone() for g in rows(entry)[3]]
        infinite[-1].view(-1)[17] = float("inf")
        assert scaled_steps(optimizer, [infinite]) == [SCALE / 2]
        assert_same_bits(detached(params), moved)
        assert_same_bits(*map(tensors, (snapshot(optimizer), state)))


@each_implementation(BACKWARD, without=("differentiable",))
def test_an_infinite_gradient_at_the_first_step(entry: Entry, flags: dict[str, Any]) -> None:
    """A skipped first step does not count: the run then goes as if it had not been."""
    for variant in (v for v in entry.variants if "lr" not in v.kwargs):
        plain, scaled = leaves(start_of(entry)), leaves(start_of(entry))
        optimizer = build(entry.ours, scaled, variant.kwargs, flags)
        infinite = [torch.full_like(g, float("inf")) for g in rows(entry)[0]]
        scaled_steps(optimizer, [infinite, *rows(entry)])
        drive(build(entry.ours, plain, variant.kwargs, flags), rows(entry))
        assert_same(scaled, plain)


@each(tuple(e for e in TWINS if e in BACKWARD))
def test_same_as_torch_under_a_growing_scale(entry: Entry) -> None:
    """With a scale that grows every other step, the parameters follow torch's."""
    ends = []
    for cls in (entry.ours, entry.torch):
        params = leaves(start_of(entry))
        optimizer = build(cls, params)
        scaler = torch.amp.GradScaler("cpu", init_scale=SCALE, growth_interval=2)
        for row in rows(entry):
            loss = torch.stack([(p * g).sum() for p, g in zip(params, row, strict=True)]).sum()
            optimizer.zero_grad()
            scaler.scale(loss).backward()
            scaler.step(optimizer)
            scaler.update()
        ends.append(params)
    assert_same(*ends, entry.slack)
