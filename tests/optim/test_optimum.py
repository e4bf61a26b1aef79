"""Every optimizer finds the minimum of a quadratic whose minimum is known."""

from __future__ import annotations

import torch

from .catalogue import ANY_SHAPE, Entry, Variant, each, each_variant
from .harness import build, quadratic

CURVATURE = torch.tensor([0.3, 1.0, 2.0, 5.0])
MINIMUM = torch.tensor([1.0, -2.0, 0.5, 3.0])


@each(ANY_SHAPE)
def test_finds_the_minimum(entry: Entry) -> None:
    """With a step size that decays to a thousandth, it ends within 0.001 of the minimum."""
    p = torch.zeros(4, requires_grad=True)
    optimizer = build(entry.ours, [p], entry.optimum)
    for _ in range(600):
        optimizer.zero_grad()
        (CURVATURE * (p - MINIMUM) ** 2).sum().backward()
        optimizer.step()
        optimizer.param_groups[0]["lr"] *= 0.99
    assert (p - MINIMUM).abs().max() < 1e-3


@each_variant(ANY_SHAPE)
def test_goes_downhill_or_up(entry: Entry, variant: Variant) -> None:
    """Ten steps of every variant lower the loss, or raise it where told to maximize."""
    p = torch.full((5,), 2.0, requires_grad=True)
    optimizer = build(entry.ours, [p], variant.kwargs)
    start = quadratic([p]).item()
    for _ in range(10):
        optimizer.zero_grad()
        quadratic([p]).backward()
        optimizer.step()
    assert (quadratic([p]).item() > start) == variant.kwargs.get("maximize", False)
