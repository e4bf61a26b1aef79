"""How a name on the command line becomes a task, or a model."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..errors import InputTypeError, told

if TYPE_CHECKING:
    from torch import nn

__all__ = ["TASK", "Augment", "ImageSize", "Target", "named_model"]

#: What may stand for a task on the command line.
TASK = "digits, a file or folder of data, or package.module:function"

Target = Annotated[
    str | None, typer.Option("--target", help="column of a table to predict", metavar="COLUMN")
]
ImageSize = Annotated[
    int | None,
    typer.Option(help="side in pixels of images; their own, at most 64, when left out"),
]
Augment = Annotated[
    str | None,
    typer.Option(
        help="shift: training images are moved a little; flip: half of them mirrored too",
        metavar="WORD",
    ),
]


def named_model(spec: str, **options: Any) -> nn.Module:
    """The model of a task, or what a function of the user's own makes: a model, or a task.

    Args:
        spec: what stands for it on the command line.
        options: of :func:`~downslope.load_task`.
    """
    from torch import nn

    from ..tasks import Task, load_task
    from ..tasks.checks import check_together
    from ..tasks.functions import called, is_function
    from ..tasks.load import check_options

    if not is_function(spec):
        return load_task(spec, **options).model()
    check_options(spec, "function", options)
    made = called(spec)
    if isinstance(made, Task):
        check_together(made)
        return made.model()
    if isinstance(made, (tuple, list)) and len(made) == 2:
        return nn.ModuleDict(dict(zip(("generator", "discriminator"), made, strict=True)))
    if not isinstance(made, nn.Module):
        raise InputTypeError(
            f"{spec!r} must return a torch module, a pair of them, or a downslope.Task, got "
            f"{told(made)}."
        )
    return made
