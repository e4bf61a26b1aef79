"""Events of one form: everything that is equal in them is put together once.

A look's event has some forty numbers under names that hardly change. As dictionaries they would be
made, searched for what is not finite and encoded anew each time.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import Any

from .tensors import plain

__all__ = ["Block", "Form", "Part", "form", "laid_out"]

COUNTS = frozenset({"step", "rows", "calls"})  # of which numbers are whole
_FORMS = 64  # kept; a model of few parameters has two or three


class Part:
    """Some numbers of an event. Told from others by identity, so make each once.

    Args:
        path: the keys that lead to where they are.
        names: of the numbers.
        said: names and values that are equal in all events of the form.
    """

    __slots__ = ("names", "path", "said")

    def __init__(
        self, path: tuple[str, ...], names: tuple[str, ...], said: tuple[tuple[str, Any], ...] = ()
    ) -> None:
        self.path, self.names, self.said = path, names, said


class Block:
    """Parts that many events have in common."""

    __slots__ = ("parts",)

    def __init__(self, *parts: Part) -> None:
        self.parts = parts


class Form:
    """All of an event but its numbers.

    Attributes:
        said: what all its events say alike.
        paths: the keys that lead to each number.

    >>> seen = form((Part((), ("step",), (("event", "monitor"),)), Part(("input",), ("largest",))))
    >>> seen.event([3, 0.5])
    {'event': 'monitor', 'input': {'largest': 0.5}, 'step': 3}
    """

    def __init__(self, parts: tuple[Part, ...]) -> None:
        self.said: dict[str, Any] = {}
        for some in parts:
            _place(self.said, some.path).update(some.said)
        self.paths = [(*some.path, name) for some in parts for name in some.names]

    def event(self, numbers: Sequence[float]) -> dict[str, Any]:
        """The event with these numbers; None for those that are not finite."""
        return laid_out(self.said, self.paths, map(plain, map(float, numbers)))

    def record(self, rows: Any) -> dict[str, Any]:
        """The events with these rows of numbers as one record: see ``records.py``."""
        return {"event": "looks", "said": self.said, "paths": self.paths, "numbers": rows}


def laid_out(
    said: dict[str, Any], paths: Sequence[Sequence[str]], numbers: Iterable[float | None]
) -> dict[str, Any]:
    """The event that says this, with each number where its path leads.

    >>> laid_out({"event": "monitor"}, [["output", "scale"]], [0.5])
    {'event': 'monitor', 'output': {'scale': 0.5}}
    """
    event = _copy(said)
    for path, number in zip(paths, numbers, strict=True):
        name = path[-1]
        is_count = number is not None and name in COUNTS
        _place(event, path[:-1])[name] = int(number or 0) if is_count else number
    return event


def _place(event: dict[str, Any], path: Sequence[str]) -> dict[str, Any]:
    """Where a path leads, made if it is not there."""
    for name in path:
        event = event.setdefault(name, {})
    return event


def _copy(value: dict[str, Any]) -> dict[str, Any]:
    return {k: _copy(v) if isinstance(v, dict) else v for k, v in value.items()}


_NOTHING = Block()


@lru_cache(_FORMS)
def form(parts: tuple[Part, ...], block: Block = _NOTHING) -> Form:
    """The form with these parts, and those of a block behind them."""
    return Form(parts + block.parts)
