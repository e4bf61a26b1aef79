"""The first step of an optimizer: how far it goes beside the weights, which tells of the rate."""

from __future__ import annotations

import math
from dataclasses import dataclass

__all__ = ["FirstStep"]


@dataclass(frozen=True)
class FirstStep:
    """The norms of every parameter and of its step at a learning rate of 1.

    Args:
        norms: of the parameters.
        steps: of what is added to each.
        matrices: which are matrices or larger tensors.
    """

    norms: tuple[float, ...]
    steps: tuple[float, ...]
    matrices: tuple[bool, ...]

    @property
    def weights(self) -> float:
        """The norm of all weights; those that are all 0 count as 1."""
        return math.hypot(*self.norms) or 1.0

    @property
    def length(self) -> float:
        """The norm of the step; 0 where there is none (no gradient, or the scaler left it out)."""
        length = math.hypot(*self.steps)
        return length if math.isfinite(length) else 0.0

    @property
    def slowest(self) -> float | None:
        """Decades by which the matrix that changes least, beside its norm, lies below the whole.

        None where there is no step, or no matrix with a norm that it changes.
        """
        shares = [
            step / norm
            for norm, step, matrix in zip(self.norms, self.steps, self.matrices, strict=True)
            if matrix and norm and step
        ]
        if not shares or not self.length:
            return None
        return math.log10(self.length / self.weights / min(shares))
