"""How a name on the command line becomes a task, or a model."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..errors import InputError, InputTypeError, told

if TYPE_CHECKING:
    from torch import nn

__all__ = ["TASK", "named_model"]

#: What may stand for a task on the command line.
TASK = "digits, a file or folder of data, or package.module:function"


def named_model(spec: str, target: str | None = None) -> nn.Module:
    """The model of a task, or what a function of the user's own makes: a model, or a task."""
    from torch import nn

    from ..tasks import Task, load_task
    from ..tasks.checks import check_together
    from ..tasks.functions import called, is_function

    if not is_function(spec):
        return load_task(spec, target=target).model()
    if target is not None:
        raise InputError(f"{spec!r} chooses its target itself, got {target!r}.")
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
