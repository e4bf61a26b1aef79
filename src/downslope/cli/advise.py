"""``downslope advise``: a starting recipe for a task or a model, with its reasons."""

from __future__ import annotations

from typing import Annotated

import typer

from .app import Debug
from .model import named_model

__all__ = ["command"]


def command(
    task: Annotated[
        str,
        typer.Argument(
            help="digits, the path of a CSV file, or package.module:function that makes a model",
            metavar="TASK",
        ),
    ],
    target: Annotated[
        str | None, typer.Option(help="column of the file to predict", metavar="COLUMN")
    ] = None,
    debug: Debug = False,
) -> None:
    """Advise a starting recipe for a task or a model, with a reason for every line."""
    from ..doctor import advise

    typer.echo(str(advise(named_model(task, target))))
