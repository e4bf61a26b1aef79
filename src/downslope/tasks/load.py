"""How a name becomes a task."""

from __future__ import annotations

from pathlib import Path

from ..errors import InputError, unknown
from .functions import is_function
from .own import own_task
from .task import Task

__all__ = ["load_task"]

TABLE_SUFFIXES = (".csv",)


def load_task(
    spec: str, *, target: str | None = None, seed: int = 0, folder: str | None = None
) -> Task:
    """The task named by ``spec``.

    Args:
        spec: ``"digits"`` (scikit-learn's bundled handwritten digits), the path of a CSV file, or
            ``"package.module:function"``, a function of your own that returns a :class:`Task`.
        target: the column to predict; needed for a file, refused otherwise.
        seed: of the split into a training part and a validation part of a fifth; given to a
            function that takes it.
        folder: where a function's module is looked for first; the current directory by default.

    Raises:
        InputError: an unknown name or file, or data that cannot be trained on; the message names
            the row and the column. A function that is missing or fails, or a task of which the
            parts do not fit together.
        MissingExtraError: ``downslope[data]`` is not installed.

    >>> task = load_task("digits")
    >>> len(task.train), len(task.validation), task.metric.name
    (1437, 360, 'accuracy')
    """
    if isinstance(seed, bool) or not isinstance(seed, int) or not 0 <= seed < 2**32:
        raise InputError(
            f"load_task: seed must be a whole number from 0 to 2**32 - 1, got {seed!r}."
        )
    path = Path(spec)
    if spec == "digits":
        if target is not None:
            raise InputError(f"The task 'digits' has no target column to choose, got {target!r}.")
        from .digits import digits

        return digits(seed)
    if is_function(spec):
        if target is not None:
            raise InputError(f"The task {spec!r} chooses its target itself, got {target!r}.")
        return own_task(spec, seed=seed, folder=folder)
    if path.suffix.lower() in TABLE_SUFFIXES or path.exists():
        from .table import table

        return table(path, target, seed)
    raise unknown("task", spec, ["digits", "FILE.csv", "package.module:function"])
