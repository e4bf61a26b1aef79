"""``downslope checkpoint inspect``: whether a checkpoint is sound, and what it holds."""

from __future__ import annotations

from collections.abc import Iterator
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..errors import CheckpointError, InputError
from .app import Debug
from .units import in_bytes

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["command", "described"]


class Action(StrEnum):
    """What can be done with checkpoints."""

    INSPECT = "inspect"


def command(
    action: Annotated[Action, typer.Argument(help="what to do", metavar="inspect")],
    path: Annotated[
        Path, typer.Argument(help="a checkpoint, or the directory of a run", metavar="PATH")
    ],
    debug: Debug = False,
) -> None:
    """Say whether a checkpoint is sound, and what it holds."""
    if not path.exists():
        raise InputError(f"{str(path)!r} does not exist. Give a checkpoint, or a run's directory.")
    damaged = None
    for file in _files(path):
        try:
            typer.echo("\n".join(described(file)))
        except CheckpointError as error:
            damaged = error
            typer.echo(str(error))
    if damaged is not None:
        raise typer.Exit(2)


def described(file: Path) -> Iterator[str]:
    """Lines about a checkpoint; raises where it is not sound."""
    from ..engines.layout import dtype_name
    from ..training import checkpoint

    version, obj = checkpoint.version(file), checkpoint.load(file)
    yield f"{file}: sound, format version {version}, {in_bytes(file.stat().st_size)}"
    if not isinstance(obj, dict):
        yield f"  a {type(obj).__name__}"
        return
    progress = obj.get("progress")
    if isinstance(progress, dict):
        yield "  " + ", ".join(f"{k} {v}" for k, v in progress.items() if v is not None)
    for name, part in obj.items():
        tensors = list(_tensors(part))
        if tensors:
            kinds = sorted({dtype_name(t.dtype) for t in tensors})
            numbers = sum(t.numel() for t in tensors)
            size = in_bytes(sum(t.nbytes for t in tensors))
            yield f"  {name}: {len(tensors)} tensors, {numbers:,} x {', '.join(kinds)}, {size}"
        elif not isinstance(part, (dict, list, tuple)):
            yield f"  {name}: {part}"


def _files(path: Path) -> list[Path]:
    """The checkpoint, or all those of a run, the newest first."""
    if not path.is_dir():
        return [path]
    files = [*path.glob("*.pt"), *path.glob("checkpoints/*.pt")]
    if not files:
        raise InputError(
            f"{str(path)!r} holds no checkpoint. Give a file, or the directory of a run that has "
            "begun to train."
        )
    return sorted(files, key=lambda file: file.stat().st_mtime_ns, reverse=True)


def _tensors(value: Any) -> Iterator[Tensor]:
    import torch

    if isinstance(value, torch.Tensor):
        yield value
    elif isinstance(value, (dict, list, tuple)):
        for part in value.values() if isinstance(value, dict) else value:
            yield from _tensors(part)
