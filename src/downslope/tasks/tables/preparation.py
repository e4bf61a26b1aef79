"""From the rows of a table to inputs, and from outputs to classes or values."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ...errors import InputError
from ..answers import class_columns
from ..preparation import FileBatch, ModelSource, Preparation, spread
from .cells import check_type
from .columns import Column, column_from
from .file import read_chunks

if TYPE_CHECKING:
    import polars as pl

__all__ = ["TablePreparation"]


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
        na: texts that stand for an empty cell.
    """

    kind: ClassVar[str] = "table"
    model: ModelSource
    target: str
    columns: tuple[Column, ...]
    classes: tuple[str, ...] | None
    mean: float = 0.0
    deviation: float = 1.0
    na: tuple[str, ...] = ()

    def read(self, path: Path, batch_size: int) -> Iterator[FileBatch]:
        """The rows of a file with the columns of the training data, in any order."""
        for chunk in read_chunks(path, self.na):
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
            check_type(path, frame[column.name])
        parts = [c.features(path, frame[c.name], first) for c in self.columns]
        return torch.from_numpy(np.concatenate(parts, axis=1))

    def example(self, rows: int) -> Tensor:
        """As many numbers as the columns make."""
        return spread(rows, int(self.model.arguments["features"] or 0))

    def answers(self, outputs: Tensor, inputs: Tensor) -> dict[str, NDArray[Any]]:
        """``predicted_TARGET``; for classes ``probability_CLASS`` as well, one column for each."""
        if self.classes is not None:
            return class_columns(self.target, self.classes, outputs)
        return {f"predicted_{self.target}": outputs.double().numpy() * self.deviation + self.mean}

    def settings(self) -> dict[str, Any]:
        """Plain data."""
        return {
            "target": self.target,
            "columns": [column.to_dict() for column in self.columns],
            "classes": None if self.classes is None else list(self.classes),
            "mean": self.mean,
            "deviation": self.deviation,
            "na": list(self.na),
        }

    @classmethod
    def from_settings(cls, model: ModelSource, settings: Mapping[str, Any]) -> Self:
        """The preparation of these settings."""
        given = dict(settings)
        columns = tuple(map(column_from, given.pop("columns")))
        classes, na = given.pop("classes"), tuple(given.pop("na", ()))
        return cls(model, columns=columns, classes=classes and tuple(classes), na=na, **given)
