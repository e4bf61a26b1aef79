"""The codecs of ``engines/storage.py`` for generated CPU kernels.

A kernel opens a tile of each compact array into an array of float32, runs its loop over those, and
closes them. Each function is a few short loops of one purpose, because those are what the compiler
vectorises: a block's largest absolute value is a maximum of *integers* (the bits of floats are
ordered as they are, NaN above all), integers stay 32 bits wide, and a loop has a length that is
known beforehand wherever a block is full.

Arguments are addresses, so that no index needs a check: ``x`` of the tile in float32, ``bits32`` of
its random bits, the others of its part of each plane; ``n`` is its length, ``shift`` tells which
half of the random bits: 0 or 16.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

from ..storage import BLOCK, MULTIPLIERS, POSITIVE_LEVELS, SIGNED_LEVELS, WEYL
from .library import (
    TILE,
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
    truncated,
    unsigned_byte,
    view_float32,
    view_int8,
    view_int16,
    view_uint8,
    view_uint16,
    view_uint32,
    word,
    xor32,
)

__all__ = [
    "TILE",
    "close_bfloat16x8",
    "close_bfloat16x16",
    "close_float16x8",
    "close_float16x16",
    "close_positive8",
    "close_signed8",
    "close_stochastic16",
    "fill_noise",
    "open_bfloat16x8",
    "open_bfloat16x16",
    "open_float16x8",
    "open_float16x16",
    "open_positive8",
    "open_signed8",
    "open_stochastic16",
    "seed_of",
]

#: Into the kernel, where lengths are known.
_inlined = njit(error_model="numpy", forceinline=True)

F, U = np.float32, np.uint32
_A, _B = map(np.uint32, MULTIPLIERS)
_WEYL = np.uint32(WEYL)
_TOP = np.float32(2 * SIGNED_LEVELS)
_HALF_TOP = np.float32(SIGNED_LEVELS)
_SMALLEST = np.float32(2.0**-126)
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
def fill_noise(first: Any, seed: Any, n: Any, bits32: Any) -> Any:
    start, out = U(first), view_uint32(bits32, n)
    for j in range(n):
        out[j] = _hash(add32(start, U(j)), seed)


@_inlined
def _largest(x: Any, n: Any) -> Any:
    numbers = view_float32(x, n)
    found = U(0)
    for j in range(n):
        found = max(found, and32(bits(numbers[j]), U(0x7FFFFFFF)))
    return from_bits(found)


@_inlined
def _reciprocal(scale: Any) -> Any:
    # Written so that a NaN goes on.
    return F(0) if scale < _SMALLEST else F(1) / scale


@_inlined
def _open_signed8(codes: Any, scale: Any, n: Any, x: Any) -> Any:
    q, out = view_int8(codes, n), view_float32(x, n)
    for j in range(n):
        value = F(q[j])
        out[j] = value / (_TOP - abs(value)) * scale


@_inlined
def _signed8(x: Any, reciprocal: Any, bits32: Any) -> Any:
    y = min(abs(x) * reciprocal, F(1))
    low = truncated(_TOP * y / (F(1) + y))
    rest = _TOP - low
    share = fma(y, rest, -low) * (rest - F(1))
    up = share > fma(signed(bits32), _TOP * F(2.0**-32), _HALF_TOP)
    return byte(copysign(low + F(1) if up else low, x))


@_inlined
def _close_signed8(x: Any, codes: Any, scale: Any, n: Any, bits32: Any, shift: Any) -> Any:
    numbers, q, random = view_float32(x, n), view_int8(codes, n), view_uint32(bits32, n)
    reciprocal = _reciprocal(scale)
    for j in range(n):
        q[j] = _signed8(numbers[j], reciprocal, shl32(random[j], shift))


@_inlined
def _open_positive8(codes: Any, scale: Any, n: Any, x: Any) -> Any:
    q, out = view_uint8(codes, n), view_float32(x, n)
    for j in range(n):
        value = F(q[j])
        out[j] = value * value * scale


@_inlined
def _positive8(x: Any, reciprocal: Any, bits32: Any) -> Any:
    y = min(x * reciprocal, F(POSITIVE_LEVELS**2))
    middle = truncated(sqrt(y)) + F(0.5)
    up = fma(-middle, middle, y) > fma(signed(bits32) * F(2.0**-31), middle, F(0.25))
    q = middle + F(1) if up else middle
    return unsigned_byte(max(q, F(1)) if x > F(0) else q)


@_inlined
def _close_positive8(x: Any, codes: Any, scale: Any, n: Any, bits32: Any, shift: Any) -> Any:
    numbers, q, random = view_float32(x, n), view_uint8(codes, n), view_uint32(bits32, n)
    reciprocal = _reciprocal(scale)
    for j in range(n):
        q[j] = _positive8(numbers[j], reciprocal, shl32(random[j], shift))


def _in_blocks(open_block: Any, close_block: Any, unit: Any) -> tuple[Any, Any]:
    """To open and close a run of blocks, each with a scale of ``unit`` times its largest value."""

    @_inlined
    def opened(codes: Any, scales: Any, n: Any, x: Any) -> Any:
        scale = view_float32(scales, -(-n // BLOCK))
        full = n // BLOCK
        for k in range(full):
            open_block(codes + k * BLOCK, scale[k], BLOCK, x + 4 * k * BLOCK)
        at = full * BLOCK
        if n > at:
            open_block(codes + at, scale[full], n - at, x + 4 * at)

    @_inlined
    def closed(x: Any, codes: Any, scales: Any, n: Any, bits32: Any, shift: Any) -> Any:
        scale = view_float32(scales, -(-n // BLOCK))
        full = n // BLOCK
        # All scales first: what follows each waits for it.
        for k in range(full):
            scale[k] = _largest(x + 4 * k * BLOCK, BLOCK) * unit
        for k in range(full):
            at = k * BLOCK
            close_block(x + 4 * at, codes + at, scale[k], BLOCK, bits32 + 4 * at, shift)
        at = full * BLOCK
        if n > at:
            scale[full] = _largest(x + 4 * at, n - at) * unit
            close_block(x + 4 * at, codes + at, scale[full], n - at, bits32 + 4 * at, shift)

    return opened, closed


open_signed8, close_signed8 = _in_blocks(_open_signed8, _close_signed8, F(1))
open_positive8, close_positive8 = _in_blocks(_open_positive8, _close_positive8, _UNIT)


@_inlined
def open_stochastic16(halves: Any, n: Any, x: Any) -> Any:
    u, out = view_uint16(halves, n), view_float32(x, n)
    for j in range(n):
        out[j] = bfloat_to_float(u[j])


@_inlined
def close_stochastic16(x: Any, halves: Any, n: Any, bits32: Any, shift: Any) -> Any:
    numbers, u, random = view_float32(x, n), view_uint16(halves, n), view_uint32(bits32, n)
    for j in range(n):
        # Random bits are added below the upper half of the float32.
        up = xor32(shr32(shl32(random[j], shift), U(16)), U(0x8000))
        rounded = np.uint16(shr32(add32(bits(numbers[j]), up), U(16)))
        u[j] = rounded if numbers[j] == numbers[j] else np.uint16(0x7FC0)


@_inlined
def _last_place(half: Any) -> Any:
    power = from_bits(and32(bits(half), U(0x7F800000)))
    return max(power, F(2.0**-14)) * F(2.0**-10)


@_inlined
def _finite(x: Any) -> Any:
    return and32(bits(x), U(0x7F800000)) != U(0x7F800000)


def _split(view: Any, narrow: Any, steps: int) -> tuple[Any, Any, Any, Any]:
    """To open and close bfloat16 weights, then float16 ones, with corrections of so many steps."""
    step, part, parts = U(2**16 // steps), F(steps / 2**16), F(steps)
    low, high = F(-steps // 2), F(steps // 2 - 1)

    @_inlined
    def kept(error: Any, x: Any) -> Any:
        steps_off = min(max(floored(error + F(0.5)), low), high)
        return narrow(steps_off if _finite(x) else F(0))

    @_inlined
    def open_bfloat16(weights: Any, rests: Any, n: Any, x: Any) -> Any:
        u, rest, out = view_uint16(weights, n), view(rests, n), view_float32(x, n)
        for j in range(n):
            out[j] = from_bits(add32(shl32(word(u[j]), U(16)), mul32(word(rest[j]), step)))

    @_inlined
    def close_bfloat16(x: Any, weights: Any, rests: Any, n: Any) -> Any:
        numbers, u, rest = view_float32(x, n), view_uint16(weights, n), view(rests, n)
        for j in range(n):
            # Half a last place up, and cut off: the rest fits, and is exact in bits.
            pattern = bits(numbers[j])
            upper = shr32(add32(pattern, U(0x8000)), U(16))
            rest[j] = kept(signed(sub32(pattern, shl32(upper, U(16)))) * part, numbers[j])
            u[j] = np.uint16(upper) if numbers[j] == numbers[j] else np.uint16(0x7FC0)

    @_inlined
    def open_float16(weights: Any, rests: Any, n: Any, x: Any) -> Any:
        u, rest, out = view_uint16(weights, n), view(rests, n), view_float32(x, n)
        for j in range(n):
            weight = half_to_float(u[j])
            out[j] = weight + F(rest[j]) * _last_place(weight) * (F(1) / parts)

    @_inlined
    def close_float16(x: Any, weights: Any, rests: Any, n: Any) -> Any:
        numbers, u, rest = view_float32(x, n), view_uint16(weights, n), view(rests, n)
        for j in range(n):
            half = float_to_half(numbers[j])
            weight = half_to_float(half)
            rest[j] = kept((numbers[j] - weight) / _last_place(weight) * parts, numbers[j])
            u[j] = half

    return open_bfloat16, close_bfloat16, open_float16, close_float16


open_bfloat16x8, close_bfloat16x8, open_float16x8, close_float16x8 = _split(view_int8, byte, 2**8)
open_bfloat16x16, close_bfloat16x16, open_float16x16, close_float16x16 = _split(
    view_int16, short, 2**16
)
