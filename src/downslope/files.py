"""Writing a file so that a kill at any moment leaves the old one or the new one, never half."""

from __future__ import annotations

import contextlib
import os
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

__all__ = [
    "LEFTOVER",
    "cache_home",
    "flush_folder",
    "locked",
    "remove_leftovers",
    "staged",
    "write_atomically",
]

LEFTOVER = ".tmp"  #: how the names of temporary files end
_AGAIN = 0.1  # seconds after which a lock is asked for again


def cache_home() -> Path:
    """``$DOWNSLOPE_CACHE``, else ``downslope`` in the user's cache folder; it may not exist yet."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(os.environ.get("DOWNSLOPE_CACHE") or Path(base) / "downslope")


@contextlib.contextmanager
def staged(path: str | Path) -> Iterator[BinaryIO]:
    """A file to write that takes the place of ``path`` when the block ends without an error.

    The bytes go to a temporary file in the same folder, which is flushed to the disk and renamed
    over the target; then the folder itself is flushed, so that the new name survives a power cut.

    Raises:
        OSError: the disk is full, or the folder is missing or not writable; the old file is kept.

    >>> with tempfile.TemporaryDirectory() as folder:
    ...     with staged(f"{folder}/note.txt") as file:
    ...         _ = file.write(b"hello")
    ...     Path(f"{folder}/note.txt").read_text()
    'hello'
    """
    path = Path(path)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=LEFTOVER)
    try:
        with open(handle, "wb") as file:  # noqa: PTH123 - a descriptor, not a path
            yield file
            file.flush()
            os.fsync(file.fileno())
        Path(name).chmod(_mode(path))
        Path(name).replace(path)
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            Path(name).unlink()
        raise
    flush_folder(path.parent)


def write_atomically(path: str | Path, data: str | bytes | memoryview) -> None:
    """Replace the file at ``path`` by ``data`` (text is written as UTF-8), all or nothing.

    Raises:
        OSError: as :func:`staged`.

    >>> with tempfile.TemporaryDirectory() as folder:
    ...     write_atomically(f"{folder}/note.txt", "hello")
    ...     Path(f"{folder}/note.txt").read_text()
    'hello'
    """
    with staged(path) as file:
        file.write(data.encode() if isinstance(data, str) else data)


def remove_leftovers(folder: str | Path) -> None:
    """Remove the temporary files of writers that were killed; nobody else may be writing there."""
    for path in Path(folder).glob(f".*{LEFTOVER}"):
        path.unlink()


def locked(path: str | Path, patience: float | None = None) -> int:
    """A descriptor that holds a file's lock until it is closed, or the process ends.

    Processes that are forked meanwhile hold it too.

    Args:
        path: made where it is missing.
        patience: seconds to wait for another process; None: as long as it takes.

    Raises:
        BlockingIOError: another process still holds it.
        ImportError: this system has no such locks.
    """
    import fcntl

    how = fcntl.LOCK_EX if patience is None else fcntl.LOCK_EX | fcntl.LOCK_NB
    until = time.monotonic() + (patience or 0.0)
    descriptor = os.open(path, os.O_CREAT | os.O_RDWR, 0o666)
    try:
        while True:
            try:
                fcntl.flock(descriptor, how)
            except BlockingIOError:
                if time.monotonic() > until:
                    raise
                time.sleep(_AGAIN)
            else:
                return descriptor
    except BaseException:
        os.close(descriptor)
        raise


def flush_folder(folder: Path) -> None:
    """Flush a folder's entries to the disk, where the system can open folders (not Windows)."""
    if os.name != "posix":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _mode(path: Path) -> int:
    """The permissions of the old file, or those that a new one would get."""
    try:
        return path.stat().st_mode & 0o777
    except FileNotFoundError:
        mask = os.umask(0)
        os.umask(mask)
        return 0o666 & ~mask
