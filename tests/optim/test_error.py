"""Rounding: in single precision nothing drifts further from the formula than torch does."""

from __future__ import annotations

import torch
from torch import Tensor

from .catalogue import TWINNED, Entry, Variant, each_variant
from .harness import build, drive, follow_oracle, gradients, leaves

START = (torch.randn(50, 40, generator=torch.Generator().manual_seed(5)),)
ROWS = gradients(START, steps=200, seed=6)


def error(cls: type[torch.optim.Optimizer], variant: Variant, exact: Tensor) -> float:
    """Root mean square distance from the exact end of 200 steps."""
    params = leaves(START)
    drive(build(cls, params, variant.kwargs), ROWS)
    return (params[0].detach().double() - exact).square().mean().sqrt().item()


@each_variant(TWINNED)
def test_error_is_no_larger_than_torchs(entry: Entry, variant: Variant) -> None:
    """After 200 steps the distance from the float64 oracle is at most 1.1 of torch's."""
    (exact,), _ = follow_oracle(entry, START, ROWS, variant.kwargs)
    ours, theirs = (error(cls, variant, exact) for cls in (entry.ours, entry.torch))
    assert ours <= 1.1 * theirs
