"""``downslope advise``: a starting recipe for a task or a model, with its reasons."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from .app import Debug
from .model import TASK, TASK_OPTIONS, named_model
from .options import with_options

__all__ = ["command"]


def _advise(
    task: Annotated[
        str,
        typer.Argument(
            help=f"{TASK} (which may give a model too)",
            metavar="TASK",
        ),
    ],
    debug: Debug = False,
    *,
    given: dict[str, Any],
) -> None:
    """Advise a starting recipe for a task or a model, with a reason for every line."""
    from ..doctor import advise

    typer.echo(str(advise(named_model(task, **given))))


command = with_options(_advise, TASK_OPTIONS)
