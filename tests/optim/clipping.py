"""What tests of clipping by norms share: gradients, their norms, what clipping leaves of them."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import Tensor

from .catalogue import Entry
from .harness import (
    follow_oracle,
    gradients,
    rows_of,
    start_of,
    zoo,
)

__all__ = ["FULL", "LIMIT", "ROWS", "STEPS", "expected", "near", "norm", "rows", "shortened"]

STEPS = 5
ROWS = gradients(zoo(), STEPS)


def rows(entry: Entry) -> tuple[tuple[Tensor, ...], ...]:
    """The gradients of a few steps, in the form that an optimizer takes."""
    return rows_of(entry, start_of(entry), STEPS)


#: Gradients with norms of 4, 2 and 3.
FULL = [torch.full((3,), g) for g in (4 / math.sqrt(3), 2 / math.sqrt(3), 3 / math.sqrt(3))]
LIMIT = 1.5  # the zoo's gradients have a norm of about 35


def norm(row: Iterable[Tensor]) -> float:
    """The norm of all of these, in float64."""
    dense = [g.to_dense() if g.is_sparse else g for g in row]
    parts = [torch.view_as_real(g) if g.is_complex() else g for g in dense]
    return math.sqrt(sum(float((g.double().numpy() ** 2).sum()) for g in parts))


def near(flags: dict[str, Any]) -> float:
    """How near a norm is: the compiled engine begins sums of float32 squares in float32."""
    operations = flags.get("foreach") is not None or flags.get("differentiable")
    return 1e-12 if operations else 2e-7


def shortened(row: Sequence[Tensor], limit: float = LIMIT) -> list[Tensor]:
    """The gradients as torch's recipe leaves them, computed in float64."""
    share = min(1.0, limit / (norm(row) + 1e-6))
    wide = (g.to(torch.complex128 if g.is_complex() else torch.float64) for g in row)
    return [g * share for g in wide]


def expected(entry: Entry, kwargs: Any = (), limit: float = LIMIT) -> list[Tensor]:
    """Where the oracle goes with the shortened gradients."""
    short = [shortened(row, limit) for row in rows(entry)]
    ends, _ = follow_oracle(entry, start_of(entry), short, dict(kwargs))
    return [e.float() for e in ends]
