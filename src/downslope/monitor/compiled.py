"""What a look measures, in compiled passes over the memory of CPU tensors.

Each tensor is read once for all that is asked of it, in float64. A look at a small model is made of
a few dozen numbers, for which torch would be called a hundred times; here it is one call for each
activation and two for all parameters. Where a tensor lies, torch's C functions say
(``engines/cpu/look.py``). Those that cannot be read so are measured with torch's operations: the
same numbers, see ``activations.py`` and ``weights.py``.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from numba import njit, types
from numba.extending import overload
from torch import Tensor

from ..engines.cpu.library import (
    JITTED,
    ask,
    bfloat_to_float,
    half_to_float,
    view_float32,
    view_float64,
    view_int64,
    view_uint16,
)
from ..engines.cpu.look import AS_PLANNED, HEADER, asked, functions, look
from ..engines.layout import PLAIN
from ..errors import EngineError

__all__ = [
    "COPIES",
    "ELEMENTS",
    "FUNCTIONS",
    "RELU",
    "SATURATED",
    "Element",
    "Table",
    "all_gradients",
    "all_movement",
    "element",
    "gradients",
    "inputs",
    "moments",
    "movement",
    "one_pass",
    "relu",
    "results",
    "saturated",
    "total",
]

#: Sums may be reordered, so that they are made over vectors; nothing is assumed of numbers.
_SUMS = {"reassoc", "contract", "nsz"}
_LANES = 64

#: Of each kind of number a value whose type chooses how it is read.
_KINDS = {
    torch.float32: np.float32(0),
    torch.float64: np.float64(0),
    torch.bfloat16: np.uint16(0),
    torch.float16: np.int16(0),
}


class Element(NamedTuple):
    """A kind of number.

    Args:
        kind: a value whose type chooses how it is read; functions are compiled for each.
        dtype: torch's number of it.
        bytes: that a number takes.
    """

    kind: Any
    dtype: int
    bytes: int


def _view(kind: Any, address: int, count: int) -> Any:
    """The memory of a kind of number."""
    raise NotImplementedError  # compiled only


def _number(kind: Any, bits: Any) -> Any:
    """A number of a kind as float64."""
    raise NotImplementedError  # compiled only


@overload(_view, inline="always")
def _choose_view(kind: Any, address: Any, count: Any) -> Callable[..., Any]:
    read = {types.float32: view_float32, types.float64: view_float64}.get(kind, view_uint16)

    def view(kind: Any, address: Any, count: Any) -> Any:
        return read(address, count)

    return view


@overload(_number, inline="always")
def _choose_number(kind: Any, bits: Any) -> Callable[..., Any]:
    widen = {types.uint16: bfloat_to_float, types.int16: half_to_float}.get(kind, np.float64)

    def number(kind: Any, bits: Any) -> Any:
        return np.float64(widen(bits))

    return number


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


@njit(fastmath=_SUMS)
def _units_moments(kind: Any, x: Any, rows: int, units: int, inside: int) -> Any:
    """Mean and variance of each unit: sums of distances from its first number, of their squares."""
    first = np.empty(units)
    one, two = np.zeros(units), np.zeros(units)
    for u in range(units):
        first[u] = _number(kind, x[u * inside])
    if inside == 1:
        whole = rows // 4 * 4  # several rows at a time: sums are read and written less often
        for row in range(0, whole, 4):
            lines = _four(x, row, units)
            for u in range(units):
                begin = first[u]
                a = _number(kind, lines[0][u]) - begin
                b = _number(kind, lines[1][u]) - begin
                c = _number(kind, lines[2][u]) - begin
                d = _number(kind, lines[3][u]) - begin
                one[u] += (a + b) + (c + d)
                two[u] += (a * a + b * b) + (c * c + d * d)
        for row in range(whole, rows):
            for u in range(units):
                away = _number(kind, x[row * units + u]) - first[u]
                one[u] += away
                two[u] += away * away
    else:
        for row in range(rows):
            for u in range(units):
                at = (row * units + u) * inside
                begin, a, b = first[u], 0.0, 0.0
                for k in range(inside):
                    away = _number(kind, x[at + k]) - begin
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
            value = abs(_number(kind, x[begin + k]))
            most[k] = value if value > most[k] else most[k]
    for k in range(whole, x.size):
        most[0] = max(most[0], abs(_number(kind, x[k])))
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


@njit(fastmath=_SUMS)
def _sum(kind: Any, x: Any, count: int) -> Any:
    found = 0.0
    for k in range(count):
        found += _number(kind, x[k])
    return found


@njit
def _places(functions: Any, handle: int, dtype: int) -> Any:
    """Where a tensor lies that has no gaps, in the order in which the compiled loops read.

    Args:
        functions: torch's, see ``engines/cpu/look.py``.
        handle: where Python's tensor has the C++ one.
        dtype: torch's number of what it must be.

    Returns:
        The address of the first number, 0 where it cannot be read so; rows, units, and how many
        numbers of a unit follow each other; how many numbers the first of the tensor's rows has. A
        unit is a channel of an image or volume, else an index of the last dimension.
    """
    nothing = 0, 0, 0, 0, 0
    answer = np.zeros(1, np.int64)
    at = answer.ctypes.data
    # Of all kinds of tensors the first two are known; layout and device must be those of a CPU.
    for question, expected in ((0, 0), (1, 0), (2, dtype)):
        answer[0] = 0  # some answers have 32 bits
        if ask(functions[question], handle, at) != 0 or answer[0] != expected:
            return nothing
    if ask(functions[3], handle, at) != 0:
        return nothing
    dims = answer[0]
    if ask(functions[4], handle, at) != 0:
        return nothing
    sizes = view_int64(answer[0], dims)
    if ask(functions[5], handle, at) != 0:
        return nothing
    strides = view_int64(answer[0], dims)
    count, whole = 1, True
    for d in range(dims - 1, -1, -1):
        whole = whole and (sizes[d] == 1 or strides[d] == count)
        count *= sizes[d]
    if count == 0:
        return nothing
    units = 1 if dims < 2 else sizes[1] if dims >= 4 else sizes[dims - 1]
    inside = count // (sizes[0] * units) if dims >= 4 else 1
    if not whole and dims >= 4:  # channels last
        expected, whole = units, sizes[1] == 1 or strides[1] == 1
        for d in range(dims - 1, -1, -1):
            if d != 1:
                whole = whole and (sizes[d] == 1 or strides[d] == expected)
                expected *= sizes[d]
        inside = 1
    if not whole or ask(functions[6], handle, at) != 0:
        return nothing
    first = count // sizes[0] if dims else 1
    if units == 1:
        return answer[0], 1, 1, count, first
    return answer[0], count // (units * inside), units, inside, first


@njit(inline="always")
def _ints(words: Any, k: int) -> Any:
    """The k-th array of a table."""
    return view_int64(words[2 * k], words[2 * k + 1])


@njit(inline="always")
def _floats(words: Any, k: int) -> Any:
    return view_float64(words[2 * k], words[2 * k + 1])


@njit(cache=True)
def _inputs(kind: Any, dtype: int, functions: Any, handle: int) -> Any:
    address, rows, units, inside, first = _places(functions, handle, dtype)
    if not address:
        return 0, 0.0, 0.0, 0.0, 0.0, 0.0
    x = _view(kind, address, rows * units * inside)
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
def _moments(kind: Any, dtype: int, functions: Any, handle: int) -> Any:
    address, rows, units, inside, _ = _places(functions, handle, dtype)
    if not address:
        return 0, 0.0, 0.0
    x = _view(kind, address, rows * units * inside)
    means, variances = _units_moments(kind, x, rows, units, inside)
    noise, size = 0.0, 0.0
    for u in range(units):
        noise += variances[u]
        size += means[u] * means[u]
    return rows * inside, noise / units, size / units


@njit(cache=True)
def _relu(kind: Any, dtype: int, functions: Any, handle: int) -> Any:
    address, rows, units, inside, _ = _places(functions, handle, dtype)
    if not address:
        return 0, 0.0, 0.0
    x = _view(kind, address, rows * units * inside)
    alive = np.zeros(units, np.int32)
    if inside == 1:
        whole = rows // 4 * 4
        for row in range(0, whole, 4):
            lines = _four(x, row, units)
            for u in range(units):
                alive[u] += (
                    np.int32(_number(kind, lines[0][u]) > 0)
                    + np.int32(_number(kind, lines[1][u]) > 0)
                    + np.int32(_number(kind, lines[2][u]) > 0)
                    + np.int32(_number(kind, lines[3][u]) > 0)
                )
        for row in range(whole, rows):
            for u in range(units):
                alive[u] += np.int32(_number(kind, x[row * units + u]) > 0)
    else:
        for row in range(rows):
            for u in range(units):
                at, found = (row * units + u) * inside, np.int32(0)
                for k in range(inside):
                    found += np.int32(_number(kind, x[at + k]) > 0)
                alive[u] += found
    dead, positive = 0, 0
    for u in range(units):
        dead += alive[u] == 0
        positive += alive[u]
    return rows * inside, dead / units, 1 - positive / x.size


@njit(cache=True)
def _saturated(kind: Any, dtype: int, functions: Any, handle: int, low: float, high: float) -> Any:
    address, rows, units, inside, _ = _places(functions, handle, dtype)
    if not address:
        return 0, 0.0
    x = _view(kind, address, rows * units * inside)
    found = np.int64(0)
    for k in range(x.size):
        value = _number(kind, x[k])
        found += np.int64((value < low) | (value > high))
    return rows * inside, found / x.size


#: What :func:`one_pass` asks of a result of an activation function.
RELU, SATURATED = 0, 1


@njit(cache=True)
def one_pass(kind: Any, dtype: int, table: int, least: int, at: int) -> Any:
    """Write what inputs, results and outputs are like; False if something is not as expected.

    That is: a tensor cannot be read, has too few rows, or is the outputs or not otherwise than
    expected.

    Args:
        kind: of an element.
        dtype: of the same.
        table: torch's functions; ids of inputs, results and outputs; of each result its question,
            the range, whether it is the outputs.
        least: rows that inputs must have.
        at: where the numbers are written.
    """
    words = view_int64(table, 2 * 4)
    functions, handles, codes = _ints(words, 0), _ints(words, 1), _ints(words, 2)
    ranges, row = _floats(words, 3), view_float64(at, 10 + 3 * len(handles))
    handle, end = handles[0] + HEADER, handles[-1] + HEADER
    _, rows, units, inside, first = _places(functions, handle, dtype)
    count, row[1], row[2], row[3], row[4], row[6] = _inputs(kind, dtype, functions, handle)
    if count < least or math.isnan(row[4]):
        return False
    row[0], row[5] = rows * units * inside // first, row[3] / row[4]
    last, to = _places(functions, end, dtype)[0], 7
    for k in range(len(codes) // 2):
        handle = handles[k + 1] + HEADER
        if (_places(functions, handle, dtype)[0] == last) != (codes[2 * k + 1] != 0):
            return False
        if codes[2 * k] == RELU:
            count, row[to], row[to + 1] = _relu(kind, dtype, functions, handle)
            to += 2
        else:
            low, high = ranges[2 * k], ranges[2 * k + 1]
            count, row[to] = _saturated(kind, dtype, functions, handle, low, high)
            to += 1
        if count == 0:
            return False
        row[to] = 1
        to += 1
    count, noise, size = _moments(kind, dtype, functions, end)
    row[to], row[to + 1], row[to + 2] = count, math.sqrt(noise + size), math.sqrt(noise)
    return count > 1


def _elements() -> tuple[Any, dict[torch.dtype, Element]]:
    """Torch's functions, and what can be read with them: nothing of a torch that is not known."""
    try:
        known = functions()
    except EngineError:
        return None, {}
    examples = [torch.empty(1, dtype=dtype) for dtype in _KINDS] if JITTED else []
    return known, {
        t.dtype: Element(_KINDS[t.dtype], asked("dtype", t), t.element_size()) for t in examples
    }


#: Torch's C functions, and the kinds of numbers by dtype.
FUNCTIONS, ELEMENTS = _elements()


def element(tensor: Tensor) -> Element | None:
    """The kind of number of a tensor whose memory is its value, if it is one of these kinds."""
    known = ELEMENTS.get(tensor.dtype)
    return None if type(tensor) not in PLAIN or tensor.is_neg() else known


def inputs(tensor: Tensor) -> tuple[int, float, float, float, float, float] | None:
    """Facts of inputs: see ``activations.py``; None of a tensor that cannot be read here.

    Returns:
        How many numbers a unit has, the sum of the first row, the largest absolute value, the
        largest and smallest deviation of the units that vary, the lower median of their means'
        distances from 0 in deviations. The last three are NaN where no unit varies; all may be
        where a number is not finite.

    >>> inputs(torch.tensor([[1.0, 10.0], [3.0, 10.0]]))
    (2, 11.0, 10.0, 1.0, 1.0, 2.0)
    """
    known = element(tensor)
    if known is None:
        return None
    found: tuple[int, float, float, float, float, float]
    found = _inputs(known[0], known[1], FUNCTIONS, id(tensor) + HEADER)
    return found if found[0] else None


def moments(tensor: Tensor) -> tuple[int, float, float] | None:
    """How many numbers a unit has; the means over units of variances and of squared means."""
    known = element(tensor)
    if known is None:
        return None
    found: tuple[int, float, float]
    found = _moments(known[0], known[1], FUNCTIONS, id(tensor) + HEADER)
    return found if found[0] else None


def relu(tensor: Tensor) -> tuple[float, float] | None:
    """The share of units without a positive number, and of numbers that are not positive."""
    known = element(tensor)
    if known is None:
        return None
    found, dead, zero = _relu(known[0], known[1], FUNCTIONS, id(tensor) + HEADER)
    return (dead, zero) if found else None


def saturated(tensor: Tensor, low: float, high: float) -> tuple[float] | None:
    """The share of numbers below or above a range."""
    known = element(tensor)
    if known is None:
        return None
    found, share = _saturated(known[0], known[1], FUNCTIONS, id(tensor) + HEADER, low, high)
    return (share,) if found else None


class Table:
    """Arrays behind one address, for compiled functions that are called every step.

    Each array that such a function is given takes as long as reading 500 numbers.
    """

    def __init__(self, *arrays: npt.NDArray[Any]) -> None:
        self._arrays = list(arrays)
        self._words = np.zeros(2 * len(arrays), np.int64)
        for k, array in enumerate(arrays):
            self[k] = array
        self.address = int(self._words.ctypes.data)

    def __setitem__(self, k: int, array: npt.NDArray[Any]) -> None:
        assert array.flags.c_contiguous
        self._arrays[k] = array
        self._words[2 * k : 2 * k + 2] = array.ctypes.data, array.size


@njit(cache=True, nogil=True, fastmath=_SUMS)
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
        p = _view(kind, addresses[0, tensor] + start, count)
        g = _view(kind, addresses[1, tensor] + start, count)
        copy = _view(kind, copies[tensor] + start, count)
        squares, zero = 0.0, np.int64(0)
        for k in range(count):
            value = _number(kind, g[k])
            squares += value * value
            zero += np.int64(value == 0)
            copy[k] = p[k]
        sums[c, 0], sums[c, 1] = squares, zero


@njit(cache=True, nogil=True, fastmath=_SUMS)
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
        p = _view(kind, addresses[0, tensor] + start, count)
        copy = _view(kind, copies[tensor] + start, count)
        squares, moved = 0.0, 0.0
        for k in range(count):
            value = _number(kind, copy[k])
            away = _number(kind, p[k]) - value
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


#: Where the arrays of :func:`all_gradients` and :func:`all_movement` are in their table.
_TABLES = (
    *("functions", "pointers", "addresses", "dims", "first", "layout", "dtypes"),  # of look()
    *("numbers", "copies", "chunks", "sums"),  # the device and an element's bytes; of gradients()
    *("sizes", "ids"),  # of results(); of Python's gradients
)
COPIES = _TABLES.index("copies")


@njit(cache=True)
def all_gradients(kind: Any, table: int) -> Any:
    """In one call :func:`.look.look`, :func:`gradients` if all lies as planned, :func:`total`."""
    words = view_int64(table, 2 * 13)
    count = words[2 * 12 + 1]
    pointers, addresses = _ints(words, 1).reshape(2, count), _ints(words, 2).reshape(2, count)
    ids, numbers = _ints(words, 12), _ints(words, 7)
    for k in range(count):
        pointers[1, k] = ids[k] + HEADER
    verdict = look(
        _ints(words, 0),
        pointers,
        addresses,
        _ints(words, 3),
        _ints(words, 4),
        _ints(words, 5),
        _ints(words, 6),
        numbers[0],
    )
    if verdict != AS_PLANNED:
        return verdict, 0.0
    chunks = _ints(words, 9).reshape(-1, 3)
    sums = _floats(words, 10).reshape(-1, 4)
    gradients(kind, numbers[1], addresses, _ints(words, 8), chunks, sums, 0, len(chunks))
    return verdict, total(sums)


@njit(cache=True)
def all_movement(kind: Any, table: int, scale: float, at: int) -> Any:
    """In one call :func:`movement` and :func:`results`; False first if a parameter was replaced."""
    words = view_int64(table, 2 * 13)
    sizes, functions = _ints(words, 11), _ints(words, 0)
    count = len(sizes)
    pointers, addresses = _ints(words, 1), _ints(words, 2).reshape(2, count)
    answer = np.zeros(1, np.int64)
    for k in range(count):
        if ask(functions[6], pointers[k], answer.ctypes.data) != 0 or answer[0] != addresses[0, k]:
            return False, 0.0
    chunks = _ints(words, 9).reshape(-1, 3)
    sums = _floats(words, 10).reshape(-1, 4)
    numbers = _ints(words, 7)
    movement(kind, numbers[1], addresses, _ints(words, 8), chunks, sums, 0, len(chunks))
    return True, results(sums, chunks, sizes, scale, view_float64(at, 4 * count + 1))


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
