"""The model for tables: linear, plus a hidden layer that has to earn its part.

A few hundred rows rarely support more than a linear model, and many thousand rows support much
more. So the linear path is always there, the hidden path starts at zero, and both are held back by
dropout as by a prior that is worth a fixed number of rows: the rate is ``k / (rows + k)``.

Dropout on the inputs of a linear model is ridge regression: on standardised columns a rate of ``p``
is a penalty of ``rows * p / (1 - p) = k`` (Srivastava et al., Dropout, JMLR 2014, section 9.1;
Wager et al., arXiv 1307.1493, for logistic regression). So a prior of k rows is a ridge of k.
"""

from __future__ import annotations

import math

from torch import Tensor, nn

__all__ = ["EPOCHS", "ROWS_A_UNIT", "TableModel", "batch_size_for", "power_of_two"]

INPUT_PRIOR = 40  # rows; ridge penalty of the inputs
HIDDEN_PRIOR = 1000  # rows; the hidden layer's prior
ROWS_A_UNIT = 25  # rows of training data that a hidden unit needs
HIDDEN = (8, 256)  # fewest and most hidden units
BATCHES = 16  # steps an epoch that a small table is cut into
BATCH_SIZE = (32, 256)
EPOCHS = 10  # fewest epochs of a run


class TableModel(nn.Module):
    """``linear(x) + hidden(x)`` on standardised columns, the second zero at the start.

    Args:
        features: columns.
        outputs: classes, or 1 for a regression, whose output then has the shape ``(rows,)``.
        rows: of the training part; more rows, a wider hidden layer and less dropout.

    >>> import torch
    >>> TableModel(features=3, outputs=1, rows=400)(torch.zeros(5, 3)).shape
    torch.Size([5])
    >>> TableModel(features=3, outputs=4, rows=400)(torch.zeros(5, 3)).shape
    torch.Size([5, 4])
    """

    def __init__(self, features: int, outputs: int, rows: int) -> None:
        super().__init__()
        hidden = power_of_two(rows / ROWS_A_UNIT, *HIDDEN)
        self.dropout = nn.Dropout(INPUT_PRIOR / (rows + INPUT_PRIOR))
        self.linear = _zero(nn.Linear(features, outputs))
        self.hidden = nn.Sequential(
            nn.Linear(features, hidden),
            nn.ReLU(),
            nn.Dropout(HIDDEN_PRIOR / (rows + HIDDEN_PRIOR)),
            _zero(nn.Linear(hidden, outputs, bias=False)),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Scores ``(rows, classes)``, or values ``(rows,)`` for a single output."""
        x = self.dropout(x)
        y: Tensor = self.linear(x) + self.hidden(x)
        return y.squeeze(1) if y.shape[1] == 1 else y


def batch_size_for(rows: int) -> int:
    """Rows a step: small tables in about :data:`BATCHES` batches, large ones in larger.

    >>> batch_size_for(455), batch_size_for(100_000)
    (32, 256)
    """
    return power_of_two(rows / BATCHES, *BATCH_SIZE)


def power_of_two(value: float, least: int, most: int) -> int:
    """The power of two nearest to ``value``, between two limits."""
    return int(min(most, max(least, 2 ** round(math.log2(value)))))


def _zero(layer: nn.Linear) -> nn.Linear:
    for parameter in layer.parameters():
        nn.init.zeros_(parameter)
    return layer
