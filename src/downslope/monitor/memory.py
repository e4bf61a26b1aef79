"""CPU tensors as memory: where they lie, and how their numbers are read in compiled functions.

Where a tensor lies, torch's C functions say (``engines/cpu/look.py``). Those that cannot be read so
are measured with torch's operations: the same numbers, see ``activations.py`` and ``weights.py``.
"""

from __future__ import annotations

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
from ..engines.cpu.look import asked, functions
from ..engines.layout import PLAIN
from ..errors import EngineError

__all__ = [
    "ELEMENTS",
    "FUNCTIONS",
    "ITEMS",
    "SUMS",
    "Element",
    "Table",
    "element",
    "floats",
    "ints",
    "number",
    "places",
    "view",
]

#: Sums may be reordered, so that they are made over vectors; nothing is assumed of numbers.
SUMS = {"reassoc", "contract", "nsz"}
#: Of each kind of number a value whose type chooses how it is read.
_KINDS = {
    torch.float32: np.float32(0),
    torch.float64: np.float64(0),
    torch.bfloat16: np.uint16(0),
    torch.float16: np.int16(0),
}


#: Bytes before the first item in a tuple of Python's. Items are pointers, the ids of objects, so a
#: compiled function that is given the id of a tuple of tensors need not be given theirs.
ITEMS = tuple.__basicsize__


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


def view(kind: Any, address: int, count: int) -> Any:
    """The memory of a kind of number."""
    raise NotImplementedError  # compiled only


def number(kind: Any, bits: Any) -> Any:
    """A number of a kind as float64."""
    raise NotImplementedError  # compiled only


@overload(view, inline="always")
def _choose_view(kind: Any, address: Any, count: Any) -> Callable[..., Any]:
    read = {types.float32: view_float32, types.float64: view_float64}.get(kind, view_uint16)

    def chosen(kind: Any, address: Any, count: Any) -> Any:
        return read(address, count)

    return chosen


@overload(number, inline="always")
def _choose_number(kind: Any, bits: Any) -> Callable[..., Any]:
    widen = {types.uint16: bfloat_to_float, types.int16: half_to_float}.get(kind, np.float64)

    def chosen(kind: Any, bits: Any) -> Any:
        return np.float64(widen(bits))

    return chosen


@njit(cache=True)
def places(functions: Any, handle: int, dtype: int) -> Any:
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
def ints(words: Any, k: int) -> Any:
    """The k-th array of a :class:`Table`, of int64."""
    return view_int64(words[2 * k], words[2 * k + 1])


@njit(inline="always")
def floats(words: Any, k: int) -> Any:
    """The same of float64."""
    return view_float64(words[2 * k], words[2 * k + 1])


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
