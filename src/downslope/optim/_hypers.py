"""Groups' hyperparameters as rows of numbers, checked at once where they can be."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ..rules import Hyper, Rule
from . import _beyond
from ._checks import check_alike, check_group

__all__ = ["checked"]

Rows = tuple[tuple[Any, ...], ...]

_NUMBERS = frozenset((float, int))


def checked(
    owner: str, rule: Rule, groups: Sequence[Mapping[str, Any]], defaults: Mapping[str, Any]
) -> tuple[Rows, bool]:
    """Each group's hyperparameters, and whether there are tensors among them.

    Args:
        owner: the optimizer's name.
        rule: its rule.
        groups: all of its groups.
        defaults: its defaults.

    Raises:
        InputError: one was set since and cannot be used.
    """
    hypers: Rows = ()
    tensors = True
    lengths = rule.lengths.items()
    if all(_has_length(g[key], length) for g in groups for key, length in lengths):
        hypers = tuple(tuple(_or_nan(h.of(g)) for h in rule.scalar_hypers) for g in groups)
        limits = [
            (h, g[h.name])
            for h in _beyond.CLIPS
            if h.name in defaults
            for g in groups
            if g[h.name] is not None
        ]
        kinds = {type(v) for v in itertools.chain(*hypers, (v for _, v in limits))}
        tensors = not kinds <= _NUMBERS
        if (
            not tensors
            and _inside(rule.scalar_hypers, hypers)
            and all(h.allows(v) for h, v in limits)
            and not any(map(rule.refuses, groups))
        ):
            check_alike(owner, rule, groups)
            return hypers, tensors
    for group in groups:  # one by one: the error names what is wrong
        check_group(owner, rule, group)
    check_alike(owner, rule, groups)
    return hypers, tensors


def _inside(hypers: Sequence[Hyper], values: tuple[tuple[Any, ...], ...]) -> bool:
    """Whether all groups' hyperparameters are in their ranges."""
    rows = np.array(values, np.float64).reshape(len(values), len(hypers))
    # A range has no holes, so its ends speak for all between; NaN is the minimum of its column.
    ends = zip(hypers, rows.min(0).tolist(), rows.max(0).tolist(), strict=True)
    return all(h.allows(low) and h.allows(high) for h, low, high in ends)


def _or_nan(value: Any) -> Any:
    """A hyperparameter's value; NaN for None, which stands for the machine epsilon."""
    return math.nan if value is None else value


def _has_length(value: Any, length: int) -> bool:
    return isinstance(value, (tuple, list)) and len(value) == length
