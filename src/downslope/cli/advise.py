"""``downslope advise``: a starting recipe for a task or a model, with its reasons."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..errors import InputError
from .app import Debug

if TYPE_CHECKING:
    from torch import nn

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

    typer.echo(str(advise(_model(task, target))))


def _model(spec: str, target: str | None) -> nn.Module:
    """The model of a task, or what a function of the user's own makes."""
    if ":" not in spec or Path(spec).exists():
        from ..tasks import load_task

        return load_task(spec, target=target).model()
    module, _, function = spec.partition(":")
    if (here := str(Path.cwd())) not in sys.path:
        sys.path.insert(0, here)  # as `python -m` does
    try:
        made: Any = getattr(importlib.import_module(module), function)()
    except (ImportError, AttributeError) as error:
        raise InputError(
            f"{spec!r} is no function: {error}. Give package.module:function, importable from here."
        ) from None
    model: nn.Module = made.model() if hasattr(made, "metric") else made  # a task, or a model
    return model
