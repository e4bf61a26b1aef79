"""How long a run is where nobody says: epochs that make enough steps."""

from __future__ import annotations

import math

__all__ = ["STEPS", "epochs_for"]

STEPS = 1000  # fewest steps of a run


def epochs_for(rows: int, batch_size: int, *, fewest: int) -> int:
    """Epochs that make at least :data:`STEPS` steps.

    Args:
        rows: of the training part.
        batch_size: rows a step.
        fewest: epochs of a run on much data.

    >>> epochs_for(455, 32, fewest=10), epochs_for(100_000, 256, fewest=10)
    (67, 10)
    """
    return max(fewest, math.ceil(STEPS / math.ceil(rows / batch_size)))
