"""``downslope predict``: what a run's model says about the rows of a file."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from .app import Debug

__all__ = ["command"]


class Which(StrEnum):
    """Which checkpoint."""

    BEST = "best"
    LAST = "last"


def command(
    run: Annotated[Path, typer.Argument(help="the directory of a run", metavar="RUN")],
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
    checkpoint: Annotated[
        Which, typer.Option(help="the one with the best metric, or the newest")
    ] = Which.BEST,
    device: Annotated[
        str | None, typer.Option(help="where the model runs [default: cpu]", metavar="NAME")
    ] = None,
    debug: Debug = False,
) -> None:
    """Predict for every row of a file, with the model of a run."""
    from ..training import Run, write_predictions

    target = out or Path(f"{file.stem}-predictions.csv")
    trained = Run.load(run)
    with _bar(file.name) as on_share:
        rows = write_predictions(
            trained, file, target, checkpoint=checkpoint.value, device=device, on_share=on_share
        )
    typer.echo(f"{rows:,} rows predicted with {checkpoint.value}.pt of {run} -> {target}")


@contextlib.contextmanager
def _bar(name: str) -> Iterator[Callable[[float], None] | None]:
    """A bar on a terminal, gone when it is done; nothing elsewhere."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    console = Console(stderr=True)
    if not console.is_terminal:
        yield None
        return
    columns = (TextColumn("{task.description}"), BarColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True) as progress:
        task = progress.add_task(name, total=1.0)
        yield lambda share: progress.update(task, completed=share)
