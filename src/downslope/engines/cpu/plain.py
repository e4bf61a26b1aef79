"""What generated CPU kernels call, in plain Python: the twins of :mod:`.intrinsics`.

Kernels that call these can be stepped through, and tested without a compiler.
"""

from __future__ import annotations

import ctypes
import operator
from collections.abc import Callable
from typing import Any

import numpy as np

from .sizes import LANES, TILE

sqrt, exp, log = np.sqrt, np.exp, np.log  # these keep float32 as float32


def _view(dtype: Any, ctype: Any) -> Callable[[int, int], Any]:
    def view(address: int, count: int) -> Any:
        return np.frombuffer((ctype * int(count)).from_address(int(address)), dtype)

    return view


view_float32 = _view(np.float32, ctypes.c_float)
view_float64 = _view(np.float64, ctypes.c_double)
view_uint16 = _view(np.uint16, ctypes.c_uint16)
view_uint32 = _view(np.uint32, ctypes.c_uint32)
view_int16 = _view(np.int16, ctypes.c_int16)
view_int8 = _view(np.int8, ctypes.c_int8)
view_uint8 = _view(np.uint8, ctypes.c_uint8)
view_int64 = _view(np.int64, ctypes.c_int64)


def new_tile() -> Any:
    return np.empty(TILE, np.float32)


def view_tile(tile: Any, first: int, count: int) -> Any:
    return tile[first : first + count]


def _new_lanes(dtype: Any) -> Callable[[], Any]:
    return lambda: np.zeros(LANES, dtype)


new_lanes, new_short_lanes = map(_new_lanes, (np.float64, np.float32))


def view_lanes(memory: Any) -> Any:
    return memory


def clear_lanes(lanes: Any) -> None:
    lanes[:] = 0


def sum_lanes(lanes: Any) -> float:
    half = LANES // 2
    while half:
        lanes = lanes[:half] + lanes[half:]
        half //= 2
    return float(lanes[0])


def prefetch(address: int) -> None:
    pass


prefetch_once = prefetch


def take(address: int) -> int:
    counter = view_int64(address, 1)
    counter[0] += 1
    return int(counter[0] - 1)


def ask(function: Any, handle: Any, answer: Any) -> int:
    call = ctypes.CFUNCTYPE(ctypes.c_int32, ctypes.c_void_p, ctypes.c_void_p)(int(function))
    return int(call(int(handle), int(answer)))


def fma(a: Any, b: Any, c: Any) -> Any:
    # Python 3.11 has no fma: exact for float32 but for double rounding, plain for float64.
    return type(c)(float(a) * float(b) + float(c))


def bits(x: Any) -> Any:
    return np.float32(x).view(np.uint32)


def from_bits(u: Any) -> Any:
    return np.uint32(u).view(np.float32)


def _word(operation: Callable[[int, int], int]) -> Callable[[Any, Any], Any]:
    return lambda a, b: np.uint32(operation(int(a), int(b)) & 0xFFFFFFFF)


add32, mul32 = _word(operator.add), _word(operator.mul)
and32, xor32 = _word(operator.and_), _word(operator.xor)
shl32, shr32 = _word(operator.lshift), _word(operator.rshift)
sub32 = _word(operator.sub)
copysign, floored = np.copysign, np.floor


def word(i: Any) -> Any:
    return np.uint32(int(i) & 0xFFFFFFFF)


def signed(u: Any) -> Any:
    return np.float32(np.uint32(u).view(np.int32))


def byte(x: Any) -> Any:
    return np.float32(x).astype(np.int32).astype(np.int8)


def short(x: Any) -> Any:
    return np.float32(x).astype(np.int32).astype(np.int16)


def unsigned_byte(x: Any) -> Any:
    return np.uint8(min(int(np.float32(x).astype(np.int32).view(np.uint32)), 255))


def half_to_float(u: Any) -> Any:
    return np.uint16(u).view(np.float16).astype(np.float32)


def float_to_half(x: Any) -> Any:
    return np.float32(x).astype(np.float16).view(np.uint16)
