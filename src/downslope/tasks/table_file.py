"""A CSV file as columns of text, then of numbers; whatever is wrong is named by row and column.

Every cell is read as text and turned into a number here, so that an error can say which one it was.
"""

from __future__ import annotations

import difflib
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ..errors import InputError, MissingExtraError

if TYPE_CHECKING:
    import polars as pl

__all__ = ["bad_cell", "read_csv", "to_numbers"]

MIN_ROWS = 10


def read_csv(path: Path) -> pl.DataFrame:
    """The cells of a CSV file as stripped text, ``""`` where there was nothing.

    The first line names the columns; blank lines at the end are left out.

    Raises:
        InputError: not a readable file, empty, no rows or too few, rows of unequal length, or
            columns without a name of their own.
        MissingExtraError: polars is not installed.
    """
    try:
        import polars as pl
    except ImportError:
        raise MissingExtraError("polars", "data", "Reading a table") from None
    if path.is_dir():
        raise InputError(f"{str(path)!r} is a directory. Give a CSV file with a header line.")
    try:
        cells = pl.read_csv(path, has_header=False, infer_schema=False, glob=False)
    except FileNotFoundError:
        raise InputError(f"{str(path)!r} does not exist.{_nearest(path)}") from None
    except OSError as error:
        raise InputError(f"{str(path)!r} cannot be read: {error.strerror or error}.") from None
    except pl.exceptions.NoDataError:
        raise _empty(path) from None
    except pl.exceptions.PolarsError as error:
        reason = str(error).split("\n")[0]
        raise InputError(
            f"{str(path)!r} cannot be read as a CSV file: {reason}. Every row needs as many "
            "cells as the header, separated by commas, in UTF-8."
        ) from None
    cells = cells.with_columns(pl.all().str.strip_chars().fill_null(""))
    cells = _without_blank_end(cells)
    if not cells.height:
        raise _empty(path)
    names, frame = list(cells.row(0)), cells[1:]
    _check_header(path, names)
    if frame.height < MIN_ROWS:
        raise InputError(
            f"{str(path)!r} has {frame.height} rows below the header: too few rows. At least "
            f"{MIN_ROWS} are needed to train and to validate."
        )
    frame.columns = names
    return frame


def to_numbers(path: Path, cells: pl.Series) -> NDArray[np.float64]:
    """A column of text as float64.

    Raises:
        InputError: a cell is empty, text, NaN or infinite; the message names it.
    """
    numbers, text = parse(cells)
    if text.any():
        raise bad_cell(path, cells, text, "text where numbers are wanted")
    missing = ~np.isfinite(numbers)
    if missing.any():
        raise bad_cell(path, cells, missing, "no finite number")
    return numbers


def parse(cells: pl.Series) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Numbers, NaN where there is none; and which cells hold other text (an empty one does not)."""
    import polars as pl

    numbers = cells.cast(pl.Float64, strict=False)
    text = numbers.is_null() & (cells != "")
    return numbers.fill_null(float("nan")).to_numpy(), text.to_numpy()


def bad_cell(path: Path, cells: pl.Series, bad: NDArray[np.bool_], problem: str) -> InputError:
    """The error for the first of the bad cells of a column."""
    row = int(bad.argmax())
    more = f" ({int(bad.sum()) - 1} more such cells in this column)" if bad.sum() > 1 else ""
    value = cells[row]
    shown = "an empty cell" if value == "" else repr(value)
    return InputError(
        f"{str(path)!r}, row {row + 1} (the header not counted), column {cells.name!r}: "
        f"{problem}, got {shown}{more}. Remove the row or the column, or fill in a number."
    )


def _empty(path: Path) -> InputError:
    return InputError(
        f"{str(path)!r} is empty. Give a CSV file with a header line and at least {MIN_ROWS} rows."
    )


def _check_header(path: Path, names: list[str]) -> None:
    """Refuse names that are missing or given twice."""
    for number, name in enumerate(names, start=1):
        if name == "":
            raise InputError(
                f"{str(path)!r}: column {number} has no name in the header line. An index column? "
                "Remove it, or name it."
            )
        if name in names[: number - 1]:
            raise InputError(
                f"{str(path)!r}: the column name {name!r} is given twice, to columns "
                f"{names.index(name) + 1} and {number}. Rename one of them."
            )


def _nearest(path: Path) -> str:
    """A question about the files beside it whose name is close to that of a missing one."""
    beside = [p.name for p in path.parent.glob("*.csv")] if path.parent.is_dir() else []
    near = difflib.get_close_matches(path.name, beside, n=2)
    return (
        f" Did you mean {' or '.join(repr(str(path.with_name(n))) for n in near)}?" if near else ""
    )


def _without_blank_end(cells: pl.DataFrame) -> pl.DataFrame:
    height = cells.height
    while height and not any(cells.row(height - 1)):
        height -= 1
    return cells[:height]
