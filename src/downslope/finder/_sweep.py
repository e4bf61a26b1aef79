"""The sweep of a range test: one step at each of ever larger learning rates."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from contextlib import closing
from dataclasses import dataclass, field

from ._curve import Average, decay, diverged, memory
from ._trial import Trial

__all__ = ["Curve", "sweep"]


@dataclass
class Curve:
    """What a sweep saw; the fields are :class:`~downslope.finder.RangeTest`'s."""

    settled: int  # how many averages at the start are mostly noise
    lrs: list[float] = field(default_factory=list)
    losses: list[float] = field(default_factory=list)
    smoothed: list[float] = field(default_factory=list)
    diverged_at: float | None = None


def sweep(
    trial: Trial, lrs: Iterable[float], planned: int, report: Callable[[float, float], None]
) -> Curve:
    """Train at each learning rate until the last or until the loss diverges.

    Args:
        trial: what is trained.
        lrs: ascending.
        planned: how many they are at most, which decides how far back the average looks.
        report: told the learning rate and the loss of each iteration.
    """
    curve = Curve(memory(planned))
    average = Average(decay(curve.settled))
    tried: list[float] = []

    def remembered() -> Iterable[float]:
        for lr in lrs:
            tried.append(lr)
            yield lr

    with closing(trial.losses(remembered())) as losses:
        for loss in losses:
            report(tried[-1], loss)
            if math.isfinite(loss):
                curve.lrs.append(tried[-1])
                curve.losses.append(loss)
                curve.smoothed.append(average.add(loss))
            if not math.isfinite(loss) or diverged(curve.smoothed, curve.settled):
                curve.diverged_at = tried[-1]
                break
    return curve
