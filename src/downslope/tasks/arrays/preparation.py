"""From arrays to inputs, and from outputs to classes or values."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ...errors import InputError
from ..answers import class_columns
from ..preparation import FileBatch, ModelSource, Preparation, spread
from .file import find_inputs, numbers, read_arrays

__all__ = ["ArrayPreparation"]

Array = NDArray[Any]


@dataclass(frozen=True)
class ArrayPreparation(Preparation):
    """How arrays become inputs: ``(x - mean) / deviation``.

    Args:
        model: how the model is made.
        shape: of one input.
        column: of a single array, which was the target; ``None``: they have arrays of their own.
        target: what the array of the targets is called.
        mean: of each feature, or one for all, in the training part.
        deviation: the standard deviation; 0 where it is constant, which becomes zero everywhere.
        classes: what they are called; ``None`` for a regression.
        target_mean: of each value to predict.
        target_deviation: of each value to predict.
    """

    kind: ClassVar[str] = "arrays"
    model: ModelSource
    shape: tuple[int, ...]
    column: int | None
    target: str
    mean: tuple[float, ...]
    deviation: tuple[float, ...]
    classes: tuple[str, ...] | None
    target_mean: tuple[float, ...] = ()
    target_deviation: tuple[float, ...] = ()

    def read(self, path: Path, batch_size: int) -> Iterator[FileBatch]:
        """The rows of a file of arrays; the targets need not be in it."""
        inputs = self.inputs(path, *self.found(path))
        for first in range(0, len(inputs), batch_size):
            some = inputs[first : first + batch_size]
            yield FileBatch(some, (first + len(some)) / len(inputs))

    def found(self, path: Path) -> tuple[str, Array]:
        """The array of the inputs and its name."""
        arrays = read_arrays(path)
        if self.column is None:
            name = "" if "" in arrays else find_inputs(path, arrays, self.target)
            return name, arrays[name]
        [array] = arrays.values() if len(arrays) == 1 else [np.empty(0)]
        if array.ndim == 2 and array.shape[1] == self.shape[0] + 1:
            array = np.delete(array, self.column, axis=1)
        return "", array

    def inputs(self, path: Path, name: str, array: Array) -> Tensor:
        """The model's inputs, ``(rows, *shape)``.

        Raises:
            InputError: rows of another shape, or what is no finite number.
        """
        if array.shape[1:] != self.shape:
            raise InputError(
                f"{str(path)!r}: rows of shape {array.shape[1:]}, and the model was trained on "
                f"{self.shape}."
            )
        mean, deviation = np.array(self.mean), np.array(self.deviation)
        deviation = np.where(deviation > 0, deviation, np.inf)
        standardised = (numbers(path, name, array) - mean) / deviation
        return torch.from_numpy(standardised.astype(np.float32))

    def example(self, rows: int) -> Tensor:
        """Rows of the shape."""
        return spread(rows, *self.shape)

    def answers(self, outputs: Tensor, inputs: Tensor) -> dict[str, NDArray[Any]]:
        """``predicted_TARGET``, numbered where it is several values; probabilities of classes."""
        if self.classes is not None:
            return class_columns(self.target, self.classes, outputs)
        values = outputs.double().numpy() * self.target_deviation + np.array(self.target_mean)
        if values.shape[1] == 1:
            return {f"predicted_{self.target}": values[:, 0]}
        return {f"predicted_{self.target}_{k}": values[:, k] for k in range(values.shape[1])}

    def settings(self) -> dict[str, Any]:
        """Plain data."""
        return {
            "shape": list(self.shape),
            "column": self.column,
            "target": self.target,
            "mean": list(self.mean),
            "deviation": list(self.deviation),
            "classes": None if self.classes is None else list(self.classes),
            "target_mean": list(self.target_mean),
            "target_deviation": list(self.target_deviation),
        }

    @classmethod
    def from_settings(cls, model: ModelSource, settings: Mapping[str, Any]) -> Self:
        """The preparation of these settings."""
        plain: dict[str, Any] = {
            k: tuple(v) if isinstance(v, list) else v for k, v in settings.items()
        }
        return cls(model, **plain)
