"""Checkpoints that a kill cannot destroy and that damage cannot pass.

Saving: the bytes go to a temporary file beside the target, are flushed to the disk, and are
renamed over it; a reader sees the old file or the new one, never half of one. Reading: torch's
format is a zip archive whose checksums ``torch.load`` never looks at, so they are checked first,
and only plain data is unpickled.
"""

from __future__ import annotations

import io
import zipfile
from pathlib import Path
from typing import Any, BinaryIO

import torch

from ..errors import CheckpointError
from ..files import write_atomically

__all__ = ["load_checkpoint", "save_checkpoint"]

FORMAT = "downslope-checkpoint"
VERSION = 1


def save_checkpoint(state: dict[str, Any], path: str | Path) -> None:
    """Write ``state`` to ``path``, all or nothing.

    Args:
        state: plain data and tensors: numbers, strings, lists, tuples and dicts of them.
        path: the target; its folder must exist.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     save_checkpoint({"step": 3}, f"{folder}/a.pt")
    ...     load_checkpoint(f"{folder}/a.pt")["step"]
    3
    """
    buffer = io.BytesIO()
    torch.save({"format": FORMAT, "version": VERSION, **state}, buffer)
    write_atomically(path, buffer.getbuffer())


def load_checkpoint(path: str | Path) -> dict[str, Any]:
    """Read a checkpoint onto the CPU, after its checksums agree.

    Raises:
        CheckpointError: the file is missing, damaged, or not a checkpoint of Downslope.
    """
    path = Path(path)
    try:
        with path.open("rb") as file:  # opened once: a writer may replace it in between
            state = _verified(file)
    except OSError as error:
        raise CheckpointError(
            f"Checkpoint {str(path)!r} cannot be read: {error.strerror or error}."
        ) from None
    except Exception as error:  # noqa: BLE001 - whatever unpacking trips over is damage
        raise _damaged(path, " ".join(str(error).split())) from None
    if not isinstance(state, dict) or state.get("format") != FORMAT:
        raise CheckpointError(f"{str(path)!r} is a torch file, but not a checkpoint of Downslope.")
    if state.get("version") != VERSION:
        raise CheckpointError(
            f"{str(path)!r} is a checkpoint of version {state.get('version')}; this Downslope "
            f"reads version {VERSION}."
        )
    return state


def _verified(file: BinaryIO) -> Any:
    """What a file holds, once the checksums of its parts agree."""
    part = zipfile.ZipFile(file).testzip()
    if part is not None:
        raise zipfile.BadZipFile(f"the checksum of {part} is wrong")
    file.seek(0)
    return torch.load(file, map_location="cpu", weights_only=True)


def _damaged(path: Path, reason: str) -> CheckpointError:
    return CheckpointError(
        f"Checkpoint {str(path)!r} is damaged or not a checkpoint: {reason}. Use another one, such "
        "as best.pt beside last.pt, or train again."
    )
