"""Metrics: functions of all validation outputs and targets; those of the built-in tasks."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch.nn.functional as F
from torch import Tensor

from ..errors import InputError, InputTypeError, told

__all__ = ["LOSS", "Metric", "accuracy", "bits", "rmse", "symbol_loss"]

LOSS = "loss"  #: the mean of the loss over the validation part, as the name of a metric


@dataclass(frozen=True)
class Metric:
    """A number that says how good the outputs on the whole validation part are.

    Args:
        name: shown in records, curves and the report, such as ``"accuracy"``.
        function: ``(outputs, targets) -> float``, called once with all rows of the validation
            part on the CPU, unless ``mean``.
        higher_is_better: whether a larger value is the better one.
        mean: whether the value is the mean of those of the batches, each counted by its rows. The
            function is then called batch by batch, and no outputs have to be kept.

    Raises:
        InputError: an empty name.
        InputTypeError: a field of another type.

    >>> from downslope.tasks import accuracy
    >>> Metric("accuracy", accuracy, higher_is_better=True).better(0.9, than=0.8)
    True
    """

    name: str
    function: Callable[[Tensor, Tensor], float]
    higher_is_better: bool
    mean: bool = False

    def __post_init__(self) -> None:
        if not isinstance(self.name, str) or not self.name:
            raise InputError(f"Metric: name must be a word such as 'accuracy', got {self.name!r}.")
        if not callable(self.function) or isinstance(self.function, type):
            raise InputTypeError(
                f"Metric {self.name!r}: function must be a function (outputs, targets) -> float, "
                f"got {told(self.function)}."
            )
        if not isinstance(self.higher_is_better, bool):
            raise InputTypeError(
                f"Metric {self.name!r}: higher_is_better must be True or False, got "
                f"{self.higher_is_better!r}."
            )

    def better(self, value: float, *, than: float | None) -> bool:
        """Whether ``value`` is strictly better than the best so far (``None``: nothing yet)."""
        if than is None:
            return True
        return value > than if self.higher_is_better else value < than


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


def bits(outputs: Tensor, targets: Tensor) -> float:
    """Cross-entropy in bits a symbol, ``mean(-log2 softmax(outputs)[target])``; 8 says nothing.

    Args:
        outputs: ``(..., symbols)``, scores.
        targets: ``(...)``, the symbols that came; bytes, for bits per byte.

    >>> import torch
    >>> bits(torch.zeros(5, 7, 256), torch.zeros(5, 7, dtype=torch.uint8))
    8.0...
    """
    return symbol_loss(outputs, targets).item() / math.log(2)


def symbol_loss(outputs: Tensor, targets: Tensor) -> Tensor:
    """Cross-entropy over the last axis, the mean over all others.

    Args:
        outputs: ``(..., symbols)``, scores.
        targets: ``(...)``, integers of any kind.
    """
    return F.cross_entropy(outputs.flatten(0, -2), targets.flatten().long())
