"""How a name on the command line becomes a task, or a model."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from ..errors import InputTypeError, told
from .bar import bar
from .options import Spec

if TYPE_CHECKING:
    from torch import nn

    from ..tasks import Task

__all__ = ["TASK", "TASK_OPTIONS", "chosen_task", "named_model", "taken"]

#: What may stand for a task on the command line.
TASK = "digits, a file or folder of data, or package.module:function"

_COLUMNS = Sequence[str] | None

#: Arguments of :func:`~downslope.load_task` as options; written out, for it imports torch.
TASK_OPTIONS = (
    Spec("target", str, None, "column of a table to predict, or array of the targets", "NAME"),
    Spec("model", str, None, "of text [default: gru]", "<gru|transformer>"),
    Spec("missing", str, None, "empty cells of a table [default: refuse]", "<refuse|impute>"),
    Spec("categorical", _COLUMNS, None, "column whose numbers are names of levels", "COLUMN"),
    Spec("dates", _COLUMNS, None, "column that holds dates", "COLUMN"),
    Spec("ignore", _COLUMNS, None, "column that is not looked at", "COLUMN"),
    Spec("na", _COLUMNS, None, "text that stands for an empty cell", "TEXT"),
    Spec("stream", bool, None, "read a table in little memory [default: if above 256 MiB]"),
    Spec("image_size", int, None, "side in pixels of images; their own, at most 64, if left out"),
    Spec("augment", str, None, "move training images a little, or mirror some too", "<shift|flip>"),
)


def taken(given: dict[str, Any]) -> dict[str, Any]:
    """Take those of :data:`TASK_OPTIONS` out of the options that were given."""
    return {spec.name: given.pop(spec.name) for spec in TASK_OPTIONS if spec.name in given}


def chosen_task(spec: str, options: dict[str, Any], *, quiet: bool = False) -> Task:
    """The task of this name, with a bar where its data take long to be read."""
    from ..tasks import load_task

    with bar(shown=not quiet) as tell:
        return load_task(spec, **options, on_progress=tell)


def named_model(spec: str, **options: Any) -> nn.Module:
    """The model of a task, or what a function of the user's own makes: a model, or a task.

    Args:
        spec: what stands for it on the command line.
        options: of :func:`~downslope.load_task`.
    """
    from torch import nn

    from ..tasks import Task
    from ..tasks.checks import check_together
    from ..tasks.functions import called, is_function
    from ..tasks.load import check_options
    from ..tasks.preparation import ModelSource

    if spec == "digits":  # its model is known without its data, whose library takes a second
        check_options(spec, spec, options)
        return ModelSource(spec)()
    if not is_function(spec):
        return chosen_task(spec, options).model()
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
