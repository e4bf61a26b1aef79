"""A table's file as columns of text, then of numbers; what is wrong is named by row and column.

Every cell is read as text and turned into a number here, so that an error can say which one it was.
The file comes in chunks, so a table of any size can be read in little memory.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ..errors import InputError, MissingExtraError

if TYPE_CHECKING:
    import polars as pl

__all__ = ["Chunk", "bad_cell", "parse", "read_chunks", "read_table", "to_numbers"]

MIN_ROWS = 10
CELLS = 200_000  # of a chunk; larger ones are not read faster


@dataclass(frozen=True)
class Chunk:
    """Some rows of a table.

    Args:
        frame: stripped text, ``""`` where there was nothing.
        first: number of the first of these rows in the file, from 0.
        share: of the file read so far, about.
    """

    frame: pl.DataFrame
    first: int
    share: float


def read_table(path: Path) -> pl.DataFrame:
    """All rows of a table to train on.

    Raises:
        InputError: as :func:`read_chunks`, or there are too few rows.
        MissingExtraError: polars is not installed.
    """
    frames = [chunk.frame for chunk in read_chunks(path)]
    import polars as pl

    frame = pl.concat(frames)
    check_rows(path, frame.height)
    return frame


def check_rows(path: Path, rows: int) -> None:
    """Refuse a table that is too small to train on."""
    if rows < MIN_ROWS:
        raise InputError(
            f"{str(path)!r} has {rows} rows below the header: too few rows. At least "
            f"{MIN_ROWS} are needed to train and to validate."
        )


def read_chunks(path: Path) -> Iterator[Chunk]:
    """The cells of a CSV file, chunk by chunk; at least one chunk, which may have no rows.

    The first line names the columns; blank lines at the end are left out.

    Args:
        path: the file. A chunk has about :data:`CELLS` of its cells.

    Raises:
        InputError: not a readable file, empty, rows of unequal length, or columns without a name
            of their own.
        MissingExtraError: polars is not installed.
    """
    try:
        import polars as pl
    except ImportError:
        raise MissingExtraError("polars", "data", "Reading a table") from None
    if path.is_dir():
        raise InputError(f"{str(path)!r} is a directory. Give a CSV file with a header line.")
    names: list[str] = []
    blank: pl.DataFrame | None = None  # rows that are left out if nothing comes after them
    first, read = 0, 0
    for cells in _csv(path):
        frame = cells.with_columns(pl.all().str.strip_chars().fill_null(""))
        if not names:
            names, frame = list(frame.row(0)), frame[1:]
            if not any(names) and not _without_blank_end(frame)[0].height:
                raise _empty(path)
            _check_header(path, names)
        frame.columns = names
        if blank is not None:
            frame = pl.concat([blank, frame])
        frame, blank = _without_blank_end(frame)
        read += sum(int(cells[c].str.len_bytes().sum()) + cells.height for c in cells.columns)
        yield Chunk(frame, first, min(1.0, read / max(1, path.stat().st_size)))
        first += frame.height
    if not names:
        raise _empty(path)


def to_numbers(path: Path, cells: pl.Series, first: int = 0) -> NDArray[np.float64]:
    """A column of text as float64.

    Raises:
        InputError: a cell is empty, text, NaN or infinite; the message names it.
    """
    numbers, text = parse(cells)
    if text.any():
        raise bad_cell(path, cells, text, "text where numbers are wanted", first)
    missing = ~np.isfinite(numbers)
    if missing.any():
        raise bad_cell(path, cells, missing, "no finite number", first)
    return numbers


def parse(cells: pl.Series) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Numbers, NaN where there is none; and which cells hold other text (an empty one does not)."""
    import polars as pl

    numbers = cells.cast(pl.Float64, strict=False)
    text = numbers.is_null() & (cells != "")
    return numbers.fill_null(float("nan")).to_numpy(), text.to_numpy()


def bad_cell(
    path: Path, cells: pl.Series, bad: NDArray[np.bool_], problem: str, first: int = 0
) -> InputError:
    """The error for the first of the bad cells of a column, whose first row is number ``first``."""
    row = int(bad.argmax())
    more = f" ({int(bad.sum()) - 1} more such cells in this column)" if bad.sum() > 1 else ""
    value = cells[row]
    shown = "an empty cell" if value == "" else repr(value)
    return InputError(
        f"{str(path)!r}, row {first + row + 1} (the header not counted), column {cells.name!r}: "
        f"{problem}, got {shown}{more}. Remove the row or the column, or fill in a number."
    )


def _csv(path: Path) -> Iterator[pl.DataFrame]:
    """The cells of a CSV file as they stand, the header's among them."""
    import polars as pl

    try:
        lines = pl.scan_csv(path, has_header=False, infer_schema=False, glob=False)
        rows = max(1, CELLS // len(lines.collect_schema()))
        yield from lines.collect_batches(chunk_size=rows)
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


def _without_blank_end(cells: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
    height = cells.height
    while height and not any(cells.row(height - 1)):
        height -= 1
    return cells[:height], cells[height:]
