"""The records of a run, sorted out for drawing: pure functions on lists of dictionaries."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby
from statistics import median
from typing import Any, Literal

__all__ = ["History", "Series"]

Record = dict[str, Any]


@dataclass(frozen=True)
class Series:
    """One curve: equally long lists of optimizer steps and values (NaN where there is none)."""

    steps: list[float]
    values: list[float]

    @property
    def finite(self) -> list[float]:
        """The values that are numbers.

        >>> Series([1, 2], [0.5, math.nan]).finite
        [0.5]
        """
        return [v for v in self.values if math.isfinite(v)]

    def thinned(self, buckets: int = 400) -> Series:
        """The lowest and the highest point of each bucket, and one gap: no spike is lost.

        >>> s = Series(list(range(10_000)), [float(i == 777) for i in range(10_000)])
        >>> thin = s.thinned()
        >>> len(thin.steps) <= 800, max(thin.values)
        (True, 1.0)
        """
        count = len(self.steps)
        if count <= 2 * buckets:
            return self
        keep: list[int] = []
        for bucket in range(buckets):
            indices = range(bucket * count // buckets, (bucket + 1) * count // buckets)
            finite = [i for i in indices if math.isfinite(self.values[i])]
            chosen = {i for i in indices if not math.isfinite(self.values[i])}
            chosen = {min(chosen)} if chosen else set()
            if finite:
                chosen |= {
                    min(finite, key=self.values.__getitem__),
                    max(finite, key=self.values.__getitem__),
                }
            keep += sorted(chosen)
        return Series([self.steps[i] for i in keep], [self.values[i] for i in keep])


@dataclass(frozen=True)
class History:
    """Records by event, each list in the order of the steps."""

    starts: list[Record]
    train: list[Record]
    validation: list[Record]
    heal: list[Record]
    monitor: list[Record]

    @classmethod
    def of(cls, records: Iterable[Record]) -> History:
        """Sort the records of one run.

        >>> history = History.of([{"event": "start"}, {"event": "train", "step": 1}])
        >>> history.train, history.validation
        ([{'event': 'train', 'step': 1}], [])
        """
        by_event: dict[str, list[Record]] = {}
        for record in records:
            by_event.setdefault(record["event"], []).append(record)
        events = ("start", "train", "validation", "heal", "monitor")
        return cls(*(by_event.get(event, []) for event in events))

    def series(self, event: Literal["train", "validation"], field: str) -> Series:
        """The curve of one field of the records of one event.

        >>> records = [{"event": "train", "step": 3, "loss": 0.5}, {"event": "train", "step": 4}]
        >>> History.of(records).series("train", "loss")
        Series(steps=[3.0, 4.0], values=[0.5, nan])
        """
        records = self.train if event == "train" else self.validation
        return Series([float(r["step"]) for r in records], [_number(r.get(field)) for r in records])

    def medians(self, field: str) -> Series:
        """The median of a ``train`` field over each epoch, at the epoch's last step.

        >>> rows = [{"event": "train", "step": s, "epoch": 1, "x": 9 / s} for s in (1, 2, 3)]
        >>> History.of(rows).medians("x")
        Series(steps=[3.0], values=[4.5])
        """
        steps: list[float] = []
        values: list[float] = []
        for _, records in groupby(self.train, key=lambda r: r["epoch"]):
            epoch = list(records)
            finite = [v for v in (_number(r.get(field)) for r in epoch) if math.isfinite(v)]
            steps.append(float(epoch[-1]["step"]))
            values.append(median(finite) if finite else math.nan)
        return Series(steps, values)

    @property
    def last(self) -> Record:
        """The newest record of a step, empty before the first."""
        return max((*self.train[-1:], *self.validation[-1:]), key=lambda r: r["step"], default={})

    @property
    def plan(self) -> Record:
        """What the newest ``start`` record says, empty before it."""
        return self.starts[-1] if self.starts else {}


def _number(value: object) -> float:
    """A float; NaN, which is drawn as a gap, for what is missing."""
    return float(value) if isinstance(value, int | float) else math.nan


def spread(series: Sequence[Series]) -> float:
    """How many times the largest value is the smallest; 1 unless every value is positive.

    >>> spread([Series([1, 2], [0.1, 10.0])])
    100.0
    """
    values = [v for s in series for v in s.finite]
    return max(values) / min(values) if values and min(values) > 0 else 1.0
