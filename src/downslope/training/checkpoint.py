"""A checkpoint file: written whole or not at all, and read only if every bit is the written one.

The file is torch's own format, so ``torch.load(path, weights_only=True)`` gives back what was
saved. That format is a zip archive; its checksums, which ``torch.load`` never looks at, leave out
headers and padding. So the archive ends in a comment, which readers of zip files skip::

    downslope 2 crc32 89abcdef

a version, and the CRC-32 of all bytes before the comment. It finds every flipped bit and every
burst of up to 32, at several times the speed of a cryptographic digest.
"""

from __future__ import annotations

import re
import zipfile
import zlib
from collections import OrderedDict
from pathlib import Path
from typing import Any, BinaryIO

import torch
from torch import nn

from ..errors import CheckpointError, InputTypeError
from ..files import staged

__all__ = ["VERSION", "load", "refuse_strange", "save", "unwritable", "version"]

#: Of the files written here. Version 1 had no comment: its state held ``format`` and ``version``.
VERSION = 2
_FORMAT_1 = "downslope-checkpoint"
_COMMENT = re.compile(rb"downslope (\d+) crc32 ([0-9a-f]{8})")
_NO_COMMENT = b"\0\0"  # how long it is, in the last two bytes that torch writes
_BLOCK = 1 << 20

_NUMBERS = (type(None), bool, int, float, complex, str, bytes)
_TENSORS = (torch.Tensor, nn.Parameter)
_PLAIN = frozenset((*_NUMBERS, *_TENSORS, torch.dtype, torch.device, torch.Size))


def save(obj: Any, path: str | Path) -> None:
    """Write ``obj`` to ``path``: the new file or, after any kind of failure, the old one.

    It is staged beside the target, flushed to the disk and renamed. Nothing is copied in memory.

    Args:
        obj: plain data: numbers, strings, ``None``, tensors; lists, tuples and dicts of such.
        path: the target; its folder must exist.

    Raises:
        InputTypeError: ``obj`` holds something else; its place is named.
        CheckpointError: the disk is full, or the folder is missing or read-only.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     save({"step": 3}, f"{folder}/a.pt")
    ...     load(f"{folder}/a.pt"), torch.load(f"{folder}/a.pt", weights_only=True)
    ({'step': 3}, {'step': 3})
    """
    refuse_strange(obj)
    path = Path(path)
    try:
        with staged(path) as file:
            counted = _Summing(file)
            torch.save(obj, counted)  # type: ignore[arg-type]  # torch asks for two methods of it
            comment = b"downslope %d crc32 %08x" % (VERSION, counted.crc)
            file.seek(-len(_NO_COMMENT), 2)
            file.write(len(comment).to_bytes(2, "little") + comment)
    except (OSError, RuntimeError) as error:
        # torch's writer wraps what the file raised, or dies of a write that was cut short.
        cause = next((e for e in (error, error.__context__) if isinstance(e, OSError)), None)
        if cause is None:
            raise
        raise unwritable(path, cause) from error


def unwritable(path: Path, cause: OSError) -> CheckpointError:
    """The error for a checkpoint that the disk does not take."""
    kept = "the checkpoint before it is kept" if path.exists() else "nothing was written"
    return CheckpointError(
        f"Checkpoint {str(path)!r} cannot be written: {cause.strerror or cause}; {kept}. Make "
        "room or make the folder writable, then go on from it."
    )


def load(path: str | Path) -> Any:
    """Read a checkpoint onto the CPU, after its checksum agrees; only plain data is unpickled.

    Files of version 1 are read as well; they hold a run's state.

    Raises:
        CheckpointError: the file is missing, damaged, of a later version, or not a checkpoint of
            Downslope; one line says which.
    """
    path = Path(path)
    with _opened(path) as file:
        found = _verify(path, file)
        file.seek(0)
        try:
            obj = torch.load(file, map_location="cpu", weights_only=True)
        except Exception as error:  # noqa: BLE001 - whatever unpacking trips over is damage
            raise _damaged(path, " ".join(str(error).split())) from None
    return obj if found == VERSION else _of_version_1(path, obj)


def version(path: str | Path) -> int:
    """The version of a checkpoint whose checksum agrees, without reading what it holds.

    Raises:
        CheckpointError: as :func:`load`.
    """
    path = Path(path)
    with _opened(path) as file:
        return _verify(path, file)


def refuse_strange(obj: Any, place: str = "") -> None:
    """Raise for what a reader of plain data could not read back.

    >>> refuse_strange({"a": [1, object()]})
    Traceback (most recent call last):
    downslope.errors.InputTypeError: A checkpoint holds plain data, got object at ['a'][1]. ...
    """
    kind = type(obj)
    if kind in _PLAIN:
        return
    if kind in (list, tuple):
        for i, value in enumerate(obj):
            refuse_strange(value, f"{place}[{i}]")
    elif kind in (dict, OrderedDict):
        for key, value in obj.items():
            refuse_strange(key, f"{place}, key {key!r}")
            refuse_strange(value, f"{place}[{key!r}]")
    else:
        at = f" at {place}" if place else ""
        raise InputTypeError(
            f"A checkpoint holds plain data, got {kind.__name__}{at}. Give numbers, strings, "
            "tensors, and lists, tuples and dicts of them; torch.from_numpy takes arrays."
        )


class _Summing:
    """The file that ``torch.save`` writes to, once, front to back; keeps the sum as it goes."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.crc = 0

    def write(self, data: bytes | memoryview) -> int:
        self.crc = zlib.crc32(data, self.crc)
        return self._file.write(data)

    def flush(self) -> None:
        self._file.flush()


def _opened(path: Path) -> BinaryIO:
    """The file, opened once: a writer may replace it while it is checked and read."""
    try:
        if path.is_dir():
            raise IsADirectoryError(21, "Is a directory")
        return path.open("rb")
    except OSError as error:
        raise CheckpointError(
            f"Checkpoint {str(path)!r} cannot be read: {error.strerror or error}."
        ) from None


def _verify(path: Path, file: BinaryIO) -> int:
    """The file's version, once its checksums agree."""
    size = file.seek(0, 2)
    tail_size = min(size, 64)
    file.seek(-tail_size, 2)
    tail = file.read()
    match = next((m for m in [*_COMMENT.finditer(tail)] if m.end() == tail_size), None)
    if match is None:
        return _verify_1(path, file)
    number, crc = int(match[1]), int(match[2], 16)
    length = match.end() - match.start()
    if number != VERSION:
        raise CheckpointError(
            f"{str(path)!r} is a checkpoint of version {number}; this Downslope reads versions 1 "
            f"to {VERSION}. Install a newer one."
        )
    if tail[match.start() - 2 : match.start()] != length.to_bytes(2, "little"):
        raise _damaged(path, "its end is not a checkpoint's")
    if _crc(file, size - length - 2) != crc:
        raise _damaged(path, "its checksum is wrong")
    return number


def _crc(file: BinaryIO, size: int) -> int:
    """The checksum of the first bytes of a file, and of the two that say "no comment"."""
    crc = 0
    file.seek(0)
    while size:
        block = file.read(min(size, _BLOCK))
        if not block:
            return -1
        crc = zlib.crc32(block, crc)
        size -= len(block)
    return zlib.crc32(_NO_COMMENT, crc)


def _verify_1(path: Path, file: BinaryIO) -> int:
    """Version 1 was torch's archive and nothing else, guarded by the checksums of its parts."""
    try:
        archive = zipfile.ZipFile(file)
        part = archive.testzip()
    except Exception as error:  # noqa: BLE001 - whatever unpacking trips over is damage
        raise _damaged(path, " ".join(str(error).split())) from None
    if part is not None:
        raise _damaged(path, f"the checksum of {part} is wrong")
    if archive.comment:
        raise _damaged(path, "its end is not a checkpoint's")
    return 1


def _of_version_1(path: Path, obj: Any) -> Any:
    if not isinstance(obj, dict) or obj.get("format") != _FORMAT_1:
        raise CheckpointError(
            f"{str(path)!r} is a torch file, but not a checkpoint of Downslope. Read it with "
            "torch.load(path, weights_only=True)."
        )
    if obj.get("version") != 1:
        raise CheckpointError(
            f"{str(path)!r} is a checkpoint of version {obj.get('version')}; this Downslope reads "
            f"versions 1 to {VERSION}."
        )
    return {k: v for k, v in obj.items() if k not in ("format", "version")}


def _damaged(path: Path, reason: str) -> CheckpointError:
    return CheckpointError(f"Checkpoint {str(path)!r} is damaged or not a checkpoint: {reason}.")
