"""What is done to gradients before a rule sees them: signs, unscaling, clipping.

Gradients are never rewritten. They are read once for their norms (``SQUARES``, a program that only
sums, or :func:`squares` in torch operations), and what follows from the norms is a factor that the
update multiplies with as it reads them a second time.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from ..rules import Rule
from .eager import widest

__all__ = ["SQUARES", "Treatment", "squares"]

Float64 = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Treatment:
    """What every group's gradients are multiplied with, one entry a group.

    Args:
        factor: -1 to maximise, 1 / scale to unscale. Norms are those of ``g * factor``.
        gain: what clipping to a norm leaves of them: at most 1. A tensor where the step is
            differentiated or must not be read by the host.
    """

    factor: tuple[float, ...]
    gain: tuple[Any, ...]

    def of(self, group: int) -> Any:
        """The whole factor of a group's gradients."""
        return self.factor[group] * self.gain[group]

    @cached_property
    def numbers(self) -> Float64:
        """The whole factor as float64 [groups]."""
        wholes = map(self.of, range(len(self.factor)))
        return np.array([float(w.detach() if isinstance(w, Tensor) else w) for w in wholes])

    @cached_property
    def factors(self) -> Float64:
        """The factor before the norm is known, as float64 [groups]."""
        return np.array(self.factor, np.float64)


def _squares(xp: Any, p: Any, g: Any) -> tuple[Any]:
    """In float64, where squares of float32 neither overflow nor vanish."""
    return (xp.f64(g) * xp.f64(g),)


SQUARES = Rule(_squares, "The sum of squares of a gradient.", slots=(), hypers=())


def squares(g: Tensor) -> Tensor:
    """The sum of squares of a gradient, sparse or complex ones too, in torch operations.

    >>> squares(torch.tensor([3.0, 4.0j]))
    tensor(25., dtype=torch.float64)
    """
    if g.is_sparse:
        g = g.coalesce().values()
    if g.is_complex():
        g = torch.view_as_real(g.resolve_conj())
    # No square of the whole tensor is kept, and the norm has a slope at 0 too.
    norm: Tensor = torch.linalg.vector_norm(g, dtype=widest(g.device))
    return norm * norm
