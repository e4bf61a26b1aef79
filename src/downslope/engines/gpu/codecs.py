"""The codecs of ``engines/storage.py`` for generated Triton kernels: open a block, noise, close it.

The same numbers and bits as ``cpu/codecs.py``. A kernel's block of elements is a whole number of
those that share a scale. Arguments are the addresses of a chunk's part of each plane; ``b``, the
first element of the kernel's block in the chunk; ``n``, the chunk's elements; ``j`` and ``mask``,
the block's elements and which of them there are; ``size``, how many; ``full``, whether all.
"""

import triton.language as tl

from .. import storage
from .library import div, fma, inline, load, place, single, sqrt, store

__all__ = [
    "close_bfloat16x8",
    "close_bfloat16x16",
    "close_float16x8",
    "close_float16x16",
    "close_positive8",
    "close_signed8",
    "close_stochastic16",
    "open_bfloat16x8",
    "open_bfloat16x16",
    "open_float16x8",
    "open_float16x16",
    "open_positive8",
    "open_signed8",
    "open_stochastic16",
    "random_of",
    "seed_of",
]

_BLOCK = tl.constexpr(storage.BLOCK)
_WEYL = tl.constexpr(storage.WEYL)
_A, _B = map(tl.constexpr, storage.MULTIPLIERS)
_EVEN, _ODD = map(tl.constexpr, storage.LATTICE)
_CENTRED = tl.constexpr(storage.INSIDE * 2.0**-32)
_TOP = tl.constexpr(2.0 * storage.SIGNED_LEVELS)
_PART = tl.constexpr(1 / (2 * storage.SIGNED_LEVELS))
_MOST = tl.constexpr(float(storage.POSITIVE_LEVELS))
_UNIT = tl.constexpr(1 / storage.POSITIVE_LEVELS**2)


@inline
def _word(x: tl.constexpr):
    return tl.full((), x, tl.uint32)


@inline
def _hash(x, seed):
    h = x * _word(_WEYL) + seed
    h = (h ^ (h >> 16)) * _word(_A)
    h = (h ^ (h >> 15)) * _word(_B)
    return h ^ (h >> 16)


@inline
def seed_of(step, pair: tl.constexpr):
    return _hash(step.to(tl.int64).to(tl.uint32), _word(pair + 1))


@inline
def random_of(start, j, seed):
    """The random bits of the first element of every element's part."""
    part = (start // _BLOCK).to(tl.uint32) + (j // _BLOCK).to(tl.uint32)
    return _hash(part, seed)


@inline
def _bits(first, j, half: tl.constexpr):
    """The random bits of every element, of one array of a pair."""
    at = (j % _BLOCK).to(tl.uint32)
    turned = (first << 16) | (first >> 16)
    return turned + at * _word(_ODD) if half else first + at * _word(_EVEN)


@inline
def _signed(bits):
    return bits.to(tl.int32, bitcast=True).to(tl.float32)


@inline
def _spread(x, size: tl.constexpr):
    """To every element its part's number."""
    parts: tl.constexpr = size // _BLOCK
    return tl.reshape(tl.broadcast_to(tl.expand_dims(x, 1), (parts, _BLOCK)), (size,))


@inline
def _scale(scales, b, n, size: tl.constexpr, full: tl.constexpr):
    k = tl.arange(0, size // _BLOCK)
    at = place(scales, tl.float32, False) + b // _BLOCK + k
    return _spread(load(at, b + k * _BLOCK < n, full), size)


@inline
def _largest(x, mask, size: tl.constexpr, full: tl.constexpr):
    """Every part's largest absolute value, found among integers, where NaN is above all."""
    bits = x.to(tl.int32, bitcast=True) & 0x7FFFFFFF
    if not full:
        bits = tl.where(mask, bits, 0)
    parts = tl.reshape(bits, (size // _BLOCK, _BLOCK))
    return tl.max(parts, axis=1).to(tl.float32, bitcast=True)


@inline
def _keep_scale(scale, scales, j, mask, size: tl.constexpr):
    """Store every part's scale; give every element the reciprocal of its part's."""
    # By the thread of a part's first element, which has it: no thread need be told by another.
    at = place(scales, tl.float32, False) + j // _BLOCK
    tl.store(at, _spread(scale, size), mask=mask & (j % _BLOCK == 0))
    return _spread(tl.where(scale < 2.0**-126, 0.0, div(single(1.0), scale)), size)


@inline
def open_signed8(codes, scales, b, n, j, mask, size: tl.constexpr, full: tl.constexpr):
    q = load(place(codes, tl.int8, full) + j, mask, full).to(tl.float32)
    return div(q, single(_TOP) - tl.abs(q)) * _scale(scales, b, n, size, full)


@inline
def close_signed8(
    x,
    codes,
    scales,
    b,
    n,
    j,
    mask,
    first,
    half: tl.constexpr,
    size: tl.constexpr,
    full: tl.constexpr,
):
    x = x.to(tl.float32)
    reciprocal = _keep_scale(_largest(x, mask, size, full), scales, j, mask, size) * single(_PART)
    centred = _signed(_bits(first, j, half)) * single(_CENTRED)
    # One over 254 - q, with q the code before it is rounded.
    over = tl.minimum(fma(tl.abs(x), reciprocal, single(_PART)), single(2 * _PART))
    bent = fma(centred, centred, single(-0.25))
    q = fma(bent, over, centred) + (single(_TOP + 0.5) - div(single(1.0), over))
    q = q.to(tl.int32)
    store(place(codes, tl.int8, full) + j, tl.where(x < 0, -q, q).to(tl.int8), mask, full)


@inline
def open_positive8(codes, scales, b, n, j, mask, size: tl.constexpr, full: tl.constexpr):
    q = load(place(codes, tl.uint8, full) + j, mask, full).to(tl.float32)
    return q * q * _scale(scales, b, n, size, full)


@inline
def close_positive8(
    x,
    codes,
    scales,
    b,
    n,
    j,
    mask,
    first,
    half: tl.constexpr,
    size: tl.constexpr,
    full: tl.constexpr,
):
    x = x.to(tl.float32)
    scale = _largest(x, mask, size, full) * single(_UNIT)
    reciprocal = _keep_scale(scale, scales, j, mask, size)
    v = fma(_signed(_bits(first, j, half)), single(_CENTRED), single(0.5))
    q = sqrt(tl.maximum(fma(x, reciprocal, fma(v, v, -v)), 0.0)) + v
    q = tl.where(x > 0, tl.minimum(tl.maximum(q, 1.0), _MOST), 0.0)
    store(place(codes, tl.uint8, full) + j, q.to(tl.int32).to(tl.uint8), mask, full)


@inline
def open_stochastic16(halves, b, n, j, mask, size: tl.constexpr, full: tl.constexpr):
    u = load(place(halves, tl.uint16, full) + j, mask, full).to(tl.uint32)
    return (u << 16).to(tl.float32, bitcast=True)


@inline
def close_stochastic16(
    x, halves, b, n, j, mask, first, half: tl.constexpr, size: tl.constexpr, full: tl.constexpr
):
    x = x.to(tl.float32)
    # Random bits are added below the upper half of the float32.
    up = (_bits(first, j, half) >> 16) ^ 0x8000
    rounded = (x.to(tl.uint32, bitcast=True) + up) >> 16
    u = tl.where(x == x, rounded, 0x7FC0).to(tl.uint16)
    store(place(halves, tl.uint16, full) + j, u, mask, full)


@inline
def _rest(error, x, steps: tl.constexpr):
    """A correction: so many steps off the weight, rounded to a whole number."""
    whole = tl.minimum(tl.maximum(tl.floor(error + 0.5), -steps / 2), steps / 2 - 1)
    finite = (x.to(tl.uint32, bitcast=True) & 0x7F800000) != 0x7F800000
    return tl.where(finite, whole, 0.0).to(tl.int32)


@inline
def _last_place(weight):
    power = (weight.to(tl.uint32, bitcast=True) & 0x7F800000).to(tl.float32, bitcast=True)
    return tl.maximum(power, 2.0**-14) * 2.0**-10


@inline
def _open_bfloat16(
    weights, rests, steps: tl.constexpr, kind: tl.constexpr, j, mask, full: tl.constexpr
):
    u = load(place(weights, tl.uint16, full) + j, mask, full).to(tl.uint32) << 16
    rest = load(place(rests, kind, full) + j, mask, full).to(tl.int32).to(tl.uint32)
    return (u + rest * _word(65536 // steps)).to(tl.float32, bitcast=True)


@inline
def _close_bfloat16(
    x, weights, rests, steps: tl.constexpr, kind: tl.constexpr, j, mask, full: tl.constexpr
):
    # Half a last place up, and cut off: the rest fits, and is exact in bits.
    x = x.to(tl.float32)
    pattern = x.to(tl.uint32, bitcast=True)
    upper = (pattern + _word(0x8000)) >> 16
    off = (pattern - (upper << 16)).to(tl.int32, bitcast=True).to(tl.float32)
    rest = _rest(off * single(steps / 65536), x, steps)
    store(place(rests, kind, full) + j, rest.to(kind), mask, full)
    u = tl.where(x == x, upper, 0x7FC0).to(tl.uint16)
    store(place(weights, tl.uint16, full) + j, u, mask, full)


@inline
def _open_float16(
    weights, rests, steps: tl.constexpr, kind: tl.constexpr, j, mask, full: tl.constexpr
):
    weight = load(place(weights, tl.float16, full) + j, mask, full).to(tl.float32)
    rest = load(place(rests, kind, full) + j, mask, full).to(tl.float32)
    return weight + rest * _last_place(weight) * single(1 / steps)


@inline
def _close_float16(
    x, weights, rests, steps: tl.constexpr, kind: tl.constexpr, j, mask, full: tl.constexpr
):
    x = x.to(tl.float32)
    half = x.to(tl.float16)
    weight = half.to(tl.float32)
    off = div(x - weight, _last_place(weight)) * single(steps)
    store(place(rests, kind, full) + j, _rest(off, x, steps).to(kind), mask, full)
    store(place(weights, tl.float16, full) + j, half, mask, full)


@inline
def open_bfloat16x8(weights, rests, b, n, j, mask, size: tl.constexpr, full: tl.constexpr):
    return _open_bfloat16(weights, rests, 256, tl.int8, j, mask, full)


@inline
def close_bfloat16x8(x, weights, rests, b, n, j, mask, size: tl.constexpr, full: tl.constexpr):
    _close_bfloat16(x, weights, rests, 256, tl.int8, j, mask, full)


@inline
def open_bfloat16x16(weights, rests, b, n, j, mask, size: tl.constexpr, full: tl.constexpr):
    return _open_bfloat16(weights, rests, 65536, tl.int16, j, mask, full)


@inline
def close_bfloat16x16(x, weights, rests, b, n, j, mask, size: tl.constexpr, full: tl.constexpr):
    _close_bfloat16(x, weights, rests, 65536, tl.int16, j, mask, full)


@inline
def open_float16x8(weights, rests, b, n, j, mask, size: tl.constexpr, full: tl.constexpr):
    return _open_float16(weights, rests, 256, tl.int8, j, mask, full)


@inline
def close_float16x8(x, weights, rests, b, n, j, mask, size: tl.constexpr, full: tl.constexpr):
    _close_float16(x, weights, rests, 256, tl.int8, j, mask, full)


@inline
def open_float16x16(weights, rests, b, n, j, mask, size: tl.constexpr, full: tl.constexpr):
    return _open_float16(weights, rests, 65536, tl.int16, j, mask, full)


@inline
def close_float16x16(x, weights, rests, b, n, j, mask, size: tl.constexpr, full: tl.constexpr):
    _close_float16(x, weights, rests, 65536, tl.int16, j, mask, full)
