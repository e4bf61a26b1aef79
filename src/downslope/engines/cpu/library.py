"""What generated CPU kernels call: views of memory and exact arithmetic.

With ``NUMBA_DISABLE_JIT=1`` all of it is plain Python, so kernels can be stepped through and tested
without a compiler; :mod:`.intrinsics` and :mod:`.plain` have a twin each of the same functions, the
only such pairs.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import config, njit
from numba.extending import register_jitable

from .sizes import *

#: Whether kernels are compiled.
JITTED = not config.DISABLE_JIT

if not JITTED:
    from .plain import *
else:
    from .intrinsics import *


@njit
def fetch(address: Any, size: Any) -> None:
    """Ask for memory, line by line."""
    for line in range(0, size, LINE):
        prefetch(address + line)


@njit
def bfloat_to_float(u: Any) -> Any:
    return from_bits(np.uint32(u) << np.uint32(16))


@njit
def float_to_bfloat(x: Any) -> Any:
    """Round to nearest, ties to even; NaN stays NaN."""
    u = bits(x)
    if x != x:
        return np.uint16((u >> np.uint32(16)) | np.uint32(0x40))
    return np.uint16(
        (u + np.uint32(0x7FFF) + ((u >> np.uint32(16)) & np.uint32(1))) >> np.uint32(16)
    )


@register_jitable
def where(condition: Any, a: Any, b: Any) -> Any:
    return a if condition else b


@register_jitable
def maximum(a: Any, b: Any) -> Any:
    return a if a > b or a != a else b  # NaN wins, as in torch


@register_jitable
def minimum(a: Any, b: Any) -> Any:
    return a if a < b or a != a else b


@register_jitable
def sign(x: Any) -> Any:
    return type(x)(1) if x > 0 else type(x)(-1) if x < 0 else type(x)(0)  # 0 for NaN, as in torch


@njit
def lerp(a: Any, b: Any, weight: Any) -> Any:
    # torch's two branches: each is exact at its own end.
    return fma(weight, b - a, a) if abs(weight) < 0.5 else fma(type(weight)(weight - 1), b - a, b)


@njit
def f32(x: Any) -> Any:
    return float(np.float32(x))


@njit
def f64(x: Any) -> Any:
    return np.float64(x)


@njit
def same_row(table: Any, i: Any, k: Any) -> Any:
    """Whether two tensors have equal scalars, so that what is derived from them can be kept."""
    for column in range(table.shape[1]):  # noqa: SIM110  # Numba compiles loops, not generators
        if table[i, column] != table[k, column]:
            return False
    return True
