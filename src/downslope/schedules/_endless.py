"""Schedules without an end: staircases, powers, cycles, and functions of your own."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise

from ..errors import InputError, unknown
from . import _shapes as shapes
from ._arguments import function_of, length, optional, ramp, steps_of
from ._schedule import Schedule, finite, in_range, whole

__all__ = [
    "cosine_restarts",
    "cyclic",
    "exponential",
    "function",
    "inverse_sqrt",
    "multiplicative",
    "multistep",
    "step",
]


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
    return shapes.Step(
        whole("step: every", every),
        finite("step: gamma", gamma),
        optional("step: start", start),
    )


def multistep(
    milestones: Sequence[int], *, gamma: float = 0.1, start: float | None = None
) -> Schedule:
    r"""A staircase with steps at given places: ``start`` times ``gamma`` for each one passed.

    Args:
        milestones: steps > 0 that do not decrease; one that stands there twice counts twice.
        gamma: what the value is multiplied by at each.
        start: the first value; None goes on from what came before it, 1 if nothing did.

    >>> from downslope.schedules import multistep
    >>> multistep([30, 80], gamma=0.5)([29, 30, 79, 80]).tolist()
    [1.0, 0.5, 0.5, 0.25]
    """
    bounds = steps_of("multistep", milestones)
    if any(after < before for before, after in pairwise(bounds)):
        raise InputError(f"multistep: milestones must not decrease, got {list(bounds)}")
    return shapes.Multistep(
        bounds, finite("multistep: gamma", gamma), optional("multistep: start", start)
    )


def exponential(gamma: float, *, start: float | None = None) -> Schedule:
    r"""The same factor at every step: :math:`\text{start} \cdot \gamma^t`, for ever.

    Args:
        gamma: >= 0.
        start: the first value; None goes on from what came before it, 1 if nothing did.

    >>> from downslope.schedules import exponential
    >>> exponential(0.5)([0, 1, 3]).tolist()
    [1.0, 0.5, 0.125]
    """
    gamma = in_range("exponential: gamma", gamma, 0)
    return shapes.Exponential(gamma, optional("exponential: start", start))


def inverse_sqrt(
    timescale: int, *, steps: int | None = None, start: float | None = None
) -> Schedule:
    r"""A fall with the root of the time: :math:`\text{start} \sqrt{\tau / (\tau + t)}`.

    After a warmup of ``timescale`` steps it is the Transformer's: from the peak on, the value is
    the peak times the root of the warmup's length over the step.

    Args:
        timescale: :math:`\tau`, usually the length of the warmup before it.
        steps: where it stops and holds its value; None never does.
        start: the first value; None goes on from what came before it, 1 if nothing did.

    Vaswani et al., Attention Is All You Need, arXiv 1706.03762, section 5.3.

    >>> from downslope.schedules import inverse_sqrt, warmup
    >>> (warmup(100, peak=1e-3) >> inverse_sqrt(100))([100, 400]).tolist()
    [0.001, 0.0005]
    """
    return shapes.InverseSqrt(
        whole("inverse_sqrt: timescale", timescale),
        length("inverse_sqrt", steps),
        optional("inverse_sqrt: start", start),
    )


def function(
    function: Callable[[int], float], *, steps: int | None = None, start: float | None = None
) -> Schedule:
    """Any function of the step, times ``start``: torch's ``LambdaLR`` without the state.

    Args:
        function: from a step, 0 first, to a finite factor. It must depend on nothing else, or a
            resumed run is another one. A lambda cannot be pickled; a function of a module can.
        steps: where it stops and holds its value; None never does.
        start: what it is multiplied by; None goes on from what came before it, 1 if nothing did.

    >>> from downslope.schedules import function
    >>> function(lambda t: 0.5**t)([0, 1, 2]).tolist()
    [1.0, 0.5, 0.25]
    """
    return shapes.Function(
        function_of("function", function),
        length("function", steps),
        optional("function: start", start),
    )


def multiplicative(function: Callable[[int], float], *, start: float | None = None) -> Schedule:
    r"""The product of a function's values: :math:`\text{start} \prod_{k=1}^{t} f(k)`.

    Args:
        function: from a step, 1 first, to what the value is multiplied by there.
        start: the first value; None goes on from what came before it, 1 if nothing did.

    >>> from downslope.schedules import multiplicative
    >>> multiplicative(lambda t: 0.5 if t % 2 else 1.0)([0, 1, 2, 3]).tolist()
    [1.0, 0.5, 0.5, 0.25]
    """
    return shapes.Multiplicative(
        function_of("multiplicative", function), optional("multiplicative: start", start)
    )


def cosine_restarts(
    steps: int, *, mult: int = 1, start: float | None = None, end: float = 0.0
) -> Schedule:
    r""":func:`cosine` over and over: from ``start`` to ``end``, and with a jump back to ``start``.

    Args:
        steps: length of the first cycle.
        mult: how many times longer each cycle is than the one before.
        start: the first value of a cycle; None goes on from what came before, 1 if nothing did.
        end: what each cycle falls to; its last step is one short of it.

    Loshchilov and Hutter, SGDR, arXiv 1608.03983.

    >>> from downslope.schedules import cosine_restarts
    >>> cosine_restarts(2, mult=2)([0, 1, 2, 4, 6]).round(12).tolist()
    [1.0, 0.5, 1.0, 0.5, 1.0]
    """
    first_length, first, last = ramp("cosine_restarts", steps, start, end)
    return shapes.CosineRestarts(first_length, whole("cosine_restarts: mult", mult), first, last)


def cyclic(
    up: int,
    *,
    down: int | None = None,
    low: float = 0.1,
    high: float = 1.0,
    shape: shapes.CycleShape = "triangular",
    gamma: float = 1.0,
) -> Schedule:
    r"""Straight up from ``low`` to ``high`` and straight down again, for ever.

    Args:
        up: steps up.
        down: steps down; None is as many.
        low: the value at step 0 and between two cycles. (Above ``high`` it is the cycle that a
            momentum goes through.)
        high: the value at the top.
        shape: ``"triangular"``; ``"triangular2"`` halves the height with each cycle;
            ``"exp_range"`` multiplies it by ``gamma ** step``.
        gamma: of ``"exp_range"``, >= 0.

    Smith, Cyclical Learning Rates for Training Neural Networks, arXiv 1506.01186.

    >>> from downslope.schedules import cyclic
    >>> cyclic(2, low=0.0)([0, 1, 2, 3, 4, 5]).tolist()
    [0.0, 0.5, 1.0, 0.5, 0.0, 0.5]
    """
    if shape not in shapes.CYCLE_SHAPES:
        raise unknown("shape for cyclic", shape, shapes.CYCLE_SHAPES)
    return shapes.Cyclic(
        whole("cyclic: up", up),
        None if down is None else whole("cyclic: down", down),
        finite("cyclic: low", low),
        finite("cyclic: high", high),
        shape,
        in_range("cyclic: gamma", gamma, 0),
    )
