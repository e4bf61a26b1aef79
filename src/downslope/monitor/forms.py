"""Events of one form: everything that is equal in them is put together once.

A look's event has some forty numbers under names that hardly change. As dictionaries they would be
made, searched for what is not finite and encoded anew each time.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import lru_cache
from json import dumps
from typing import Any

from .tensors import finite

__all__ = ["Block", "Form", "Part", "columns_line", "form"]

#: Counts and times; all else has nine digits, enough to tell all of float32 apart.
_FORMATS = {"step": "%d", "rows": "%d", "calls": "%d", "seconds": "%.6f"}
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

    >>> seen = form((Part((), ("step",), (("event", "monitor"),)), Part(("input",), ("largest",))))
    >>> seen.event([3, 0.5])
    {'event': 'monitor', 'step': 3, 'input': {'largest': 0.5}}
    >>> seen.line([3, math.nan])
    '{"event": "monitor", "step": 3, "input": {"largest": null}}'
    """

    def __init__(self, parts: tuple[Part, ...]) -> None:
        self._parts = parts
        self._template = _template(self._filled([_Slot(n) for part in parts for n in part.names]))

    def event(self, numbers: Sequence[float]) -> dict[str, Any]:
        """The event with these numbers; None for those that are not finite."""
        event: dict[str, Any] = finite(self._filled(numbers))
        return event

    def line(self, numbers: Sequence[float]) -> str:
        """The same as JSON, with nine digits a number."""
        if not math.isfinite(sum(numbers)):
            return dumps(self.event(numbers), allow_nan=False)
        return self._template % tuple(numbers)

    def _filled(self, numbers: Sequence[Any]) -> dict[str, Any]:
        event: dict[str, Any] = {}
        rest = iter(numbers)
        for some in self._parts:
            place = event
            for name in some.path:
                place = place.setdefault(name, {})
            place.update(some.said)
            place.update((name, next(rest)) for name in some.names)
        return event


class _Slot:
    """Where a number of this name will stand."""

    def __init__(self, name: str) -> None:
        self.name = name


def _template(value: Any) -> str:
    if isinstance(value, dict):
        items = (f"{dumps(k).replace('%', '%%')}: {_template(v)}" for k, v in value.items())
        return f"{{{', '.join(items)}}}"
    if isinstance(value, _Slot):
        return _format(value.name)
    return dumps(value).replace("%", "%%")


_NOTHING = Block()


@lru_cache(_FORMS)
def form(parts: tuple[Part, ...], block: Block = _NOTHING) -> Form:
    """The form with these parts, and those of a block behind them."""
    return Form(parts + block.parts)


def columns_line(event: str, columns: Mapping[str, Sequence[float]]) -> str:
    """An event of columns of equal length as JSON, its numbers as those of :meth:`Form.line`.

    >>> columns_line("steps", {"step": [1, 2], "loss": [0.5, math.inf], "seconds": [0.1, 0.25]})
    '{"event": "steps", "step": [1, 2], "loss": [0.5, null], "seconds": [0.100000, 0.250000]}'
    """
    text = [f'"event": {dumps(event)}']
    for name, values in columns.items():
        if math.isfinite(sum(values)):
            inside = _formats(name, len(values)) % tuple(values)
        else:
            inside = dumps(finite(values), allow_nan=False)[1:-1]
        text.append(f'"{name}": [{inside}]')
    return f"{{{', '.join(text)}}}"


@lru_cache(_FORMS)
def _formats(name: str, count: int) -> str:
    return ", ".join([_format(name)] * count)


def _format(name: str) -> str:
    return _FORMATS.get(name, "%.9g")
