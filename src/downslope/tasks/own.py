"""A task of the user's own: what a function in a module of theirs returns."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from ..errors import InputTypeError, told
from .checks import check_together
from .functions import called
from .task import Task

__all__ = ["own_task"]


def own_task(spec: str, *, seed: int = 0, folder: str | None = None) -> Task:
    """The task that a function returns; it is tried on two rows first.

    Args:
        spec: ``package.module:function``. The function takes no argument, or ``seed``.
        seed: given to a function that has an argument of that name.
        folder: where modules are looked for first; ``None`` is the current directory.

    Raises:
        InputError: no such module or function, or it fails, or its task's parts do not fit.
        InputTypeError: it returns something else than a :class:`~downslope.Task`.
    """
    home = str(Path(folder or Path.cwd()).resolve())
    task = called(spec, seed=seed, folder=home)
    if not isinstance(task, Task):
        raise InputTypeError(
            f"{spec!r} must return a downslope.Task, got {told(task)}. Does it end "
            "with `return Task(...)`?"
        )
    check_together(task)
    source = {"spec": spec, "target": None, "seed": seed, "folder": home}
    return dataclasses.replace(task, source=source)
