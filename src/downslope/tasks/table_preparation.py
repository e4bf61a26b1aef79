"""From the rows of a table to inputs, and from outputs to classes or values."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..errors import InputError
from .answers import class_columns
from .preparation import FileBatch, ModelSource, Preparation
from .table_file import bad_cell, read_chunks, to_numbers

if TYPE_CHECKING:
    import polars as pl

__all__ = ["NumberColumn", "TablePreparation"]


@dataclass(frozen=True)
class NumberColumn:
    """A column of numbers, standardised by the training part: ``(x - mean) / deviation``.

    Args:
        name: in the header.
        mean: of the training part.
        deviation: its standard deviation; 0 where it is constant, which becomes zero everywhere.
    """

    name: str
    mean: float
    deviation: float

    def features(self, path: Path, cells: pl.Series, first: int) -> NDArray[np.float32]:
        """What the model is given of these cells, ``(rows, 1)``."""
        numbers = to_numbers(path, cells, first)
        with np.errstate(over="ignore", invalid="ignore"):
            z = ((numbers - self.mean) / (self.deviation or np.inf)).astype(np.float32)
        if not np.isfinite(z).all():
            raise bad_cell(path, cells, ~np.isfinite(z), "too far from all training rows", first)
        return z[:, None]


@dataclass(frozen=True)
class TablePreparation(Preparation):
    """How a table's columns become inputs.

    Args:
        model: how the model is made.
        target: the column that was predicted; a file to predict for need not have it.
        columns: those that are read; others are not looked at.
        classes: what the classes are called in the file; ``None`` for a regression.
        mean: of a regression's target.
        deviation: of a regression's target.
    """

    kind: ClassVar[str] = "table"
    model: ModelSource
    target: str
    columns: tuple[NumberColumn, ...]
    classes: tuple[str, ...] | None
    mean: float = 0.0
    deviation: float = 1.0

    def read(self, path: Path, batch_size: int) -> Iterator[FileBatch]:
        """The rows of a file with the columns of the training data, in any order."""
        for chunk in read_chunks(path):
            rows = self.inputs(path, chunk.frame, chunk.first)
            for inputs in torch.split(rows, batch_size):
                yield FileBatch(inputs, chunk.share)

    def inputs(self, path: Path, frame: pl.DataFrame, first: int = 0) -> Tensor:
        """The model's inputs ``(rows, features)`` of rows of text.

        Raises:
            InputError: a column is not there, or a cell cannot be used.
        """
        for column in self.columns:
            if column.name not in frame.columns:
                spelt = {c.lower(): c for c in frame.columns}
                near = difflib.get_close_matches(column.name.lower(), spelt, n=1)
                guess = f" Is it {spelt[near[0]]!r} here? Rename it." if near else ""
                raise InputError(
                    f"{str(path)!r} has no column {column.name!r}, which the model was trained "
                    f"with.{guess} Columns: {', '.join(frame.columns)}."
                )
        parts = [c.features(path, frame[c.name], first) for c in self.columns]
        return torch.from_numpy(np.concatenate(parts, axis=1))

    def answers(self, outputs: Tensor) -> dict[str, NDArray[Any]]:
        """``predicted_TARGET``; for classes ``probability_CLASS`` as well, one column for each."""
        if self.classes is not None:
            return class_columns(self.target, self.classes, outputs)
        return {f"predicted_{self.target}": outputs.double().numpy() * self.deviation + self.mean}

    def settings(self) -> dict[str, Any]:
        """Plain data."""
        return {
            "target": self.target,
            "columns": [asdict(column) for column in self.columns],
            "classes": None if self.classes is None else list(self.classes),
            "mean": self.mean,
            "deviation": self.deviation,
        }

    @classmethod
    def from_settings(cls, model: ModelSource, settings: Mapping[str, Any]) -> Self:
        """The preparation of these settings."""
        given = dict(settings)
        columns = tuple(NumberColumn(**column) for column in given.pop("columns"))
        classes = given.pop("classes")
        return cls(model, columns=columns, classes=classes and tuple(classes), **given)
