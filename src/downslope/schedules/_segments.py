"""Schedules with an end, and how they are put together."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import Literal

from ..errors import InputError, InputTypeError, unknown
from . import _shapes as shapes
from ._arguments import length, optional, ramp, steps_of
from ._schedule import Chain, Schedule, finite, in_range, whole

__all__ = [
    "constant",
    "cosine",
    "linear",
    "one_cycle",
    "one_minus_sqrt",
    "polynomial",
    "rex",
    "sequence",
    "warmup",
    "wsd",
]


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
    return shapes.Constant(
        length("constant", steps),
        optional("constant: value", value),
    )


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
    return shapes.Warmup(
        whole("warmup: steps", steps, least=0),
        finite("warmup: peak", peak),
        optional("warmup: start", start),
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
    return shapes.Linear(*ramp("linear", steps, start, end))


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
    return shapes.Cosine(*ramp("cosine", steps, start, end))


def polynomial(
    steps: int, *, power: float = 1.0, start: float | None = None, end: float = 0.0
) -> Schedule:
    r"""A power of a straight line from ``start`` at step 0 to ``end`` at step ``steps``.

    .. math:: \text{end} + (\text{start} - \text{end}) (1 - t/T)^{\text{power}}

    Args:
        steps: its length :math:`T`.
        power: above 0; 1 is :func:`linear`.
        start: the first value; None goes on from what came before it, 1 if nothing did.
        end: the value from step ``steps`` on.

    >>> from downslope.schedules import polynomial
    >>> polynomial(4, power=2)([0, 1, 2, 4]).tolist()
    [1.0, 0.5625, 0.25, 0.0]
    """
    return shapes.Polynomial(
        *ramp("polynomial", steps, start, end),
        in_range("polynomial: power", power, 0, open_low=True),
    )


def one_minus_sqrt(steps: int, *, start: float | None = None, end: float = 0.0) -> Schedule:
    r"""A fall that is quick first, from ``start`` at step 0 to ``end`` at step ``steps``.

    .. math:: \text{end} + (\text{start} - \text{end}) (1 - \sqrt{t/T})

    The cooldown that did best after a constant learning rate in the source; see :func:`wsd`.

    Args:
        steps: its length :math:`T`.
        start: the first value; None goes on from what came before it, 1 if nothing did.
        end: the value from step ``steps`` on.

    Haegele et al., Scaling Laws and Compute-Optimal Training Beyond Fixed Training Durations,
    arXiv 2405.18392, section 3.

    >>> from downslope.schedules import one_minus_sqrt
    >>> one_minus_sqrt(4)([0, 1, 4]).tolist()
    [1.0, 0.5, 0.0]
    """
    return shapes.OneMinusSqrt(*ramp("one_minus_sqrt", steps, start, end))


def rex(steps: int, *, start: float | None = None, end: float = 0.0) -> Schedule:
    r"""A fall that is slow first, from ``start`` at step 0 to ``end`` at step ``steps``.

    .. math:: \text{end} + (\text{start} - \text{end}) \frac{1 - t/T}{1/2 + (1 - t/T)/2}

    Args:
        steps: its length :math:`T`, the budget.
        start: the first value; None goes on from what came before it, 1 if nothing did.
        end: the value from step ``steps`` on.

    Chen, Wolfe, Kyrillidis, REX: Revisiting Budgeted Training with an Improved Schedule,
    arXiv 2107.04197.

    >>> from downslope.schedules import rex
    >>> rex(4)([0, 2, 4]).round(4).tolist()
    [1.0, 0.6667, 0.0]
    """
    return shapes.Rex(*ramp("rex", steps, start, end))


def one_cycle(
    steps: int,
    *,
    peak: float = 1.0,
    start: float | None = None,
    end: float | None = None,
    rise: float = 0.3,
    shape: shapes.CurveShape = "cosine",
) -> Schedule:
    """Up from ``start`` to ``peak``, then down to ``end``, which the last of ``steps`` has.

    Args:
        steps: all of it; beyond them it stays at ``end``. (torch's ``OneCycleLR`` raises.)
        peak: the highest value.
        start: the first value; None is ``peak / 25``.
        end: the last value; None is ``start / 10_000``.
        rise: the share of the steps that go up, from 0 to 1.
        shape: ``"cosine"`` or ``"linear"``, of both parts.

    Smith and Topin, Super-Convergence, arXiv 1708.07120; the defaults are torch's.

    >>> from downslope.schedules import one_cycle
    >>> one_cycle(11, rise=5 / 11, start=0.0, end=0.0)([0, 4, 7, 10]).round(12).tolist()
    [0.0, 1.0, 0.5, 0.0]
    """
    if shape not in shapes.CURVE_SHAPES:
        raise unknown("shape for one_cycle", shape, shapes.CURVE_SHAPES)
    return shapes.OneCycle(
        whole("one_cycle: steps", steps),
        finite("one_cycle: peak", peak),
        optional("one_cycle: start", start),
        optional("one_cycle: end", end),
        in_range("one_cycle: rise", rise, 0, 1),
        shape,
    )


_DECAYS = {"linear": linear, "cosine": cosine, "1-sqrt": one_minus_sqrt}


def wsd(
    rising: int,
    stable: int,
    falling: int,
    *,
    peak: float = 1.0,
    end: float = 0.0,
    decay: Literal["linear", "cosine", "1-sqrt"] = "linear",
) -> Schedule:
    """Warmup, stable, decay: up, level, down to a floor; a chain of the three.

    Args:
        rising: steps of warmup; 0 is none.
        stable: steps at the peak; 0 is none.
        falling: steps of decay.
        peak: the highest value.
        end: the floor, held after the decay.
        decay: its shape; ``"1-sqrt"`` is :func:`one_minus_sqrt`.

    Hu et al., MiniCPM, arXiv 2404.06395, section 4; the shapes: Haegele et al., arXiv 2405.18392.

    >>> from downslope.schedules import wsd
    >>> wsd(500, 8_000, 1_500, peak=1e-3, end=1e-5, decay="1-sqrt")
    warmup(500, peak=0.001) >> constant(8000) >> one_minus_sqrt(1500, end=1e-05)
    """
    if decay not in _DECAYS:
        raise unknown("decay for wsd", decay, _DECAYS)
    rise = warmup(whole("wsd: rising", rising, least=0), peak=finite("wsd: peak", peak))
    level = whole("wsd: stable", stable, least=0)
    fall = _DECAYS[decay](whole("wsd: falling", falling), end=finite("wsd: end", end))
    return rise >> constant(level) >> fall if level else rise >> fall


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
    parts = tuple(schedules) if isinstance(schedules, Iterable) else ()
    if not parts or not all(isinstance(part, Schedule) for part in parts):
        raise InputTypeError(
            f"sequence: schedules must be a list of at least one schedule, got {schedules!r}"
        )
    bounds = steps_of("sequence", milestones)
    if len(bounds) != len(parts) - 1:
        raise InputError(
            f"sequence: {len(parts)} schedules need {len(parts) - 1} milestones (where each but "
            f"the first begins), got {len(bounds)}"
        )
    if any(after <= before for before, after in pairwise(bounds)):
        raise InputError(f"sequence: milestones must increase, got {list(bounds)}")
    return Chain(parts, bounds)
