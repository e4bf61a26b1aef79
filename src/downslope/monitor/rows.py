"""What the rows of two data sets have in common: rows that repeat, and rows of both."""

from __future__ import annotations

from collections import Counter
from typing import Any

import torch
from torch import Tensor

__all__ = ["data_event"]

MOST_ROWS = 4096  # in which a feature's values are counted
MOST_FEATURES = 64  # of a row, whose values are counted
MOST_BYTES = 2**31  # of both together; beyond it looking would take seconds


def data_event(train: Tensor, validation: Tensor) -> dict[str, Any] | None:
    """The event ``data``: how many rows there are, how many repeat, how many are in both.

    Rows are the same where all their bytes are.

    Args:
        train: inputs to train on: [rows, ...].
        validation: inputs to judge by.

    Returns:
        ``rows`` and ``validation_rows``; ``repeated``: the share of the training rows that are
        there more than once; ``shared``: the share of the validation rows that are trained on;
        ``finest``: the largest number of values of a feature, over that of different training
        rows. None where there is too much, or nothing.

    >>> event = data_event(torch.tensor([[1.0], [2.0], [2.0], [3.0]]), torch.tensor([[3.0], [4.0]]))
    >>> event["repeated"], event["shared"], event["finest"]
    (0.5, 0.5, 1.0)
    >>> pairs = torch.cartesian_prod(torch.arange(4), torch.arange(3)).repeat(2, 1)
    >>> data_event(pairs, pairs)["finest"] * 12  # of 12 different rows; 4 values and 3
    4.0
    """
    if not len(train) or not len(validation) or train.nbytes + validation.nbytes > MOST_BYTES:
        return None
    hashes, held = _hashes(train), _hashes(validation)
    seen = Counter(hashes)
    return {
        "event": "data",
        "rows": len(train),
        "validation_rows": len(held),
        "repeated": sum(n for n in seen.values() if n > 1) / len(train),
        "shared": sum(row in seen for row in held) / len(held),
        "finest": _finest(train, hashes),
    }


def _finest(rows: Tensor, hashes: list[int]) -> float:
    """Of the first different rows, how many one feature alone tells apart; of some features."""
    first = list({row: k for k, row in enumerate(hashes[:MOST_ROWS])}.values())
    features = rows[first].detach().flatten(1)
    values = features[:, :: -(-features.shape[1] // MOST_FEATURES)].cpu().sort(0).values
    return (1 + int((values[1:] != values[:-1]).sum(0).max())) / len(first)


def _hashes(rows: Tensor) -> list[int]:
    """64 bits of each row."""
    content = rows.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes()
    width = len(content) // len(rows)
    return [hash(content[k : k + width]) for k in range(0, len(content), max(1, width))]
