"""What a look measures of parameters around a step, in compiled passes over their memory.

Two calls for all of them, each tensor read once in each, in float64.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numba import njit

from .memory import SUMS, number, view

__all__ = ["gradients", "movement", "results", "total"]


@njit(cache=True, nogil=True, fastmath=SUMS)
def gradients(
    kind: Any,  # of an element
    size: int,  # its bytes
    addresses: Any,  # [parameters or gradients, tensors]
    copies: Any,  # [tensors] where the parameters are copied to
    chunks: Any,  # [chunks, 3] tensor, first number, numbers
    sums: Any,  # [chunks, 4]: sum of squares and zeros of gradients are written
    begin: int,
    end: int,
) -> None:
    """Measure gradients and keep the parameters as they are."""
    for c in range(begin, end):
        tensor, start, count = chunks[c, 0], chunks[c, 1] * size, chunks[c, 2]
        p = view(kind, addresses[0, tensor] + start, count)
        g = view(kind, addresses[1, tensor] + start, count)
        copy = view(kind, copies[tensor] + start, count)
        squares, zero = 0.0, np.int64(0)
        for k in range(count):
            value = number(kind, g[k])
            squares += value * value
            zero += np.int64(value == 0)
            copy[k] = p[k]
        sums[c, 0], sums[c, 1] = squares, zero


@njit(cache=True, nogil=True, fastmath=SUMS)
def movement(
    kind: Any,
    size: int,
    addresses: Any,
    copies: Any,
    chunks: Any,
    sums: Any,  # [chunks, 4]: sums of squares of the copies and of what was added are written
    begin: int,
    end: int,
) -> None:
    """Measure the parameters as they were, and how far they moved since."""
    for c in range(begin, end):
        tensor, start, count = chunks[c, 0], chunks[c, 1] * size, chunks[c, 2]
        p = view(kind, addresses[0, tensor] + start, count)
        copy = view(kind, copies[tensor] + start, count)
        squares, moved = 0.0, 0.0
        for k in range(count):
            value = number(kind, copy[k])
            away = number(kind, p[k]) - value
            squares += value * value
            moved += away * away
        sums[c, 2], sums[c, 3] = squares, moved


@njit(cache=True)
def total(sums: Any) -> Any:
    """The sum of the squares of all gradients."""
    found = 0.0
    for c in range(len(sums)):
        found += sums[c, 0]
    return found


@njit(cache=True)
def results(sums: Any, chunks: Any, sizes: Any, scale: float, found: Any) -> Any:
    """What the sums say of each tensor, in the order in which an event has it; the sum of all that.

    Args:
        sums: see :func:`gradients` and :func:`movement`.
        chunks: [chunks, 3]; those of a tensor follow each other.
        sizes: [tensors] how many numbers each has.
        scale: what gradients were multiplied by.
        found: [4 * tensors + 1] is written: the norms of gradient, weight and update and the share
            of zeros in the gradient, one tensor after another; the norm of all gradients.
    """
    found[:] = 0.0
    for c in range(len(chunks)):
        at = 4 * chunks[c, 0]
        found[at] += sums[c, 0]
        found[at + 3] += sums[c, 1]
        found[at + 1] += sums[c, 2]
        found[at + 2] += sums[c, 3]
    whole = 0.0
    for t in range(len(sizes)):
        at = 4 * t
        whole += found[at]
        found[at] = math.sqrt(found[at]) / scale
        found[at + 1], found[at + 2] = math.sqrt(found[at + 1]), math.sqrt(found[at + 2])
        found[at + 3] /= max(1, sizes[t])
    found[4 * len(sizes)] = math.sqrt(whole) / scale
    return found.sum()
