"""The codecs of ``engines/storage.py`` for generated CPU kernels, one element at a time.

A kernel's loop over a block of elements calls ``open_..`` on what its planes hold there, and
``close_..`` on what is to be kept. Codecs with a scale a block are closed in a second loop, when
the block's largest absolute value is known. That is a maximum of *integers* (the bits of floats are
ordered as they are, NaN above all), as only such a maximum is vectorised.

``h`` are an element's random bits. Those of a block's elements are an arithmetic sequence modulo
2**32, so that a loop adds one number to have the next.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

from ..storage import BLOCK, INSIDE, LATTICE, MULTIPLIERS, POSITIVE_LEVELS, SIGNED_LEVELS, WEYL
from .library import (
    add32,
    and32,
    bfloat_to_float,
    bits,
    byte,
    copysign,
    float_to_half,
    floored,
    fma,
    from_bits,
    half_to_float,
    mul32,
    shl32,
    short,
    shr32,
    signed,
    sqrt,
    sub32,
    unsigned_byte,
    word,
    xor32,
)

__all__ = [
    "BLOCK",
    "REACH",
    "close_bfloat16x8",
    "close_bfloat16x16",
    "close_float16x8",
    "close_float16x16",
    "close_positive8",
    "close_signed8",
    "close_stochastic16",
    "larger",
    "next_random",
    "open_bfloat16x8",
    "open_bfloat16x16",
    "open_float16x8",
    "open_float16x16",
    "open_positive8",
    "open_signed8",
    "open_stochastic16",
    "random_of",
    "reciprocal_positive8",
    "reciprocal_signed8",
    "scale_positive8",
    "scale_signed8",
    "seed_of",
]

#: So many elements ahead memory is asked for (measured: the best of 256 to 2048). Processors do
#: that by themselves where a loop reads on and on; here they would rest while blocks are closed.
REACH = 768

#: Into the kernel, where lengths are known.
_inlined = njit(error_model="numpy", forceinline=True)

F, U = np.float32, np.uint32
_A, _B = map(np.uint32, MULTIPLIERS)
_WEYL = np.uint32(WEYL)
_EVEN, _ODD = map(np.uint32, LATTICE)
_SMALLEST = np.float32(2.0**-126)
_CENTRED = np.float32(INSIDE * 2.0**-32)
_TOP = np.float32(2 * SIGNED_LEVELS)
_ABOVE = np.float32(2 * SIGNED_LEVELS + 0.5)
_PART = np.float32(1 / (2 * SIGNED_LEVELS))
_UNIT = np.float32(1 / POSITIVE_LEVELS**2)


@_inlined
def _hash(x: Any, seed: Any) -> Any:
    h = add32(mul32(x, _WEYL), seed)
    h = mul32(xor32(h, shr32(h, U(16))), _A)
    h = mul32(xor32(h, shr32(h, U(15))), _B)
    return xor32(h, shr32(h, U(16)))


@_inlined
def seed_of(step: Any, pair: Any) -> Any:
    return _hash(U(step), U(pair + 1))


@_inlined
def random_of(block: Any, seed: Any, half: Any) -> Any:
    """The random bits of a block's first element, of one array of a pair."""
    h = _hash(U(block), seed)
    return xor32(shl32(h, U(16)), shr32(h, U(16))) if half else h


@_inlined
def next_random(h: Any, half: Any) -> Any:
    return add32(h, _ODD if half else _EVEN)


@_inlined
def larger(top: Any, x: Any) -> Any:
    return max(top, and32(bits(x), U(0x7FFFFFFF)))


@_inlined
def _reciprocal(scale: Any) -> Any:
    # Written so that a NaN goes on.
    return F(0) if scale < _SMALLEST else F(1) / scale


@_inlined
def scale_signed8(top: Any) -> Any:
    return from_bits(top)


@_inlined
def reciprocal_signed8(scale: Any) -> Any:
    return _reciprocal(scale) * _PART


@_inlined
def open_signed8(q: Any, scale: Any) -> Any:
    value = F(q)
    return value / (_TOP - abs(value)) * scale


@_inlined
def close_signed8(x: Any, reciprocal: Any, h: Any) -> Any:
    centred = signed(h) * _CENTRED
    # One over 254 - q, with q the code before it is rounded.
    over = min(fma(abs(x), reciprocal, _PART), _PART + _PART)
    bent = fma(centred, centred, F(-0.25))
    return byte(copysign(fma(bent, over, centred) + (_ABOVE - F(1) / over), x))


@_inlined
def scale_positive8(top: Any) -> Any:
    return from_bits(top) * _UNIT


@_inlined
def reciprocal_positive8(scale: Any) -> Any:
    return _reciprocal(scale)


@_inlined
def open_positive8(q: Any, scale: Any) -> Any:
    value = F(q)
    return value * value * scale


@_inlined
def close_positive8(x: Any, reciprocal: Any, h: Any) -> Any:
    v = fma(signed(h), _CENTRED, F(0.5))
    root = sqrt(fma(x, reciprocal, fma(v, v, -v))) + v
    # Of what is below zero, the root is a NaN.
    q = root if root > F(1) else F(1)
    return unsigned_byte(q if x > F(0) else F(0))


@_inlined
def open_stochastic16(u: Any) -> Any:
    return bfloat_to_float(u)


@_inlined
def close_stochastic16(x: Any, h: Any) -> Any:
    # Random bits are added below the upper half of the float32.
    up = xor32(shr32(h, U(16)), U(0x8000))
    rounded = np.uint16(shr32(add32(bits(x), up), U(16)))
    return rounded if x == x else np.uint16(0x7FC0)


@_inlined
def _last_place(half: Any) -> Any:
    power = from_bits(and32(bits(half), U(0x7F800000)))
    return max(power, F(2.0**-14)) * F(2.0**-10)


@_inlined
def _finite(x: Any) -> Any:
    return and32(bits(x), U(0x7F800000)) != U(0x7F800000)


def _split(narrow: Any, steps: int) -> tuple[Any, Any, Any, Any]:
    """To open and close bfloat16 weights, then float16 ones, with corrections of so many steps."""
    step, part, parts = U(2**16 // steps), F(steps / 2**16), F(steps)
    low, high = F(-steps // 2), F(steps // 2 - 1)

    @_inlined
    def kept(error: Any, x: Any) -> Any:
        steps_off = min(max(floored(error + F(0.5)), low), high)
        return narrow(steps_off if _finite(x) else F(0))

    @_inlined
    def open_bfloat16(u: Any, rest: Any) -> Any:
        return from_bits(add32(shl32(word(u), U(16)), mul32(word(rest), step)))

    @_inlined
    def close_bfloat16(x: Any) -> Any:
        # Half a last place up, and cut off: the rest fits, and is exact in bits.
        pattern = bits(x)
        upper = shr32(add32(pattern, U(0x8000)), U(16))
        rest = kept(signed(sub32(pattern, shl32(upper, U(16)))) * part, x)
        return (np.uint16(upper) if x == x else np.uint16(0x7FC0)), rest

    @_inlined
    def open_float16(u: Any, rest: Any) -> Any:
        weight = half_to_float(u)
        return weight + F(rest) * _last_place(weight) * (F(1) / parts)

    @_inlined
    def close_float16(x: Any) -> Any:
        half = float_to_half(x)
        weight = half_to_float(half)
        return half, kept((x - weight) / _last_place(weight) * parts, x)

    return open_bfloat16, close_bfloat16, open_float16, close_float16


open_bfloat16x8, close_bfloat16x8, open_float16x8, close_float16x8 = _split(byte, 2**8)
open_bfloat16x16, close_bfloat16x16, open_float16x16, close_float16x16 = _split(short, 2**16)
