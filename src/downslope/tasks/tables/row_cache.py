"""Tables that were turned into rows of numbers once, kept in the user's cache folder.

An entry is two files: ``NAME-KEY.rows`` and, written after it, ``NAME.json``, which says what the
rows are. ``NAME`` stands for the table's path and what was declared about it, ``KEY`` for its
content, so a table that changes has one entry still, and whoever reads the old rows goes on.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, BinaryIO

from ...errors import InputError
from ...files import LEFTOVER, cache_home, locked, remove_leftovers, staged, write_atomically
from .row_file import RowFile

__all__ = ["Entry", "Rows", "alone", "clear", "entries", "find", "folder", "key_of", "written"]

VERSION = 1  # of the rows and of what is told of them
SAMPLES, SAMPLE = 64, 1 << 16  # pieces of a table, and their bytes, that its key is made from


@dataclass(frozen=True)
class Rows:
    """What an entry holds.

    Args:
        key: stands for the table's content.
        width: numbers a row, the target among them.
        classes: whether targets are numbers of classes.
        train: rows of the training part, which come first.
        validation: rows of the validation part.
        digests: stand for what the rows of the two parts hold.
        preparation: how they were made.
    """

    key: str
    width: int
    classes: bool
    train: int
    validation: int
    digests: tuple[str, str]
    preparation: Mapping[str, Any]

    @property
    def size(self) -> int:
        """Bytes of the file of rows."""
        return 4 * self.width * (self.train + self.validation)

    def parts(self, path: Path) -> tuple[RowFile, RowFile]:
        """The training part and the validation part."""
        common: dict[str, Any] = {"width": self.width, "classes": self.classes}
        train, validation = self.digests
        return (
            RowFile(path, first=0, rows=self.train, digest=train, **common),
            RowFile(path, first=self.train, rows=self.validation, digest=validation, **common),
        )


@dataclass(frozen=True)
class Entry:
    """Files that belong together: what ``downslope cache`` shows.

    Args:
        source: the table.
        size: bytes.
    """

    source: str
    size: int


def folder() -> Path:
    """Where the rows are kept.

    Raises:
        InputError: it cannot be made.
    """
    path = cache_home() / "tables"
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(
            f"Large tables are converted into {str(path)!r}, which cannot be made: "
            f"{error.strerror}. Set DOWNSLOPE_CACHE to a folder of yours."
        ) from None
    return path


def key_of(path: Path) -> str:
    """Stands for a table's content: its size, its time of change, and pieces of it.

    Raises:
        OSError: it cannot be read.
    """
    about = path.stat()
    digest = hashlib.blake2b(f"{VERSION} {about.st_size} {about.st_mtime_ns}".encode())
    with path.open("rb") as file:
        for piece in range(SAMPLES):
            file.seek(about.st_size * piece // SAMPLES)
            digest.update(file.read(SAMPLE))
    return digest.hexdigest()[:24]


def name_of(path: Path, declared: Mapping[str, Any]) -> str:
    """Stands for a table's path and what was declared about it."""
    told = json.dumps([str(path.resolve()), dict(declared)], sort_keys=True)
    return hashlib.blake2b(told.encode()).hexdigest()[:24]


@contextlib.contextmanager
def alone(name: str) -> Iterator[None]:
    """While entered, no other process makes this entry: one of torchrun's does, the others wait."""
    try:
        lock = locked(folder() / f"{name}.lock")  # ends with the process, however that ends
    except ImportError:
        raise InputError(
            "Streaming a table needs a system with POSIX's files, such as Linux or macOS. Leave it "
            "out (--no-stream), or train on a part of the table."
        ) from None
    try:
        for path in folder().glob(f".{name}-*{LEFTOVER}"):  # of one that was killed
            path.unlink()
        yield
    finally:
        os.close(lock)


def find(name: str, key: str) -> tuple[Rows, Path] | None:
    """The rows of a table, where they were made from this content of it."""
    with contextlib.suppress(OSError, ValueError, TypeError, KeyError):  # as good as not there
        told = json.loads((folder() / f"{name}.json").read_text(encoding="utf-8"))["rows"]
        rows = Rows(**{**told, "digests": tuple(told["digests"])})
        path = folder() / f"{name}-{key}.rows"
        if rows.key == key and path.stat().st_size == rows.size:
            return rows, path
    return None


@contextlib.contextmanager
def written(name: str, key: str) -> Iterator[BinaryIO]:
    """A file for rows, which is there when the block ends without an error.

    Raises:
        InputError: the disk is full, or the folder cannot be written.
    """
    path = folder() / f"{name}-{key}.rows"
    try:
        with staged(path) as file:
            yield file
    except OSError as error:
        raise InputError(
            f"The rows cannot be written to {str(path.parent)!r}: {error.strerror or error}. Make "
            "room, or set DOWNSLOPE_CACHE to another folder."
        ) from None


def commit(name: str, source: Path, rows: Rows) -> Path:
    """Say what the rows are that were written, and forget those of an earlier content."""
    path = folder() / f"{name}-{rows.key}.rows"
    about = {"source": str(source.resolve()), "rows": asdict(rows)}
    write_atomically(folder() / f"{name}.json", json.dumps(about))
    for old in folder().glob(f"{name}-*.rows"):
        if old != path:
            old.unlink(missing_ok=True)
    return path


def entries() -> list[Entry]:
    """What is kept, the largest first."""
    found = []
    if not (cache_home() / "tables").is_dir():
        return []
    for about in folder().glob("*.json"):
        with contextlib.suppress(OSError, ValueError, KeyError):  # another process removes it
            source = json.loads(about.read_text(encoding="utf-8"))["source"]
            files = [about, *folder().glob(f"{about.stem}-*.rows")]
            found.append(Entry(source, sum(file.stat().st_size for file in files)))
    return sorted(found, key=lambda entry: -entry.size)


def clear() -> int:
    """Remove every entry; return the bytes that were freed."""
    freed = 0
    if not (cache_home() / "tables").is_dir():
        return 0
    remove_leftovers(folder())
    for path in (p for kind in ("json", "rows", "lock") for p in folder().glob(f"*.{kind}")):
        with contextlib.suppress(FileNotFoundError):  # another process was first
            size = path.stat().st_size
            path.unlink()
            freed += size
    return freed
