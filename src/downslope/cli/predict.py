"""``downslope predict``: what a run's model says about the rows of a file."""

from __future__ import annotations

from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from .app import Debug
from .bar import bar

__all__ = ["command"]


class Which(StrEnum):
    """Which checkpoint."""

    BEST = "best"
    LAST = "last"


RunFolder = Annotated[Path, typer.Argument(help="the directory of a run", metavar="RUN")]
Checkpoint = Annotated[Which, typer.Option(help="the one with the best metric, or the newest")]


def command(
    run: RunFolder,
    file: Annotated[
        Path, typer.Argument(help="a file like the one that was trained on", metavar="FILE")
    ],
    out: Annotated[
        Path | None,
        typer.Option(
            help="where the predictions go, .csv or .parquet [default: FILE-predictions.csv]",
            metavar="FILE",
        ),
    ] = None,
    checkpoint: Checkpoint = Which.BEST,
    device: Annotated[
        str | None, typer.Option(help="where the model runs [default: cpu]", metavar="NAME")
    ] = None,
    debug: Debug = False,
) -> None:
    """Predict for every row of a file, with the model of a run."""
    from ..training import Run, write_predictions

    target = out or Path(f"{file.stem}-predictions.csv")
    trained = Run.load(run)
    with bar() as tell:
        on_share = None if tell is None else partial(tell, file.name)
        rows = write_predictions(
            trained, file, target, checkpoint=checkpoint.value, device=device, on_share=on_share
        )
    typer.echo(f"{rows:,} rows predicted with {checkpoint.value}.pt of {run} -> {target}")
