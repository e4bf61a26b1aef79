"""A task of the user's own: what a function in a module of theirs returns."""

from __future__ import annotations

import dataclasses
import importlib
import inspect
import sys
from pathlib import Path
from typing import Any

from ..errors import DownslopeError, InputError, InputTypeError, told
from .checks import check_together
from .task import Task

__all__ = ["called", "is_function", "own_task"]

_FORM = "package.module:function"


def is_function(spec: str) -> bool:
    """Whether a name is meant as a function in a module, not as a file.

    >>> is_function("my.tasks:shapes"), is_function("shapes.csv"), is_function("digits")
    (True, False, False)
    """
    return ":" in spec and not Path(spec).exists()


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


def called(spec: str, *, seed: int | None = None, folder: str | None = None) -> Any:
    """What a function of the user's returns.

    Args:
        spec: ``package.module:function``.
        seed: handed on to a function that takes ``seed``; another one refuses all but 0.
        folder: as in :func:`own_task`.

    Raises:
        InputError: no such module or function, or one that fails; the message says how.
    """
    function = _found(spec, folder)
    try:
        wanted = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):  # written in C
        raise InputTypeError(f"{spec!r} is no function of yours, but {told(function)}.") from None
    several = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    needed = [p.name for p in wanted if p.default is p.empty and p.kind not in several]
    takes_seed = any(p.name == "seed" for p in wanted)
    if set(needed) - {"seed"}:
        raise InputError(
            f"{spec!r} needs arguments ({', '.join(needed)}), but it is called with none, or with "
            "seed. Give them defaults."
        )
    if seed and not takes_seed:
        raise InputError(
            f"{spec!r} takes no seed, got seed {seed}. Give it an argument seed=0 and split by it."
        )
    try:
        return function(**({"seed": seed or 0} if takes_seed else {}))
    except DownslopeError:
        raise
    except (Exception, SystemExit) as error:
        raise InputError(f"{spec!r} raised {_in_words(error)}.") from error


def _found(spec: str, folder: str | None) -> Any:
    """The function itself, from a module that is imported."""
    name, _, function = spec.partition(":")
    if not all(part.isidentifier() for part in (*name.split("."), *function.split("."))):
        raise InputError(f"{spec!r} is no function and no file. Give {_FORM}, or a file's path.")
    home = str(Path(folder or Path.cwd()).resolve())
    if home not in sys.path:
        sys.path.insert(0, home)  # as `python -m` does
        importlib.invalidate_caches()
    try:
        found: Any = importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{name}.".startswith(f"{error.name}."):
            raise InputError(f"Importing {name!r} raised {_in_words(error)}.") from error
        raise InputError(
            f"{spec!r}: there is no module {error.name!r}, neither in {home!r} nor among what is "
            "installed."
        ) from None
    except (Exception, SystemExit) as error:
        raise InputError(f"Importing {name!r} raised {_in_words(error)}.") from error
    for part in function.split("."):
        if not hasattr(found, part):
            public = [n for n, value in vars(found).items() if callable(value) and n[0] != "_"]
            own = [n for n in public if getattr(vars(found)[n], "__module__", None) == name]
            has = f" It has: {', '.join(own[:8])}." if own else ""
            raise InputError(f"The module {name!r} has no function {function!r}.{has}")
        found = getattr(found, part)
    if not callable(found):
        raise InputTypeError(f"{spec!r} is {told(found)}, not a function.")
    return found


def _in_words(error: BaseException) -> str:
    """An error's type and message, and the place of a syntax error."""
    if isinstance(error, SyntaxError):
        return f"SyntaxError: {error.msg} ({error.filename}, line {error.lineno})"
    return f"{type(error).__name__}: {error}".rstrip(": ")
