"""What the model is given of each column of a table: numbers, one-hot levels, parts of a date.

A column makes *raw* features, ``(rows, features)``, and standardises each by the mean and the
standard deviation that it has in the training part: ``(raw - mean) / deviation``.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from .cells import bad_cell, days, texts, to_numbers

if TYPE_CHECKING:
    import polars as pl

__all__ = ["CategoryColumn", "Column", "DateColumn", "NumberColumn", "column_from", "date_parts"]

Floats = NDArray[np.float64]

IMPUTE = (
    "Fill it in, or train with missing values imputed (--missing impute), or without the column "
    "(--ignore)."
)
YEAR = 365.2425  # days
WEEK = 7.0


@dataclass(frozen=True)
class Column(ABC):
    """How one column of a file becomes features.

    Args:
        name: in the header.
        means: of each feature over the training part.
        deviations: standard deviations there; 0 where a feature is constant, which becomes zero
            everywhere.
    """

    kind: ClassVar[str]
    name: str
    means: tuple[float, ...]
    deviations: tuple[float, ...]

    @abstractmethod
    def raw(self, path: Path, cells: pl.Series, first: int) -> Floats:
        """Features before they are standardised.

        Raises:
            InputError: a cell cannot be used; the message names it by its row from ``first`` on.
        """

    def features(self, path: Path, cells: pl.Series, first: int) -> NDArray[np.float32]:
        """What the model is given of these cells, ``(rows, features)``.

        Raises:
            InputError: as :meth:`raw`, or a number is too far from those of the training part.
        """
        deviations = np.array(self.deviations)
        deviations[deviations == 0] = np.inf
        with np.errstate(over="ignore", invalid="ignore"):
            exact = (self.raw(path, cells, first) - np.array(self.means)) / deviations
            z: NDArray[np.float32] = exact.astype(np.float32)
        bad: NDArray[np.bool_] = np.logical_or.reduce(~np.isfinite(z), axis=1)
        if bad.any():
            raise bad_cell(path, cells, bad, "too far from all training rows", first)
        return z

    def to_dict(self) -> dict[str, Any]:
        """Plain data for :func:`column_from`."""
        values = {k: list(v) if isinstance(v, tuple) else v for k, v in asdict(self).items()}
        return {"kind": self.kind, **values}


@dataclass(frozen=True)
class _Measured(Column):
    """A number a cell, of which some may be missing.

    Args:
        name: as in :class:`Column`.
        means: as in :class:`Column`.
        deviations: as in :class:`Column`.
        fill: stands for an empty cell: the training part's median; ``None`` refuses it.
        flagged: whether there is one more feature, 1 where the cell is empty.
    """

    nothing: ClassVar[str]
    fill: float | None = None
    flagged: bool = False

    @abstractmethod
    def _read(self, path: Path, cells: pl.Series, first: int) -> Floats:
        """The numbers, NaN where a cell is empty."""

    @abstractmethod
    def _parts(self, values: Floats) -> Floats:
        """The features of each number, ``(rows, features)``."""

    def raw(self, path: Path, cells: pl.Series, first: int) -> Floats:
        """See :class:`Column`."""
        values = self._read(path, cells, first)
        empty = np.isnan(values)
        if self.fill is not None:
            values = np.where(empty, self.fill, values)
        elif empty.any():
            raise bad_cell(path, cells, empty, self.nothing, first, IMPUTE)
        parts = self._parts(values)
        return np.concatenate([parts, empty[:, None]], axis=1) if self.flagged else parts


@dataclass(frozen=True)
class NumberColumn(_Measured):
    """The number; where cells of the training part are empty also whether this one is.

    Args:
        name: as in :class:`Column`.
        means: as in :class:`Column`.
        deviations: as in :class:`Column`.
        fill: stands for an empty cell: the training part's median; ``None`` refuses it.
        flagged: whether there is a second feature, 1 where the cell is empty.
    """

    kind: ClassVar[str] = "number"
    nothing: ClassVar[str] = "no finite number"

    def _read(self, path: Path, cells: pl.Series, first: int) -> Floats:
        return to_numbers(path, cells, first)

    def _parts(self, values: Floats) -> Floats:
        return values[:, None]


@dataclass(frozen=True)
class CategoryColumn(Column):
    """One feature a level, 1 where the cell is that level, 0 in the others.

    A level that the training part does not have is none of them: all features are 0.

    Args:
        name: as in :class:`Column`.
        means: as in :class:`Column`.
        deviations: as in :class:`Column`.
        levels: the texts of the training part; ``""`` among them stands for empty cells.
        fills: whether an empty cell is allowed.
    """

    kind: ClassVar[str] = "category"
    levels: tuple[str, ...] = ()
    fills: bool = False

    def raw(self, path: Path, cells: pl.Series, first: int) -> Floats:
        """See :class:`Column`."""
        import polars as pl

        words = texts(cells)
        empty = (words == "").to_numpy()
        if not self.fills and empty.any():
            raise bad_cell(path, cells, empty, "no value", first, IMPUTE)
        numbered = words.cast(pl.Enum(list(self.levels)), strict=False).to_physical()
        which = numbered.cast(pl.Int64).fill_null(-1).to_numpy()
        one_hot: Floats = (which[:, None] == np.arange(len(self.levels))).astype(np.float64)
        return one_hot


@dataclass(frozen=True)
class DateColumn(_Measured):
    """The parts of a date: see :func:`date_parts`.

    Args:
        name: as in :class:`Column`.
        means: as in :class:`Column`.
        deviations: as in :class:`Column`.
        fill: days since 1970 that stand for an empty cell: the training part's median; ``None``
            refuses it.
        flagged: whether there is one more feature, 1 where the cell is empty.
    """

    kind: ClassVar[str] = "date"
    nothing: ClassVar[str] = "no date"

    def _read(self, path: Path, cells: pl.Series, first: int) -> Floats:
        return to_days(path, cells, first)

    def _parts(self, values: Floats) -> Floats:
        return date_parts(values)


KINDS: dict[str, type[Column]] = {c.kind: c for c in (NumberColumn, CategoryColumn, DateColumn)}


def column_from(data: Mapping[str, Any]) -> Column:
    """The column that :meth:`Column.to_dict` described."""
    given: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in data.items()}
    return KINDS[given.pop("kind")](**given)


def to_days(path: Path, cells: pl.Series, first: int) -> Floats:
    """Days since 1970, NaN where a cell is empty.

    Raises:
        InputError: a cell holds no date.
    """
    passed, wrong = days(cells)
    if wrong.any():
        raise bad_cell(
            path, cells, wrong, "no date", first, "Write it as 2026-11-21 or 2026-11-21 08:30:00."
        )
    return passed


def date_parts(passed: Floats) -> Floats:
    """Days since 1970, and where in the year, the week and the day that is, as sine and cosine.

    Args:
        passed: days since 1970-01-01 00:00, with fractions.

    Returns:
        ``(rows, 7)``. A period of ``n`` days gives ``sin(2 pi t / n)`` and ``cos(2 pi t / n)``, so
        that its end lies beside its beginning; a year is 365.2425 days.

    >>> date_parts(np.array([0.0, 7.25])).round(3).tolist()
    [[0.0, 0.0, 1.0, 0.0, 1.0, 0.0, 1.0], [7.25, 0.124, 0.992, 0.223, 0.975, 1.0, 0.0]]
    """
    waves = []
    for period in (YEAR, WEEK, 1.0):
        turn = 2 * math.pi * np.mod(passed / period, 1.0)
        waves += [np.sin(turn), np.cos(turn)]
    return np.stack([passed, *waves], axis=1)
