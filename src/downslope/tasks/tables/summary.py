"""What is learnt from the training rows of a table, and how each column is to be read.

Rows come in pieces of any size, and what is kept of them does not grow with the table, so a table
of a few rows and one of many gigabytes are summed up by the same code.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ...errors import InputError
from ..split import mixed
from .cells import bad_cells, check_type, days, infinite, numbers, texts
from .columns import (
    IMPUTE,
    CategoryColumn,
    Column,
    DateColumn,
    NumberColumn,
    date_parts,
    to_days,
)
from .moments import Moments
from .options import TableOptions

if TYPE_CHECKING:
    import polars as pl

__all__ = ["MAX_LEVELS", "TableSummary"]

MAX_LEVELS = 100  # texts of a column that become features

Floats = NDArray[np.float64]
Mask = NDArray[np.bool_]


class TableSummary:
    """Sums up the columns of a table but its target.

    Args:
        path: the file, for errors.
        names: of the columns that are inputs.
        options: what was declared.
        sampled: how many values of a column the median of its empty cells is taken of, drawn at
            random; ``None``: all.
    """

    def __init__(
        self, path: Path, names: Sequence[str], options: TableOptions, sampled: int | None = None
    ) -> None:
        self._columns = {name: _ColumnSummary(path, name, options, sampled) for name in names}

    def add(self, frame: pl.DataFrame, training: Mask, first: int) -> None:
        """Take in rows, of which ``training`` are learnt from.

        Raises:
            InputError: a cell cannot be used whatever comes after it.
        """
        rows = np.arange(first, first + len(training))
        for name, column in self._columns.items():
            column.add(frame[name], training, rows)

    def columns(self) -> tuple[Column, ...]:
        """How each column becomes features.

        Raises:
            InputError: one cannot be used; the message says which, why and what to do.
        """
        return tuple(column.finished() for column in self._columns.values())


@dataclass
class _First:
    """The first cell of some kind, and how many there are.

    Args:
        count: how many.
        row: number of the first.
        value: what it holds.
    """

    count: int = 0
    row: int = 0
    value: Any = None

    def see(self, cells: pl.Series, which: Mask, rows: NDArray[np.int64]) -> None:
        """Take note of the cells that are of the kind."""
        if not self.count and which.any():
            at = int(which.argmax())
            self.row, self.value = int(rows[at]), cells[at]
        self.count += int(which.sum())


@dataclass
class _Sample:
    """Values drawn at random, without replacement, from those that come: those of the least keys.

    Args:
        most: how many are kept; ``None``: all.
    """

    most: int | None
    values: Floats = field(default_factory=lambda: np.empty(0))
    keys: NDArray[np.uint64] = field(default_factory=lambda: np.empty(0, np.uint64))

    def add(self, values: Floats, rows: NDArray[np.int64]) -> None:
        """Take in values that stand in these rows."""
        self.values = np.concatenate([self.values, values])
        self.keys = np.concatenate([self.keys, mixed(rows)])
        if self.most is not None and len(self.values) > self.most:
            kept = np.argpartition(self.keys, self.most)[: self.most]
            self.values, self.keys = self.values[kept], self.keys[kept]


class _ColumnSummary:
    """What is seen of one column."""

    def __init__(self, path: Path, name: str, options: TableOptions, sampled: int | None) -> None:
        self._path, self._name = path, name
        self._declared = (
            "category" if name in options.categorical else "date" if name in options.dates else ""
        )
        self._fills = options.missing == "impute"
        self._empty, self._text = _First(), _First()
        self._numbers = 0
        self._dates_only = True
        self._training = self._empty_training = 0
        self._moments = Moments(len(date_parts(np.zeros(1))[0]) if self._declared == "date" else 1)
        self._levels: Counter[str] = Counter()
        self._sample = _Sample(sampled)

    def add(self, cells: pl.Series, training: Mask, rows: NDArray[np.int64]) -> None:
        """Take in cells that stand in these rows."""
        check_type(self._path, cells)
        self._training += int(training.sum())
        if self._declared == "category":
            words = texts(cells)
            empty = (words == "").to_numpy()
            self._count_levels(words, training & ~empty)
            self._text.see(words, ~empty, rows)
        elif self._declared == "date":
            passed = to_days(self._path, cells, int(rows[0]) if len(rows) else 0)
            empty = np.isnan(passed)
            self._learn(date_parts(passed), passed, training & ~empty, rows)
        else:
            empty = self._add_undeclared(cells, training, rows)
        self._empty.see(cells, empty, rows)
        self._empty_training += int((empty & training).sum())

    def _add_undeclared(self, cells: pl.Series, training: Mask, rows: NDArray[np.int64]) -> Mask:
        """Take in cells of which nobody said what they are; returns which are empty."""
        values, text = numbers(cells)
        if cells.dtype.is_temporal():
            values, text = np.full(len(cells), np.nan), cells.is_not_null().to_numpy()
        infinite(self._path, cells, values, int(rows[0]) if len(rows) else 0)
        empty = np.isnan(values) & ~text
        if text.any():
            words = texts(cells)
            self._count_levels(words, training & text)
            self._dates_only = self._dates_only and not days(words)[1].any()
        self._text.see(cells, text, rows)
        known = ~empty & ~text
        self._numbers += int(known.sum())
        self._learn(values[:, None], values, training & known, rows)
        return empty

    def _learn(self, raw: Floats, values: Floats, which: Mask, rows: NDArray[np.int64]) -> None:
        self._moments.add(raw[which])
        if self._fills:
            self._sample.add(values[which], rows[which])

    def _count_levels(self, words: pl.Series, which: Mask) -> None:
        if len(self._levels) <= MAX_LEVELS:  # one more than allowed is enough to refuse
            import polars as pl

            counted = words.filter(pl.Series(which)).value_counts()
            self._levels.update(dict(counted.iter_rows()))

    def finished(self) -> Column:
        """The column."""
        if self._text.count and self._numbers:
            raise bad_cells(
                *(self._path, self._name, self._text.row, self._text.value, self._text.count),
                "text where numbers are wanted",
                "Remove the row, fill in a number, or declare the column: --categorical, --ignore, "
                f"or --na {self._text.value!r} where that stands for an empty cell.",
            )
        if not self._fills and self._empty.count:
            raise bad_cells(
                *(self._path, self._name, self._empty.row, self._empty.value, self._empty.count),
                "no finite number" if self._numbers else "no value",
                IMPUTE,
            )
        if self._declared == "category" or self._text.count:
            return self._category()
        if not self._moments.count:
            raise self._nothing()
        fill = float(np.median(self._sample.values)) if self._fills else None
        flagged = self._empty_training > 0
        if fill is not None:
            dated = self._declared == "date"
            row = date_parts(np.array([fill]))[0] if dated else np.array([fill])
            self._moments.add_equal(self._empty_training, row)
        means, deviations = self._moments.means, self._moments.deviations
        if flagged:
            mean, deviation = _indicator(self._empty_training, self._training)
            means, deviations = (*means, mean), (*deviations, deviation)
        kind = DateColumn if self._declared == "date" else NumberColumn
        return kind(self._name, means, deviations, fill=fill, flagged=flagged)

    def _category(self) -> Column:
        if not self._declared and self._dates_only:
            raise InputError(
                f"{str(self._path)!r}: the column {self._name!r} holds dates such as "
                f"{str(self._text.value)!r}. Have them read as dates (--dates), as words "
                "(--categorical), or leave the column out (--ignore)."
            )
        if len(self._levels) > MAX_LEVELS:
            raise InputError(
                f"{str(self._path)!r}: the column {self._name!r} holds more than {MAX_LEVELS} "
                f"different texts, such as {str(self._text.value)!r}; each would be an input of "
                "its own. Leave it out (--ignore), or group its texts."
            )
        if not self._levels:
            raise self._nothing()
        counts = dict(self._levels)
        if self._empty_training:
            counts[""] = self._empty_training
        levels = tuple(sorted(counts))
        moments = [_indicator(counts[level], self._training) for level in levels]
        means, deviations = zip(*moments, strict=True)
        return CategoryColumn(self._name, means, deviations, levels=levels, fills=self._fills)

    def _nothing(self) -> InputError:
        return InputError(
            f"{str(self._path)!r}: the column {self._name!r} is empty in every row that is trained "
            "on. Leave it out (--ignore)."
        )


def _indicator(count: int, rows: int) -> tuple[float, float]:
    """Mean and standard deviation of a feature that is 1 in so many rows and 0 in the others."""
    share = count / rows
    return share, float(np.sqrt(share * (1 - share)))
