"""What the rows of two data sets have in common: rows that repeat, and rows of both."""

from __future__ import annotations

from collections import Counter
from typing import Any

import torch
from torch import Tensor

__all__ = ["data_event"]

MOST_BYTES = 2**31  # of both together; beyond it looking would take seconds


def data_event(train: Tensor, validation: Tensor) -> dict[str, Any] | None:
    """The event ``data``: how many rows there are, how many repeat, how many are in both.

    Rows are the same where all their bytes are.

    Args:
        train: inputs to train on: [rows, ...].
        validation: inputs to judge by.

    Returns:
        ``rows`` and ``validation_rows``; ``repeated``: the share of the training rows that are
        there more than once; ``shared``: the share of the validation rows that are trained on.
        None where there is too much, or nothing.

    >>> event = data_event(torch.tensor([[1.0], [2.0], [2.0], [3.0]]), torch.tensor([[3.0], [4.0]]))
    >>> event["repeated"], event["shared"]
    (0.5, 0.5)
    """
    if not len(train) or not len(validation) or train.nbytes + validation.nbytes > MOST_BYTES:
        return None
    seen = Counter(_hashes(train))
    held = _hashes(validation)
    return {
        "event": "data",
        "rows": len(train),
        "validation_rows": len(held),
        "repeated": sum(n for n in seen.values() if n > 1) / len(train),
        "shared": sum(row in seen for row in held) / len(held),
    }


def _hashes(rows: Tensor) -> list[int]:
    """64 bits of each row."""
    content = rows.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes()
    width = len(content) // len(rows)
    return [hash(content[k : k + width]) for k in range(0, len(content), max(1, width))]
