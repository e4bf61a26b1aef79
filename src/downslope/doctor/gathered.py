"""A run's events in columns, as they come: so that a look at a long run need not read all again."""

from __future__ import annotations

import math
from array import array
from collections.abc import Iterable
from typing import Any, Self

import numpy as np

from ..monitor.records import each, gone_back

__all__ = ["Gathered", "number"]

Event = dict[str, Any]

_COLUMNS = (("step", "q"), ("loss", "d"), ("lr", "d"))  #: of every step, and how they are kept


class Gathered:
    """Steps as three arrays, other events as they were, by kind.

    >>> told = Gathered().add({"event": "steps", "step": [1, 2], "loss": [2.0, None], "lr": [1, 1]})
    >>> told.column("loss"), len(told.go_back(1).column("step"))
    (array([ 2., nan]), 1)
    """

    def __init__(self) -> None:
        self._columns: dict[str, array[Any]] = {name: array(kind) for name, kind in _COLUMNS}
        self._others: dict[str, list[Event]] = {}

    @classmethod
    def of(cls, events: Iterable[Event]) -> Self:
        """All of these."""
        told = cls()
        for event in events:
            told.add(event)
        return told

    def add(self, event: Event) -> Self:
        """Take note of an event, as :mod:`downslope.monitor.records` has them."""
        kind, columns = event["event"], self._columns
        if kind == "train":
            columns["step"].append(event["step"])
            columns["loss"].append(number(event["loss"]))
            columns["lr"].append(number(event["lr"]))
        elif kind == "steps":
            columns["step"].extend(event["step"])
            columns["loss"].extend(map(number, event["loss"]))
            columns["lr"].extend(map(number, event["lr"]))
        else:
            for one in each(event):
                self._others.setdefault(one["event"], []).append(one)
        return self

    def go_back(self, step: int) -> Self:
        """Forget what belongs to later steps, and how the run ended then."""
        keep = self.column("step") <= step
        for name, kind in _COLUMNS:
            self._columns[name] = array(kind, self.column(name)[keep].tobytes())
        for kind, events in self._others.items():
            self._others[kind] = gone_back(events, step)
        return self

    def column(self, name: str) -> Any:
        """``step``, ``loss`` or ``lr`` of every step recorded."""
        return np.array(self._columns[name])

    def events(self, kind: str) -> list[Event]:
        """Those of a kind."""
        return self._others.get(kind, [])

    def newest(self, kind: str) -> Event:
        """The last one of a kind; empty where there is none."""
        return next(reversed(self.events(kind)), {})


def number(value: Any) -> float:
    """A record's number; NaN for null."""
    return math.nan if value is None else float(value)
