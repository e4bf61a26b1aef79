"""``downslope export``: a run's model as files for other programs."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from .app import Debug
from .predict import Checkpoint, RunFolder, Which

__all__ = ["command"]


def command(
    run: RunFolder,
    out: Annotated[
        Path | None, typer.Option(help="where the files go [default: RUN/export]", metavar="DIR")
    ] = None,
    checkpoint: Checkpoint = Which.BEST,
    debug: Debug = False,
) -> None:
    """Write a run's model as safetensors, as a torch.export program, and what they need."""
    from ..training import export

    files = export(run, out, checkpoint=checkpoint.value)
    for what, path in asdict(files).items():
        typer.echo(f"{what:8} {path}")
