"""Pure schedules: functions from a step to a value, which can stand in for any hyperparameter.

A schedule's value is what the optimizer uses, as it is. Built without numbers of your own it
runs between 1 and 0, a *factor*; ``* 1e-3`` or ``peak=1e-3`` makes a learning rate of it:

>>> from downslope.schedules import cosine, warmup
>>> lr = 1e-3 * (warmup(500) >> cosine(9_500))                # a shape, times the peak
>>> lr = warmup(500, peak=1e-3) >> cosine(9_500, end=1e-6)    # or the values themselves
>>> lr
warmup(500, peak=0.001) >> cosine(9500, end=1e-06)
>>> lr(500), lr(10_000)
(0.001, 1e-06)

What follows ``>>`` goes on from where the part before it ended, unless it is given a ``start``.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from ..errors import InputError, InputTypeError
from ._schedule import (
    Chain,
    Constant,
    Cosine,
    Linear,
    Schedule,
    Step,
    Warmup,
    finite,
    whole,
)

__all__ = ["Schedule", "constant", "cosine", "linear", "sequence", "step", "warmup"]


def constant(steps: int | None = None, *, value: float | None = None) -> Schedule:
    """One value, for a number of steps (before ``>>``) or for ever.

    Args:
        steps: how long; None never ends.
        value: the value; None goes on from what came before it, 1 if nothing did.

    >>> from downslope.schedules import constant, linear, warmup
    >>> wsd = warmup(100, peak=3e-4) >> constant(700) >> linear(200)  # warm up, hold, decay
    >>> [round(wsd(s), 6) for s in (100, 799, 900, 1000)]
    [0.0003, 0.0003, 0.00015, 0.0]
    """
    return Constant(
        None if steps is None else whole("constant: steps", steps),
        None if value is None else finite("constant: value", value),
    )


def step(every: int, *, gamma: float = 0.1, start: float | None = None) -> Schedule:
    r"""A staircase: :math:`\text{start} \cdot \gamma^{\lfloor t / \text{every} \rfloor}`.

    Args:
        every: steps between two changes.
        gamma: what the value is multiplied by at each change.
        start: the first value; None goes on from what came before it, 1 if nothing did.

    >>> from downslope.schedules import step
    >>> step(30, gamma=0.5)([0, 29, 30, 60]).tolist()
    [1.0, 1.0, 0.5, 0.25]
    """
    return Step(
        whole("step: every", every),
        finite("step: gamma", gamma),
        None if start is None else finite("step: start", start),
    )


def linear(steps: int, *, start: float | None = None, end: float = 0.0) -> Schedule:
    r"""A straight line from ``start`` at step 0 to ``end`` at step ``steps``, held from there.

    Args:
        steps: its length :math:`T`; the value at :math:`t` is
            :math:`\text{start} (1 - t/T) + \text{end} \cdot t/T`.
        start: the first value; None goes on from what came before it, 1 if nothing did.
        end: the value from step ``steps`` on.

    >>> from downslope.schedules import linear
    >>> linear(4)([0, 1, 2, 3, 4, 5]).tolist()
    [1.0, 0.75, 0.5, 0.25, 0.0, 0.0]
    """
    return Linear(*_ramp("linear", steps, start, end))


def cosine(steps: int, *, start: float | None = None, end: float = 0.0) -> Schedule:
    r"""Half a cosine from ``start`` at step 0 to ``end`` at step ``steps``, held from there.

    .. math:: \text{end} + (\text{start} - \text{end}) \frac{1 + \cos(\pi t / T)}{2}

    It stays at ``end``; torch's ``CosineAnnealingLR`` climbs back after its ``T_max``.

    Args:
        steps: its length :math:`T`.
        start: the first value; None goes on from what came before it, 1 if nothing did.
        end: the value from step ``steps`` on.

    Loshchilov and Hutter, SGDR, arXiv 1608.03983, equation 5, without restarts.

    >>> from downslope.schedules import cosine
    >>> cosine(2, start=0.1, end=0.02)([0, 1, 2, 3]).round(12).tolist()
    [0.1, 0.06, 0.02, 0.02]
    """
    return Cosine(*_ramp("cosine", steps, start, end))


def warmup(steps: int, *, peak: float = 1.0, start: float | None = None) -> Schedule:
    """A straight line up to ``peak``, which the first step *after* the warmup has.

    Args:
        steps: how many steps stay below the peak; 0 is no warmup.
        peak: the value from step ``steps`` on.
        start: the first value; None is one increment, ``peak / (steps + 1)``, so that no step is
            wasted at zero and none repeats the peak.

    >>> from downslope.schedules import warmup
    >>> warmup(4)([0, 1, 2, 3, 4]).round(12).tolist()
    [0.2, 0.4, 0.6, 0.8, 1.0]
    >>> warmup(4, start=0.0)([0, 1, 2, 3, 4]).tolist()
    [0.0, 0.25, 0.5, 0.75, 1.0]
    """
    return Warmup(
        whole("warmup: steps", steps, least=0),
        finite("warmup: peak", peak),
        None if start is None else finite("warmup: start", start),
    )


def sequence(schedules: Sequence[Schedule], milestones: Sequence[int]) -> Schedule:
    """One schedule after another, changing at given steps: ``>>`` for parts of any length.

    Part ``i`` is asked for the steps ``milestones[i - 1] <= step < milestones[i]``, counted from
    0 at its own beginning: no step is shared or skipped.

    Args:
        schedules: at least one.
        milestones: where each but the first begins: one fewer than schedules, increasing, > 0.

    >>> from downslope.schedules import cosine, sequence, step
    >>> sequence([step(2, gamma=0.5), cosine(4)], milestones=[5])([4, 5, 9]).tolist()
    [0.25, 0.25, 0.0]
    """
    parts = tuple(schedules)
    if not parts or not all(isinstance(part, Schedule) for part in parts):
        raise InputTypeError(
            f"sequence: schedules must be a list of at least one schedule, got {schedules!r}"
        )
    bounds = tuple(whole("sequence: a milestone", bound) for bound in milestones)
    if len(bounds) != len(parts) - 1:
        raise InputError(
            f"sequence: {len(parts)} schedules need {len(parts) - 1} milestones (where each but "
            f"the first begins), got {len(bounds)}"
        )
    if any(after <= before for before, after in pairwise(bounds)):
        raise InputError(f"sequence: milestones must increase, got {list(bounds)}")
    return Chain(parts, bounds)


def _ramp(
    name: str, steps: int, start: float | None, end: float
) -> tuple[int, float | None, float]:
    return (
        whole(f"{name}: steps", steps),
        None if start is None else finite(f"{name}: start", start),
        finite(f"{name}: end", end),
    )
