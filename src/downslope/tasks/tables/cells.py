"""The cells of a column as numbers, as text or as days; an error names row and column."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ...errors import InputError

if TYPE_CHECKING:
    import polars as pl

__all__ = [
    "bad_cell",
    "bad_cells",
    "check_type",
    "days",
    "infinite",
    "numbers",
    "texts",
    "to_numbers",
]

Mask = NDArray[np.bool_]
Floats = NDArray[np.float64]

#: How a day, or a time of a day, may be written; ISO 8601 and its usual relatives.
DATE_FORMATS = (
    "%Y-%m-%d",
    "%Y-%m-%d %H:%M:%S%.f",
    "%Y-%m-%dT%H:%M:%S%.f",
    "%Y-%m-%dT%H:%M:%S%.fZ",
    "%Y-%m-%d %H:%M",
    "%Y-%m-%dT%H:%M",
    "%Y/%m/%d",
)
_DAY = 86_400_000_000  # microseconds


def numbers(cells: pl.Series) -> tuple[Floats, Mask]:
    """Numbers, NaN where there is none; and which cells hold other text (an empty one does not)."""
    import polars as pl

    if cells.dtype.is_numeric():
        return cells.cast(pl.Float64).fill_null(float("nan")).to_numpy(), np.zeros(len(cells), bool)
    words = texts(cells)
    parsed = words.cast(pl.Float64, strict=False)
    text = (parsed.is_null() & (words != "")).to_numpy()
    return parsed.fill_null(float("nan")).to_numpy(), text


def texts(cells: pl.Series) -> pl.Series:
    """The cells as text, ``""`` where there was nothing; whole numbers without decimals."""
    import polars as pl

    if cells.dtype == pl.String:
        return cells
    if cells.dtype.is_float() and bool((cells.is_null() | (cells == cells.floor())).all()):
        cells = cells.cast(pl.Int64, strict=False)
    return cells.cast(pl.String).fill_null("")


def days(cells: pl.Series) -> tuple[Floats, Mask]:
    """Days since 1970, NaN where the cell is empty; and which cells hold no date.

    >>> import polars as pl
    >>> got, wrong = days(pl.Series(["1970-01-02", "1970-01-01 12:00", "", "soon"]))
    >>> got.tolist(), wrong.tolist()
    ([1.0, 0.5, nan, nan], [False, False, False, True])
    """
    import polars as pl

    if cells.dtype.is_temporal():
        if isinstance(cells.dtype, pl.Datetime) and cells.dtype.time_zone is not None:
            cells = cells.dt.convert_time_zone("UTC").dt.replace_time_zone(None)
        cells = cells.cast(pl.Datetime("us")).dt.to_string("%Y-%m-%d %H:%M:%S%.6f")
    cells = texts(cells)
    found = pl.Series([None] * len(cells), dtype=pl.Datetime("us"))
    for form in DATE_FORMATS:
        if found.is_null().any():
            found = found.fill_null(cells.str.to_datetime(form, time_unit="us", strict=False))
    wrong = found.is_null() & (cells != "")
    passed = found.cast(pl.Int64).cast(pl.Float64) / _DAY
    return passed.fill_null(float("nan")).to_numpy(), wrong.to_numpy()


def check_type(path: Path, cells: pl.Series) -> None:
    """Refuse a column of a kind that is neither number, text nor date.

    Raises:
        InputError: it is such a column, of a Parquet file.
    """
    import polars as pl

    kind = cells.dtype
    dated = kind == pl.Date or isinstance(kind, pl.Datetime)
    named = isinstance(kind, (pl.String, pl.Categorical, pl.Enum, pl.Boolean))
    if not (kind.is_numeric() or dated or named or kind == pl.Null):
        raise InputError(
            f"{str(path)!r}: the column {cells.name!r} holds {kind}, which is neither number, text "
            "nor date. Leave it out (--ignore)."
        )


def infinite(path: Path, cells: pl.Series, values: Floats, first: int) -> None:
    """Refuse infinite numbers, which no treatment of missing values is for.

    Raises:
        InputError: there is one.
    """
    if np.isinf(values).any():
        raise bad_cell(path, cells, np.isinf(values), "no finite number", first)


def to_numbers(path: Path, cells: pl.Series, first: int) -> Floats:
    """A column of numbers, NaN where a cell is empty.

    Raises:
        InputError: a cell is text or infinite; the message names it.
    """
    values, text = numbers(cells)
    if text.any():
        raise bad_cell(path, cells, text, "text where numbers are wanted", first)
    infinite(path, cells, values, first)
    return values


def bad_cell(
    path: Path, cells: pl.Series, bad: Mask, problem: str, first: int = 0, advice: str = ""
) -> InputError:
    """The error for the first of the bad cells of a column, whose first row is number ``first``."""
    row = int(bad.argmax())
    count = int(bad.sum())
    return bad_cells(path, cells.name, first + row, cells[row], count, problem, advice)


def bad_cells(
    path: Path, name: str, row: int, value: Any, count: int, problem: str, advice: str = ""
) -> InputError:
    """The error for a column with some bad cells, of which the first is told.

    Args:
        path: the file.
        name: of the column.
        row: number of the first bad row, from 0.
        value: what is there.
        count: how many bad cells there are.
        problem: what is wrong with them.
        advice: what to do; removing or filling in, where nothing else is said.
    """
    more = f" ({count - 1} more such cells in this column)" if count > 1 else ""
    shown = "an empty cell" if value in ("", None) else repr(value)
    advice = advice or "Remove the row or the column, or fill in a number."
    return InputError(
        f"{str(path)!r}, row {row + 1} (the header not counted), column {name!r}: "
        f"{problem}, got {shown}{more}. {advice}"
    )
