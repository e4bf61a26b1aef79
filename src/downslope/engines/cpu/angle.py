"""``atan2`` without a branch or a call, so that a loop over it becomes one over vectors.

The C library's costs more than all memory traffic of a step. In float32 this one is off by less
than 1.75 units in the last place (NumPy's own by 3.3); in float64, where nobody waits for memory
alone, and for scalars, the C library decides.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numba import types
from numba.extending import overload

from .library import bits, copysign, fma

__all__ = ["atan2"]

#: atan(r) = r + r * s * (c0 + c1 * s + ...) with s = r * r, for r from 0 to 1: the polynomial with
#: the least relative error, 1.7e-8, by least squares whose weights grow where the error is large.
_C0, _C1, _C2, _C3, _C4, _C5, _C6, _C7 = (
    np.float32(c)
    for c in (
        -0.333331527347299,
        0.1999377278632069,
        -0.14211054806747694,
        0.1066600235059497,
        -0.07552208863537288,
        0.04321179172342981,
        -0.016367882998561685,
        0.0029206804678604493,
    )
)
#: pi / 2 and pi as the nearest float32 and what is left of them.
_HALF, _HALF_REST = (
    np.float32(math.pi / 2),
    np.float32(math.pi / 2 - float(np.float32(math.pi / 2))),
)
_WHOLE, _WHOLE_REST = np.float32(math.pi), np.float32(math.pi - float(np.float32(math.pi)))
_ZERO, _ONE, _SIGN = np.float32(0), np.float32(1), np.uint32(31)


def _computed(y: Any, x: Any) -> Any:
    width, height = abs(x), abs(y)
    steep = height > width
    large = height if steep else width
    small = width if steep else height
    # 0 / 0 is an angle of 0, infinity / infinity one of 45 degrees; NaN is equal to nothing.
    same = _ONE if large > _ZERO else _ZERO
    r = same if large == small else small / large
    s = r * r
    series = fma(fma(fma(_C7, s, _C6), s, _C5), s, _C4)
    series = fma(fma(fma(fma(series, s, _C3), s, _C2), s, _C1), s, _C0)
    angle = fma(r * s, series, r)
    left = bits(x) >> _SIGN != 0
    angle = -angle if left != steep else angle
    rest = _HALF_REST if steep else _WHOLE_REST if left else _ZERO
    base = _HALF if steep else _WHOLE if left else _ZERO
    angle = base + (rest + angle)
    return copysign(angle, y)


def _called(y: Any, x: Any) -> Any:
    return math.atan2(y, x)


def atan2(y: Any, x: Any) -> Any:
    """The angle of the point ``(x, y)``, between -pi and pi."""
    if isinstance(y, np.float32) and isinstance(x, np.float32):
        with np.errstate(all="ignore"):
            return _computed(y, x)
    return np.arctan2(y, x)


@overload(atan2, jit_options={"error_model": "numpy"})
def _atan2(y: Any, x: Any) -> Any:
    """Which of the two Numba compiles, by the types of the arguments."""
    return _computed if y == types.float32 == x else _called
