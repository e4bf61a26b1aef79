"""What a look measures of a forward pass, in compiled passes over the memory of CPU tensors.

Each tensor is read once for all that is asked of it, in float64. A look at a small model is made of
a few dozen numbers, for which torch would be called a hundred times.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numba import njit
from torch import Tensor

from ..engines.cpu.library import view_float64, view_int64
from ..engines.cpu.look import HEADER
from .memory import FUNCTIONS, ITEMS, SUMS, element, floats, ints, number, places, view

__all__ = ["RELU", "SATURATED", "inputs", "moments", "one_pass", "relu", "saturated"]

_LANES = 64


@njit(inline="always")
def _four(x: Any, row: int, units: int) -> Any:
    """Four rows."""
    at = row * units
    return (
        x[at : at + units],
        x[at + units : at + 2 * units],
        x[at + 2 * units : at + 3 * units],
        x[at + 3 * units : at + 4 * units],
    )


@njit(fastmath=SUMS)
def _units_moments(kind: Any, x: Any, rows: int, units: int, inside: int) -> Any:
    """Mean and variance of each unit: sums of distances from its first number, of their squares."""
    first = np.empty(units)
    one, two = np.zeros(units), np.zeros(units)
    for u in range(units):
        first[u] = number(kind, x[u * inside])
    if inside == 1:
        whole = rows // 4 * 4  # several rows at a time: sums are read and written less often
        for row in range(0, whole, 4):
            lines = _four(x, row, units)
            for u in range(units):
                begin = first[u]
                a = number(kind, lines[0][u]) - begin
                b = number(kind, lines[1][u]) - begin
                c = number(kind, lines[2][u]) - begin
                d = number(kind, lines[3][u]) - begin
                one[u] += (a + b) + (c + d)
                two[u] += (a * a + b * b) + (c * c + d * d)
        for row in range(whole, rows):
            for u in range(units):
                away = number(kind, x[row * units + u]) - first[u]
                one[u] += away
                two[u] += away * away
    else:
        for row in range(rows):
            for u in range(units):
                at = (row * units + u) * inside
                begin, a, b = first[u], 0.0, 0.0
                for k in range(inside):
                    away = number(kind, x[at + k]) - begin
                    a += away
                    b += away * away
                one[u] += a
                two[u] += b
    count = rows * inside
    for u in range(units):
        away = one[u] / count
        two[u] = max(two[u] / count - away * away, 0.0)  # NaN stays NaN
        one[u] = first[u] + away
    return one, two


@njit
def _largest(kind: Any, x: Any) -> Any:
    """The largest absolute value where none is NaN."""
    most = np.zeros(_LANES)  # side by side, because a single one is not found over vectors
    whole = x.size // _LANES * _LANES
    for begin in range(0, whole, _LANES):
        for k in range(_LANES):
            value = abs(number(kind, x[begin + k]))
            most[k] = value if value > most[k] else most[k]
    for k in range(whole, x.size):
        most[0] = max(most[0], abs(number(kind, x[k])))
    return most.max()


@njit
def _middle(values: Any) -> Any:
    """The lower median; ``values`` are reordered."""
    low, high, wanted = 0, values.size - 1, (values.size - 1) // 2
    while low < high:  # Hoare's selection
        pivot = values[(low + high) // 2]
        i, j = low, high
        while i <= j:
            while values[i] < pivot:
                i += 1
            while values[j] > pivot:
                j -= 1
            if i <= j:
                values[i], values[j] = values[j], values[i]
                i += 1
                j -= 1
        if wanted <= j:
            high = j
        elif wanted >= i:
            low = i
        else:
            break
    return values[wanted]


@njit(fastmath=SUMS)
def _sum(kind: Any, x: Any, count: int) -> Any:
    found = 0.0
    for k in range(count):
        found += number(kind, x[k])
    return found


@njit(cache=True)
def _inputs(kind: Any, place: Any) -> Any:
    address, rows, units, inside, first = place
    x = view(kind, address, rows * units * inside)
    means, variances = _units_moments(kind, x, rows, units, inside)
    checksum = _sum(kind, x, first)
    total = variances.sum()
    largest = _largest(kind, x) if math.isfinite(total) else total
    away, count, high, low = np.empty(units), 0, 0.0, math.inf
    for u in range(units):
        std = math.sqrt(variances[u])
        if std > 1e-6 * largest:
            high, low = max(high, std), min(low, std)
            away[count] = abs(means[u]) / std
            count += 1
    if not count:
        return rows * inside, checksum, largest, math.nan, math.nan, math.nan
    return rows * inside, checksum, largest, high, low, _middle(away[:count])


@njit(cache=True)
def _moments(kind: Any, place: Any) -> Any:
    address, rows, units, inside, _ = place
    x = view(kind, address, rows * units * inside)
    means, variances = _units_moments(kind, x, rows, units, inside)
    noise, size = 0.0, 0.0
    for u in range(units):
        noise += variances[u]
        size += means[u] * means[u]
    return rows * inside, noise / units, size / units


@njit(cache=True)
def _relu(kind: Any, place: Any) -> Any:
    address, rows, units, inside, _ = place
    x = view(kind, address, rows * units * inside)
    alive = np.zeros(units, np.int32)
    if inside == 1:
        whole = rows // 4 * 4
        for row in range(0, whole, 4):
            lines = _four(x, row, units)
            for u in range(units):
                alive[u] += (
                    np.int32(number(kind, lines[0][u]) > 0)
                    + np.int32(number(kind, lines[1][u]) > 0)
                    + np.int32(number(kind, lines[2][u]) > 0)
                    + np.int32(number(kind, lines[3][u]) > 0)
                )
        for row in range(whole, rows):
            for u in range(units):
                alive[u] += np.int32(number(kind, x[row * units + u]) > 0)
    else:
        for row in range(rows):
            for u in range(units):
                at, found = (row * units + u) * inside, np.int32(0)
                for k in range(inside):
                    found += np.int32(number(kind, x[at + k]) > 0)
                alive[u] += found
    dead, positive = 0, 0
    for u in range(units):
        dead += alive[u] == 0
        positive += alive[u]
    return dead / units, 1 - positive / x.size


@njit(cache=True)
def _saturated(kind: Any, place: Any, low: float, high: float) -> Any:
    address, rows, units, inside, _ = place
    x = view(kind, address, rows * units * inside)
    found = np.int64(0)
    for k in range(x.size):
        value = number(kind, x[k])
        found += np.int64((value < low) | (value > high))
    return found / x.size


#: What :func:`one_pass` asks of a result of an activation function.
RELU, SATURATED = 0, 1


@njit(cache=True)
def one_pass(kind: Any, dtype: int, table: int, tensors: int, least: int, at: int) -> Any:
    """Write what inputs, results and outputs are like; False if something is not as expected.

    That is: a tensor cannot be read, has too few rows, or is the outputs or not otherwise than
    expected.

    Args:
        kind: of an element.
        dtype: of the same.
        table: torch's functions; of each result its question and whether it is the outputs; its
            range.
        tensors: the id of a tuple of inputs, results and outputs.
        least: rows that inputs must have.
        at: where the numbers are written.
    """
    words = view_int64(table, 2 * 3)
    functions, codes, ranges = ints(words, 0), ints(words, 1), floats(words, 2)
    ids = view_int64(tensors + ITEMS, len(codes) // 2 + 2)
    row = view_float64(at, 10 + 3 * len(ids))
    begin = places(functions, ids[0] + HEADER, dtype)
    end = places(functions, ids[-1] + HEADER, dtype)
    _, rows, units, inside, first = begin
    if not begin[0] or not end[0]:
        return False
    count, row[1], row[2], row[3], row[4], row[6] = _inputs(kind, begin)
    if count < least or math.isnan(row[4]):
        return False
    row[0], row[5], to = rows * units * inside // first, row[3] / row[4], 7
    for k in range(len(codes) // 2):
        place = places(functions, ids[k + 1] + HEADER, dtype)
        if not place[0] or (place[0] == end[0]) != (codes[2 * k + 1] != 0):
            return False
        if codes[2 * k] == RELU:
            row[to], row[to + 1] = _relu(kind, place)
            to += 2
        else:
            row[to] = _saturated(kind, place, ranges[2 * k], ranges[2 * k + 1])
            to += 1
        row[to] = 1
        to += 1
    count, noise, size = _moments(kind, end)
    row[to], row[to + 1], row[to + 2] = count, math.sqrt(noise + size), math.sqrt(noise)
    return count > 1


def _found(tensor: Tensor) -> tuple[Any, Any] | None:
    """The kind of number of a tensor, and where it lies; None if it cannot be read here."""
    known = element(tensor)
    if known is None:
        return None
    place = places(FUNCTIONS, id(tensor) + HEADER, known.dtype)
    return (known.kind, place) if place[0] else None


def inputs(tensor: Tensor) -> tuple[int, float, float, float, float, float] | None:
    """Facts of inputs: see ``activations.py``; None of a tensor that cannot be read here.

    Returns:
        How many numbers a unit has, the sum of the first row, the largest absolute value, the
        largest and smallest deviation of the units that vary, the lower median of their means'
        distances from 0 in deviations. The last three are NaN where no unit varies; all may be
        where a number is not finite.

    >>> import torch
    >>> inputs(torch.tensor([[1.0, 10.0], [3.0, 10.0]]))
    (2, 11.0, 10.0, 1.0, 1.0, 2.0)
    """
    found = _found(tensor)
    facts: tuple[int, float, float, float, float, float] | None
    facts = None if found is None else _inputs(*found)
    return facts


def moments(tensor: Tensor) -> tuple[int, float, float] | None:
    """How many numbers a unit has; the means over units of variances and of squared means."""
    found = _found(tensor)
    facts: tuple[int, float, float] | None = None if found is None else _moments(*found)
    return facts


def relu(tensor: Tensor) -> tuple[float, float] | None:
    """The share of units without a positive number, and of numbers that are not positive."""
    found = _found(tensor)
    shares: tuple[float, float] | None = None if found is None else _relu(*found)
    return shares


def saturated(tensor: Tensor, low: float, high: float) -> tuple[float] | None:
    """The share of numbers below or above a range."""
    found = _found(tensor)
    return None if found is None else (_saturated(*found, low, high),)
