"""``downslope advise``: a starting recipe for a task or a model, with its reasons."""

from __future__ import annotations

from typing import Annotated

import typer

from .app import Debug
from .model import TASK, ImageSize, Target, named_model

__all__ = ["command"]


def command(
    task: Annotated[
        str,
        typer.Argument(
            help=f"{TASK} (which may give a model too)",
            metavar="TASK",
        ),
    ],
    target: Target = None,
    image_size: ImageSize = None,
    debug: Debug = False,
) -> None:
    """Advise a starting recipe for a task or a model, with a reason for every line."""
    from ..doctor import advise

    typer.echo(str(advise(named_model(task, target=target, image_size=image_size))))
