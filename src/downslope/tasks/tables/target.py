"""What the target column of a table makes of the task: classes to tell apart, or values."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from ...errors import InputError, unknown
from ..metrics import Metric, accuracy, rmse
from ..split import VALIDATION_SHARE
from .cells import bad_cell, bad_cells, check_type, numbers, texts
from .moments import Moments

if TYPE_CHECKING:
    import polars as pl

__all__ = ["Goal", "Target", "TargetSummary", "moments_of", "regression", "target_name"]

MAX_NUMBERED_CLASSES = 20
MAX_CLASSES = 10_000
ROWS_A_CLASS = 5


@dataclass(frozen=True)
class Goal:
    """What is to be predicted, and how well that is done.

    Args:
        kind: ``"classification"`` or ``"regression"``.
        outputs: how many numbers the model gives for a row.
        loss: as in :class:`~downslope.Task`.
        metric: as in :class:`~downslope.Task`.
    """

    kind: str
    outputs: int
    loss: Callable[[Tensor, Tensor], Tensor]
    metric: Metric

    @classmethod
    def of(cls, classes: Sequence[str] | None, deviation: float) -> Goal:
        """To tell these classes apart; or to predict values of this standard deviation."""
        if classes is not None:
            right = Metric("accuracy", accuracy, higher_is_better=True)
            return cls("classification", len(classes), F.cross_entropy, right)
        error = Metric("rmse", partial(rmse, unit=deviation), higher_is_better=False)
        return cls("regression", 1, F.mse_loss, error)


@dataclass(frozen=True)
class Target:
    """How the cells of the target column become targets.

    Args:
        labels: the classes in their order, texts or numbers; ``None``: values are predicted.
        mean: of the values over the training part.
        deviation: of the values; targets are standardised.
    """

    labels: tuple[Any, ...] | None
    mean: float = 0.0
    deviation: float = 1.0

    @property
    def words(self) -> tuple[str, ...] | None:
        """What the classes are called."""
        return None if self.labels is None else tuple(map(_word, self.labels))

    def of(self, cells: pl.Series) -> Tensor:
        """Numbers of classes, or standardised values, ``(rows,)``."""
        if self.labels is None:
            return torch.from_numpy((numbers(cells)[0] - self.mean) / self.deviation).float()
        if isinstance(self.labels[0], str):
            import polars as pl

            numbered = texts(cells).cast(pl.Enum(list(self.labels))).to_physical()
            return torch.from_numpy(numbered.cast(pl.Int64).to_numpy(writable=True))
        return torch.from_numpy(np.searchsorted(np.array(self.labels), numbers(cells)[0]))


def target_name(path: Path, columns: Sequence[str], target: str | None) -> str:
    """The target column, which must be one of several.

    Raises:
        InputError: none was named, or there is none of that name, or it is alone.
    """
    if target is None:
        raise InputError(
            f"{str(path)!r} is a table: name its target column (--target COLUMN, or target=...). "
            f"Columns: {', '.join(columns)}."
        )
    if len(columns) == 1:
        raise InputError(
            f"{str(path)!r} has one column alone, {columns[0]!r}: a target needs others, to be "
            "predicted from. Cells are separated by commas, in a .tsv file by tabs."
        )
    if target not in columns:
        raise unknown(f"column of {path.name}", target, columns)
    return target


class TargetSummary:
    """What is seen of the target, of rows that come in pieces.

    Args:
        path: the file, for errors.
        name: of the column.
        words: whether numbers are names of classes too.
    """

    def __init__(self, path: Path, name: str, *, words: bool) -> None:
        self._path, self._name, self._words = path, name, words
        self._rows = self._texts = 0
        self._first_text: tuple[int, Any] | None = None
        self._counts: Counter[Any] = Counter()
        self._whole = True
        self._least, self._most = np.inf, -np.inf

    def add(self, cells: pl.Series, first: int) -> None:
        """Take in cells.

        Raises:
            InputError: one is empty or no finite number.
        """
        check_type(self._path, cells)
        values, text = numbers(cells)
        if self._words:
            cells = texts(cells)
            text = (cells != "").to_numpy()
        missing = ~text & ~np.isfinite(values)
        if missing.any():
            raise bad_cell(self._path, cells, missing, "no target value", first)
        if text.any() and self._first_text is None:
            at = int(text.argmax())
            self._first_text = first + at, texts(cells)[at]
        self._rows += len(cells)
        self._texts += int(text.sum())
        if text.all():
            self._count(texts(cells))
        elif len(values):
            self._least = min(self._least, values.min())
            self._most = max(self._most, values.max())
            self._whole = self._whole and bool((values == np.floor(values)).all())
            if self._whole and len(self._counts) <= MAX_NUMBERED_CLASSES:
                self._counts.update(dict(zip(*np.unique(values, return_counts=True), strict=True)))

    def _count(self, words: pl.Series) -> None:
        self._counts.update(dict(words.value_counts().iter_rows()))
        if len(self._counts) > MAX_CLASSES:
            raise InputError(
                f"{str(self._path)!r}: the target {self._name!r} has more than {MAX_CLASSES:,} "
                f"different texts, such as {words[0]!r}. Choose another target."
            )

    @property
    def numeric(self) -> bool:
        """Whether all cells so far are numbers, and are no names."""
        return self._texts == 0

    def classes(self) -> tuple[Any, ...] | None:
        """The classes in their order, texts or numbers; ``None`` where values are to be predicted.

        Raises:
            InputError: the column is mixed or constant, or classes have too few rows.
        """
        if 0 < self._texts < self._rows and self._first_text is not None:
            raise bad_cells(
                *(self._path, self._name, *self._first_text, self._texts),
                "text in a target column of numbers",
            )
        named = self._texts > 0
        if self._least == self._most or (named and len(self._counts) == 1):
            raise self.constant(next(iter(self._counts)) if named else self._least)
        few = len(self._counts) <= min(MAX_NUMBERED_CLASSES, self._rows / ROWS_A_CLASS)
        if not named and not (self._whole and few):
            return None
        rarest = min(self._counts, key=lambda label: self._counts[label])
        if self._counts[rarest] < 2:
            raise InputError(
                f"{str(self._path)!r}: too few rows: the class {_word(rarest)} of the target "
                f"{self._name!r} has one row, and each class needs one to train on and one to "
                "validate on. Add rows, or remove the class."
            )
        if len(self._counts) > VALIDATION_SHARE * self._rows:
            raise InputError(
                f"{str(self._path)!r}: too few rows: {self._rows} for {len(self._counts)} classes "
                f"of the target {self._name!r}; the validation part, a fifth, must have room for "
                "every class. Add rows, or choose another target."
            )
        return tuple(sorted(self._counts))

    def constant(self, value: Any) -> InputError:
        """The error for a target that is the same in every row."""
        return InputError(
            f"{str(self._path)!r}: the target column {self._name!r} is constant, {value} in every "
            "row: one class only, or nothing to predict. Choose another column, or add rows."
        )


def moments_of(cells: pl.Series, moments: Moments | None = None) -> Moments:
    """Moments of a column of numbers, after those of the rows that came before."""
    moments = moments or Moments(1)
    moments.add(numbers(cells)[0][:, None])
    return moments


def regression(summary: TargetSummary, moments: Moments) -> Target:
    """To predict values, standardised by the moments of the training part.

    Raises:
        InputError: all of them are the same.
    """
    [mean], [deviation] = moments.means, moments.deviations
    if deviation == 0:
        raise summary.constant(mean)
    return Target(None, mean, deviation)


def _word(label: Any) -> str:
    """A class as the file calls it; whole numbers without their decimals."""
    return label if isinstance(label, str) else str(int(label))
