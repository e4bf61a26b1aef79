"""What generated Triton kernels call: memory, exact arithmetic, and who is last.

Triton's own ``/`` and ``sqrt`` are approximate in float32; these are correctly rounded. Under
``TRITON_INTERPRET=1``, where no vendor's mathematical library exists, ``interpreted.py`` stands in.
"""

import triton
import triton.language as tl
from triton import knobs
from triton.language.extra import libdevice

INTERPRETED = knobs.runtime.interpret

if INTERPRETED:
    from .interpreted import atan2, exp, fma, log, pow, to_bfloat16

    def inline(function):
        """Inside an interpreted kernel, plain Python does."""
        return function

else:
    inline = triton.jit
    atan2, exp, log, pow = libdevice.atan2, libdevice.exp, libdevice.log, libdevice.pow

    @inline
    def fma(a, b, c):
        return tl.fma(a, b, c)

    @inline
    def to_bfloat16(x):
        return x.to(tl.bfloat16)


@inline
def load(at, mask, full: tl.constexpr):
    """Elements of a block; a full one is read without asking for each element's place."""
    if full:
        return tl.load(at)
    else:
        return tl.load(at, mask=mask, other=0)


@inline
def store(at, x, mask, full: tl.constexpr):
    if full:
        tl.store(at, x)
    else:
        tl.store(at, x, mask=mask)


@inline
def place(address, kind: tl.constexpr, full: tl.constexpr):
    """An address as a pointer. That full blocks lie on 16-byte boundaries is a promise."""
    pointer = address.to(tl.pointer_type(kind))
    if full:
        return tl.multiple_of(pointer, 16)
    else:
        return pointer


@inline
def counted(x, mask, full: tl.constexpr):
    """A block's share of a total."""
    if full:
        return x.to(tl.float64)
    else:
        return tl.where(mask, x.to(tl.float64), 0.0)


@inline
def single(x: tl.constexpr):
    """A constant of a formula, in float32."""
    return tl.full((), x, tl.float32)


@inline
def double(x: tl.constexpr):
    """A constant of a formula, in float64."""
    return tl.full((), x, tl.float64)


@inline
def sqrt(x):
    if x.dtype == tl.float32:
        return tl.sqrt_rn(x)
    else:
        return tl.sqrt(x)


@inline
def div(a, b):
    if a.dtype == tl.float64 or b.dtype == tl.float64:
        return a / b
    else:
        return tl.div_rn(a, b)


@inline
def abs(x):
    return tl.abs(x)


@inline
def where(condition, a, b):
    if condition.dtype == tl.int1:
        return tl.where(condition, a, b)
    else:
        return tl.where(condition != 0, a, b)


@inline
def maximum(a, b):
    return tl.maximum(a, b, propagate_nan=tl.PropagateNan.ALL)  # NaN wins, as in torch


@inline
def minimum(a, b):
    return tl.minimum(a, b, propagate_nan=tl.PropagateNan.ALL)


@inline
def sign(x):
    return tl.where(x > 0, 1.0, tl.where(x < 0, -1.0, 0.0)).to(x.dtype)  # 0 for NaN, as in torch


@inline
def lerp(a, b, weight):
    # torch's two branches: each is exact at its own end.
    return tl.where(tl.abs(weight) < 0.5, fma(weight, b - a, a), fma(weight - 1, b - a, b))


@inline
def f32(x):
    return x.to(tl.float32).to(x.dtype)


@inline
def f64(x):
    return x.to(tl.float64)


@inline
def last(tickets, i, count):
    """Whether this program is the last of ``count`` to finish tensor i.

    The last one sees what the others stored before they asked, and may overwrite what they read.
    """
    tl.debug_barrier()
    number = count
    if count > 1:
        number = tl.atomic_add(tickets + i, 1, sem="acq_rel") + 1
        if number == count:
            tl.store(tickets + i, 0)  # for the next launch
    return number == count


@inline
def total(partial, stride, first, count, block: tl.constexpr):
    """The sum of a tensor's partial sums, in an order that depends on their number only."""
    sums = tl.zeros((block,), tl.float64)
    for start in range(0, count, block):
        k = start + tl.arange(0, block)
        # Past the cache of this core, which does not know what others wrote.
        at = partial + (first + k) * stride
        sums += tl.load(at, mask=k < count, other=0.0, cache_modifier=".cg")
    return tl.sum(sums)
