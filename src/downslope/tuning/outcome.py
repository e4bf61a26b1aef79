"""What came of one run, as far as a comparison looks at it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from statistics import fmean, median
from typing import Any, Literal

__all__ = ["Outcome", "Point"]

Record = Mapping[str, Any]
Ending = Literal["finished", "early stop", "diverged", "pruned"]

HELD = 4  # a run holds what it shows in the last quarter of its validations


@dataclass(frozen=True)
class Point:
    """A validation: after how many steps, the metric and the loss."""

    step: int
    metric: float
    loss: float


@dataclass(frozen=True)
class Outcome:
    """How a run went.

    Args:
        curve: its validations.
        steps: optimizer steps done.
        step_seconds: median time between two steps with nothing else in between, or where there are
            no two such, between a validation and the next step; None of a run without steps.
        ending: ``"diverged"``: a loss was not finite; ``"pruned"``: the doctor saw no hope.
        finding: what the doctor saw; empty otherwise.
    """

    curve: tuple[Point, ...]
    steps: int
    step_seconds: float | None
    ending: Ending
    finding: str = ""

    @classmethod
    def of(cls, records: Sequence[Record], ending: Ending, finding: str = "") -> Outcome:
        """From a run's records.

        >>> train = [{"event": "train", "step": k, "seconds": 0.1 * k} for k in (1, 2, 3)]
        >>> seen = {"event": "validation", "step": 3, "metric": 0.9, "loss": 0.5}
        >>> outcome = Outcome.of([*train, seen], "finished")
        >>> outcome.steps, round(outcome.step_seconds, 3), outcome.curve[0].metric
        (3, 0.1, 0.9)
        """
        return cls(
            curve=tuple(
                Point(r["step"], r["metric"], r["loss"])
                for r in records
                if r["event"] == "validation"
            ),
            steps=max((r["step"] for r in records if r["event"] == "train"), default=0),
            step_seconds=_step_seconds(records),
            ending=ending,
            finding=finding,
        )

    @classmethod
    def from_dict(cls, values: Record) -> Outcome:
        """What :meth:`to_dict` wrote."""
        names = {**values, "curve": tuple(Point(*point) for point in values["curve"])}
        return cls(**{name: names[name] for name in cls.__dataclass_fields__})

    def to_dict(self) -> dict[str, Any]:
        """Plain data for the journal."""
        return {**asdict(self), "curve": [[p.step, p.metric, p.loss] for p in self.curve]}

    @property
    def failed(self) -> bool:
        """Whether it ended before its time, for its own fault."""
        return self.ending in ("diverged", "pruned")

    def steps_to(self, target: float, *, higher_is_better: bool) -> float:
        """Steps until a validation showed the target; infinite where none did.

        >>> curve = (Point(10, 0.8, 1.0), Point(20, 0.9, 0.5))
        >>> Outcome(curve, 20, 0.1, "finished").steps_to(0.85, higher_is_better=True)
        20.0
        """
        sign = 1 if higher_is_better else -1
        reached = (p.step for p in self.curve if sign * p.metric >= sign * target)
        return float(next(reached, math.inf))

    def seconds_to(self, target: float, *, higher_is_better: bool) -> float:
        """The same in seconds of training; validations and checkpoints are not counted."""
        steps = self.steps_to(target, higher_is_better=higher_is_better)
        return math.inf if self.step_seconds is None else steps * self.step_seconds

    def held(self) -> float | None:
        """The mean metric over the last quarter of the validations; None of a run that failed."""
        if self.failed or not self.curve:
            return None
        last = self.curve[-max(1, len(self.curve) // HELD) :]
        return fmean(p.metric for p in last)

    def best(self, *, higher_is_better: bool) -> float | None:
        """The best metric that was seen."""
        seen = [p.metric for p in self.curve]
        return (max(seen) if higher_is_better else min(seen)) if seen else None


def _step_seconds(records: Sequence[Record]) -> float | None:
    """What a step takes.

    >>> train, seen = {"event": "train", "step": 1}, {"event": "validation", "step": 1}
    >>> _step_seconds([{**train, "seconds": 9.0}, {**seen, "seconds": 9.5},
    ...                {**train, "seconds": 10.5}])
    1.0
    """
    steps = [r for r in records if r["event"] in ("train", "validation")]
    for before in ("train", "validation"):
        times = [
            b["seconds"] - a["seconds"]
            for a, b in pairwise(records if before == "train" else steps)
            if a["event"] == before and b["event"] == "train"
        ]
        if times:
            return float(median(times))
    return next((r["seconds"] / r["step"] for r in steps if r["event"] == "train"), None)
