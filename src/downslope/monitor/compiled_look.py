"""A whole look in one compiled call, made when the step is done.

Every call from Python between steps of a small model costs a microsecond or two, most of it because
the step has driven what it needs out of the caches.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numba import njit

from ..engines.cpu.library import ask, view_float64, view_int64
from ..engines.cpu.look import AS_PLANNED, HEADER, look
from .compiled_pass import one_pass
from .compiled_step import results
from .memory import ITEMS, SUMS, floats, ints, number, view

__all__ = ["LOST", "OTHER_PASS", "WHOLE", "keep", "whole"]

#: What :func:`whole` answers: all was measured; all but the pass; nothing.
WHOLE, OTHER_PASS, LOST = 0, 1, 2

#: Where arrays are in the table: those of the engines' look(); the device, the dtype, an element's
#: bytes, how many numbers a pass has, one_pass()'s table and least rows; where two copies of the
#: parameters lie; three as results() takes them; the ids of the types that tensors may have.
_FUNCTIONS, _POINTERS, _ADDRESSES, _DIMS, _FIRST, _LAYOUT, _DTYPES = range(7)
_NUMBERS, _COPIES, _CHUNKS, _SUMS_OF_CHUNKS, _SIZES, _TYPES, _COUNT = range(7, 14)


@njit(fastmath=SUMS)
def _step(
    kind: Any,
    size: int,  # an element's bytes
    addresses: Any,  # [parameters or gradients, tensors]
    old: Any,  # [tensors] where the parameters were copied to before the step
    new: Any,  # [tensors] where they are copied to now; may be the same
    chunks: Any,  # [chunks, 3] tensor, first number, numbers
    sums: Any,  # [chunks, 4] is written
) -> None:
    """What ``gradients`` and ``movement`` of compiled_step.py do around a step, after it."""
    for c in range(len(chunks)):
        tensor, start, count = chunks[c, 0], chunks[c, 1] * size, chunks[c, 2]
        p = view(kind, addresses[0, tensor] + start, count)
        g = view(kind, addresses[1, tensor] + start, count)
        before = view(kind, old[tensor] + start, count)
        after = view(kind, new[tensor] + start, count)
        squares, zero, weights, moved = 0.0, np.int64(0), 0.0, 0.0
        for k in range(count):
            value = number(kind, g[k])
            squares += value * value
            zero += np.int64(value == 0)
            was = number(kind, before[k])
            away = number(kind, p[k]) - was
            weights += was * was
            moved += away * away
            after[k] = p[k]
        sums[c, 0], sums[c, 1], sums[c, 2], sums[c, 3] = squares, zero, weights, moved


@njit(fastmath=SUMS)
def _copy(kind: Any, p: Any, to: Any) -> Any:
    squares = 0.0
    for k in range(len(p)):
        value = number(kind, p[k])
        squares += value * value
        to[k] = p[k]
    return squares


@njit(cache=True)
def keep(kind: Any, table: int, to: int) -> Any:
    """Copy the parameters to one of the two places.

    Returns:
        the sum of their squares, not finite if they are not; minus infinity if one was replaced.
    """
    words = view_int64(table, 2 * _COUNT)
    functions, sizes = ints(words, _FUNCTIONS), ints(words, _SIZES)
    pointers, addresses = ints(words, _POINTERS), ints(words, _ADDRESSES)
    copies = ints(words, _COPIES).reshape(2, len(sizes))
    answer, squares = np.zeros(1, np.int64), 0.0
    for k in range(len(sizes)):
        if ask(functions[6], pointers[k], answer.ctypes.data) != 0 or answer[0] != addresses[k]:
            return -math.inf
        p, copy = view(kind, addresses[k], sizes[k]), view(kind, copies[to, k], sizes[k])
        squares += _copy(kind, p, copy)
    return squares


@njit(inline="always")
def _plain(ids: Any, types: Any) -> Any:
    """Whether objects are of these types; their own memory says of which they are."""
    for k in range(len(ids)):
        kind, found = view_int64(ids[k], 2)[1], False
        for other in range(len(types)):
            found = found or types[other] == kind
        if not found:
            return False
    return True


@njit(cache=True)
def whole(
    kind: Any,  # of an element
    table: int,  # the address of the table above
    grads: int,  # the id of a tuple of gradients, or None for those that are missing
    tensors: int,  # the id of a tuple of the pass's tensors; 0 without a pass
    length: int,  # of that
    old: int,  # which copies are of before the step
    new: int,  # which are written
    row: int,  # the address of the row that is written
    step: float,
    share: float,
    waited: float,
) -> Any:
    """Measure the gradients, the step and the forward pass.

    Returns:
        one of the answers above; the sum of what was measured of the parameters, finite if that is.
    """
    words = view_int64(table, 2 * _COUNT)
    sizes, numbers = ints(words, _SIZES), ints(words, _NUMBERS)
    count = len(sizes)
    width = 4 * count + 1
    ids = view_int64(grads + ITEMS, count)
    pointers = ints(words, _POINTERS).reshape(2, count)
    addresses = ints(words, _ADDRESSES).reshape(2, count)
    types = ints(words, _TYPES)
    if not _plain(ids, types):
        return LOST, math.nan
    for k in range(count):
        pointers[1, k] = ids[k] + HEADER
    verdict = look(
        ints(words, _FUNCTIONS),
        pointers,
        addresses,
        ints(words, _DIMS),
        ints(words, _FIRST),
        ints(words, _LAYOUT),
        ints(words, _DTYPES),
        numbers[0],
    )
    if verdict != AS_PLANNED:
        return LOST, math.nan
    copies = ints(words, _COPIES).reshape(2, count)
    chunks = ints(words, _CHUNKS).reshape(-1, 3)
    sums = floats(words, _SUMS_OF_CHUNKS).reshape(-1, 4)
    of_pass = numbers[3]
    _step(kind, numbers[2], addresses, copies[old], copies[new], chunks, sums)
    numbers_of = view_float64(row, 3 + of_pass + width)
    total = results(sums, chunks, sizes, 1.0, numbers_of[3 + of_pass :])
    numbers_of[0], numbers_of[1 + of_pass], numbers_of[2 + of_pass] = step, share, waited
    seen = tensors != 0 and _plain(view_int64(tensors + ITEMS, length), types)
    if seen and one_pass(kind, numbers[1], numbers[4], tensors, numbers[5], row + 8):
        return WHOLE, total
    return OTHER_PASS, total
