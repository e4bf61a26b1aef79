"""Metrics of the built-in tasks: functions of all validation outputs and targets."""

from __future__ import annotations

from torch import Tensor

__all__ = ["accuracy", "rmse"]


def accuracy(outputs: Tensor, targets: Tensor) -> float:
    """Share of rows whose largest output is the target class, between 0 and 1.

    Args:
        outputs: ``(rows, classes)``, scores of any scale.
        targets: ``(rows,)``, class indices.

    >>> import torch
    >>> accuracy(torch.tensor([[2.0, 1.0], [0.0, 3.0]]), torch.tensor([0, 0]))
    0.5
    """
    return (outputs.argmax(dim=1) == targets).double().mean().item()


def rmse(outputs: Tensor, targets: Tensor, *, unit: float = 1.0) -> float:
    """Root of the mean squared error, ``unit * sqrt(mean((outputs - targets)**2))``.

    Args:
        outputs: any shape.
        targets: the same shape; broadcasting is refused, for ``(n, 1)`` against ``(n,)`` would
            compare every row with every other one.
        unit: size of 1.0 in the target's own units, where the target was standardised.

    >>> import torch
    >>> rmse(torch.tensor([1.0, 2.0]), torch.tensor([1.0, 4.0]), unit=10.0)
    14.14...
    """
    if outputs.shape != targets.shape:
        raise ValueError(
            f"rmse: outputs {tuple(outputs.shape)} and targets {tuple(targets.shape)} must have "
            "the same shape"
        )
    return unit * (outputs.double() - targets.double()).square().mean().sqrt().item()
