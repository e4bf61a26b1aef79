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

==================  ======================================================================
ramps to an end     :func:`linear`, :func:`cosine`, :func:`polynomial`, :func:`one_minus_sqrt`,
                    :func:`rex`; :func:`warmup` rises
without an end      :func:`constant`, :func:`step`, :func:`multistep`, :func:`exponential`,
                    :func:`inverse_sqrt`, :func:`function`, :func:`multiplicative`
cycles              :func:`cyclic`, :func:`cosine_restarts`, :func:`one_cycle`
made of others      :func:`wsd`, :func:`sequence`, ``>>``, ``*``
==================  ======================================================================

What depends on a metric is no function of the step: see
:class:`~downslope.optim.lr_scheduler.ReduceLROnPlateau`.
"""

from __future__ import annotations

from ._endless import (
    cosine_restarts,
    cyclic,
    exponential,
    function,
    inverse_sqrt,
    multiplicative,
    multistep,
    step,
)
from ._parse import parse
from ._schedule import Schedule
from ._segments import (
    constant,
    cosine,
    linear,
    one_cycle,
    one_minus_sqrt,
    polynomial,
    rex,
    sequence,
    warmup,
    wsd,
)

__all__ = [
    "Schedule",
    "constant",
    "cosine",
    "cosine_restarts",
    "cyclic",
    "exponential",
    "function",
    "inverse_sqrt",
    "linear",
    "multiplicative",
    "multistep",
    "one_cycle",
    "one_minus_sqrt",
    "parse",
    "polynomial",
    "rex",
    "sequence",
    "step",
    "warmup",
    "wsd",
]
