"""A model's outputs as the columns of a prediction."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

__all__ = ["class_columns"]


def class_columns(target: str, classes: Sequence[str], scores: Tensor) -> dict[str, NDArray[Any]]:
    """``predicted_TARGET``, and ``probability_CLASS`` for each class.

    Args:
        target: what was to be predicted.
        classes: what the classes are called.
        scores: ``(rows, classes)``, before the softmax.

    >>> import torch
    >>> sorted(class_columns("kind", ["a", "b"], torch.tensor([[3.0, 1.0]])))
    ['predicted_kind', 'probability_a', 'probability_b']
    """
    shares = scores.double().softmax(dim=1).numpy()
    return {
        f"predicted_{target}": np.asarray(classes)[scores.argmax(dim=1).numpy()],
        **{f"probability_{name}": shares[:, i] for i, name in enumerate(classes)},
    }
