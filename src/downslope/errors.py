"""One exception hierarchy: what came, what is allowed, what to do.

Every error that a user can cause is a :class:`DownslopeError`; the command line prints it as one
line and exits 2. Where `torch` raises ``ValueError`` or ``TypeError`` ours are those too, so a
program that catches torch's errors catches ours.
"""

from __future__ import annotations

import difflib
import math
from collections.abc import Iterable
from itertools import takewhile
from typing import TypeGuard

__all__ = [
    "CheckpointError",
    "DownslopeError",
    "EngineError",
    "InputError",
    "InputTypeError",
    "MissingExtraError",
    "NonfiniteGradientError",
    "NonfiniteLossError",
    "guess",
    "is_whole",
    "told",
    "unknown",
]

#: Names that other libraries give what has a shorter one here.
SPELT_OUT: dict[str, str] = {"learning_rate": "lr"}


class DownslopeError(Exception):
    """Anything a user can cause and mend. ``str(error)`` is one line."""


class InputError(DownslopeError, ValueError):
    """A value that is not allowed."""


class InputTypeError(DownslopeError, TypeError):
    """A value of a type that is not allowed."""


class EngineError(DownslopeError, RuntimeError):
    """An engine was asked for by name and cannot serve these tensors."""


class NonfiniteGradientError(DownslopeError, RuntimeError):
    """A gradient is infinite or NaN, and that was to be an error; nothing was changed."""


class NonfiniteLossError(DownslopeError, RuntimeError):
    """A closure's loss, or a gradient of it, is infinite or NaN."""


class CheckpointError(DownslopeError, RuntimeError):
    """A checkpoint is missing, damaged, or of another kind."""


class MissingExtraError(DownslopeError, ImportError):
    """An optional dependency is not installed; the message names the extra."""

    def __init__(self, package: str, extra: str, purpose: str) -> None:
        super().__init__(
            f"{purpose} needs {package}, which is not installed. "
            f"Install it with: pip install 'downslope[{extra}]'"
        )


def unknown(kind: str, name: object, allowed: Iterable[str]) -> InputError:
    """The error for a name that is not in a list, with the nearest names offered.

    >>> print(unknown("optimizer", "adamv", ["adam", "adamw", "sgd"]))
    Unknown optimizer 'adamv'. Did you mean 'adam' or 'adamw'? Allowed: adam, adamw, sgd.
    """
    names = sorted(allowed)
    return InputError(f"Unknown {kind} {name!r}.{guess(name, names)} Allowed: {', '.join(names)}.")


def guess(name: object, allowed: Iterable[str], *, most: int = 2, cutoff: float = 0.6) -> str:
    """The question whether a near name was meant, after a space; nothing where none is near.

    Args:
        name: what came.
        allowed: what could have been meant.
        most: how many of them are offered.
        cutoff: how alike they must be, from 0 to 1.

    >>> guess("momentun", ["lr", "momentum"]), guess("learning_rate", ["lr"]), guess("x", ["lr"])
    (" Did you mean 'momentum'?", " Did you mean 'lr'?", '')
    """
    text, names = str(name), list(allowed)

    def likeness(other: str) -> tuple[float, int]:
        """How alike they are; among equals those first that begin alike."""
        pair = other.lower(), text.lower()
        begin = takewhile(lambda letters: letters[0] == letters[1], zip(*pair, strict=False))
        return difflib.SequenceMatcher(None, *pair).ratio(), len(list(begin))

    alike = [other for other in names if likeness(other)[0] >= cutoff]
    near = sorted(alike, key=likeness, reverse=True)[:most]
    if SPELT_OUT.get(text) in names:
        near = [SPELT_OUT[text]]
    return f" Did you mean {' or '.join(map(repr, near))}?" if near else ""


def is_whole(value: object, least: int, most: float = math.inf) -> TypeGuard[int]:
    """Whether a value is an int between two limits, which True and False are not.

    >>> is_whole(3, 1), is_whole(True, 1), is_whole(3.0, 1), is_whole(4, 1, 3)
    (True, False, False, False)
    """
    return isinstance(value, int) and not isinstance(value, bool) and least <= value <= most


def told(value: object) -> str:
    """A value of a wrong type as an error names it: its type, and itself where it is short.

    >>> told(None), told(3), told([0] * 100)
    ('None', 'int 3', 'a list')
    """
    if value is None:
        return "None"
    kind, shape = type(value).__name__, getattr(value, "shape", None)
    if isinstance(shape, tuple):
        return f"a {kind} of shape {tuple(shape)}"
    shown = repr(value)
    return f"{kind} {shown}" if len(shown) <= 60 and "\n" not in shown else f"a {kind}"
