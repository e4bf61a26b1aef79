"""Functions of the user's own, by the name of their module: found, and called."""

from __future__ import annotations

import importlib
import inspect
import sys
from pathlib import Path
from typing import Any

from ..errors import DownslopeError, InputError, InputTypeError, told

__all__ = ["FORM", "called", "found", "is_function"]

FORM = "package.module:function"  #: how they are named


def is_function(spec: str) -> bool:
    """Whether a name is meant as a function in a module, not as a file.

    >>> is_function("my.tasks:shapes"), is_function("shapes.csv"), is_function("digits")
    (True, False, False)
    """
    return ":" in spec and not Path(spec).exists()


def called(spec: str, *, seed: int | None = None, folder: str | None = None) -> Any:
    """What a function of the user's returns.

    Args:
        spec: ``package.module:function``.
        seed: handed on to a function that takes ``seed``; another one refuses all but 0.
        folder: where modules are looked for first; ``None`` is the current directory.

    Raises:
        InputError: no such module or function, or one that fails; the message says how.
    """
    function = found(spec, folder)
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


def found(spec: str, folder: str | None = None) -> Any:
    """The function itself, from a module that is imported.

    Raises:
        InputError: no such module, or nothing of that name in it, or the import fails.
        InputTypeError: what has the name cannot be called.
    """
    name, _, function = spec.partition(":")
    if not all(part.isidentifier() for part in (*name.split("."), *function.split("."))):
        raise InputError(f"{spec!r} is no function and no file. Give {FORM}, or a file's path.")
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
