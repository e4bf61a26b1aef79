"""A table's file, chunk by chunk, so that one of any size can be read in little memory.

The cells of a CSV file are read as text, so that an error can say what stood there; those of a
Parquet file have the types that it gives them.
"""

from __future__ import annotations

import contextlib
import difflib
from collections.abc import Collection, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from ...errors import InputError, MissingExtraError

if TYPE_CHECKING:
    import polars as pl

__all__ = ["STREAM_BYTES", "TABLE_SUFFIXES", "Chunk", "check_rows", "read_chunks"]

TABLE_SUFFIXES = (".csv", ".tsv", ".parquet")
SEPARATORS = {".tsv": "\t"}  # of all others, a comma
SPREADSHEETS = (".xlsx", ".xls", ".ods")
STREAM_BYTES = 1 << 28  # a larger file is streamed where nobody says what is to be done
MIN_ROWS = 10
CELLS = 200_000  # of a chunk; larger ones are not read faster


@dataclass(frozen=True)
class Chunk:
    """Some rows of a table.

    Args:
        frame: stripped text, ``""`` where there was nothing; other types of a Parquet file.
        first: number of the first of these rows in the file, from 0.
        share: of the file read so far, about.
    """

    frame: pl.DataFrame
    first: int
    share: float


def check_rows(path: Path, rows: int) -> None:
    """Refuse a table that is too small to train on."""
    if rows < MIN_ROWS:
        raise InputError(
            f"{str(path)!r} has {rows} rows below the header: too few rows. At least "
            f"{MIN_ROWS} are needed to train and to validate."
        )


def read_chunks(path: Path, na: Collection[str] = ()) -> Iterator[Chunk]:
    """A table's rows; at least one chunk, which may have none.

    Of a CSV or TSV file the first line names the columns; blank lines at the end are left out.

    Args:
        path: the file; its suffix says the format, comma-separated where it is none of
            :data:`TABLE_SUFFIXES`. A chunk has about :data:`CELLS` of its cells.
        na: texts that stand for an empty cell.

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
        raise InputError(f"{str(path)!r} is a directory. Give a CSV or Parquet file.")
    if path.suffix.lower() in SPREADSHEETS:
        raise InputError(f"{str(path)!r} is a spreadsheet. Save it as CSV and give that file.")
    chunks = _parquet(path) if path.suffix.lower() == ".parquet" else _text(path)
    for chunk in chunks:
        if na:
            words = pl.col(pl.String)
            emptied = chunk.frame.with_columns(
                pl.when(words.is_in(list(na))).then(pl.lit("")).otherwise(words).name.keep()
            )
            chunk = replace(chunk, frame=emptied)
        yield chunk


def _text(path: Path) -> Iterator[Chunk]:
    """The chunks of a CSV or TSV file."""
    import polars as pl

    names: list[str] = []
    blank: pl.DataFrame | None = None  # rows that are left out if nothing comes after them
    first, read = 0, 0
    for cells in _cells(path):
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


def _cells(path: Path) -> Iterator[pl.DataFrame]:
    """The cells of a CSV or TSV file as they stand, the header's among them."""
    import polars as pl

    separator = SEPARATORS.get(path.suffix.lower(), ",")
    between = "tabs" if separator == "\t" else "commas"
    with _readable(
        path, f"Every row needs as many cells as the header, separated by {between}, in UTF-8."
    ):
        lines = pl.scan_csv(
            path, separator=separator, has_header=False, infer_schema=False, glob=False
        )
        yield from lines.collect_batches(chunk_size=_rows(lines))


def _parquet(path: Path) -> Iterator[Chunk]:
    """The chunks of a Parquet file; names of columns are text in a CSV file, and here as well."""
    import polars as pl

    with _readable(path, "Is it a Parquet file?"):
        query = pl.scan_parquet(path, glob=False)
        height = int(query.select(pl.len()).collect().item())
        first = 0
        _check_header(path, query.collect_schema().names())
        words = pl.col(pl.String, pl.Categorical, pl.Enum)
        for frame in query.collect_batches(chunk_size=_rows(query)):
            frame = frame.with_columns(words.cast(pl.String).str.strip_chars().fill_null(""))
            yield Chunk(frame, first, min(1.0, (first + frame.height) / max(1, height)))
            first += frame.height
        if not height:
            yield Chunk(query.head(0).collect(), 0, 1.0)


def _rows(query: pl.LazyFrame) -> int:
    return max(1, CELLS // max(1, len(query.collect_schema())))


@contextlib.contextmanager
def _readable(path: Path, wanted: str) -> Iterator[None]:
    """What goes wrong while a file is read, as one line that ends in what is wanted."""
    import polars as pl

    try:
        yield
    except FileNotFoundError:
        raise InputError(f"{str(path)!r} does not exist.{_nearest(path)}") from None
    except OSError as error:
        raise InputError(f"{str(path)!r} cannot be read: {error.strerror or error}.") from None
    except pl.exceptions.NoDataError:
        raise _empty(path) from None
    except pl.exceptions.PolarsError as error:
        reason = str(error).split("\n")[0]
        kind = "Parquet" if path.suffix.lower() == ".parquet" else "CSV"
        raise InputError(
            f"{str(path)!r} cannot be read as a {kind} file: {reason}. {wanted}"
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
    files = path.parent.iterdir() if path.parent.is_dir() else ()
    beside = [p.name for p in files if p.suffix.lower() in TABLE_SUFFIXES]
    near = difflib.get_close_matches(path.name, beside, n=2)
    return (
        f" Did you mean {' or '.join(repr(str(path.with_name(n))) for n in near)}?" if near else ""
    )


def _without_blank_end(cells: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
    height = cells.height
    while height and not any(cells.row(height - 1)):
        height -= 1
    return cells[:height], cells[height:]
