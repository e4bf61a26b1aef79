"""Text as bytes: the files of a folder, one after another."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from ...errors import InputError

__all__ = ["read_bytes", "text_files"]

_BINARY = b"\x00"  # no text has one in its first bytes
_LOOKED_AT = 8192


def text_files(path: Path) -> list[Path]:
    """A file; or the files below a folder, in order of their names.

    Hidden and binary files of a folder are left out.

    Raises:
        InputError: no such file, a binary one, or a folder without text.
    """
    if not path.is_dir():
        if _is_binary(path):
            raise InputError(
                f"{str(path)!r} holds a byte 0, which no text does. Give a text file, or a folder."
            )
        return [path]
    below = sorted(p for p in path.rglob("*") if p.is_file())
    hidden = (any(part.startswith(".") for part in p.relative_to(path).parts) for p in below)
    shown = [p for p, is_hidden in zip(below, hidden, strict=True) if not is_hidden]
    texts = [p for p in shown if p.stat().st_size and not _is_binary(p)]
    if not texts:
        raise InputError(
            f"{str(path)!r} holds neither images in folders of their class nor text files."
        )
    return texts


def read_bytes(files: Sequence[Path]) -> Tensor:
    """All bytes of some files, one after another, uint8.

    Raises:
        InputError: one cannot be read.
    """
    content = bytearray()
    for file in files:
        try:
            content += file.read_bytes()
        except OSError as error:
            raise InputError(f"{str(file)!r} cannot be read: {error.strerror}.") from None
    return torch.frombuffer(content, dtype=torch.uint8) if content else torch.empty(0).byte()


def _is_binary(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            return _BINARY in file.read(_LOOKED_AT)
    except OSError as error:
        raise InputError(f"{str(path)!r} cannot be read: {error.strerror}.") from None
