"""What generated CPU kernels call, as LLVM's instructions; :mod:`.plain` has their twins."""

from __future__ import annotations

import math
from typing import Any

from llvmlite import ir
from numba import carray, njit, types
from numba.core.cgutils import get_or_insert_function
from numba.extending import intrinsic

from .sizes import LANES, TILE

sqrt, exp, log = math.sqrt, math.exp, math.log


def _view(dtype: Any) -> Any:
    @intrinsic
    def pointer(context: Any, address: Any) -> Any:
        def generate(ctx: Any, builder: Any, signature: Any, args: Any) -> Any:
            return builder.inttoptr(args[0], ctx.get_value_type(signature.return_type))

        return types.CPointer(dtype)(types.int64), generate

    @njit
    def view(address: Any, count: Any) -> Any:
        return carray(pointer(address), (count,))

    return view


view_float32 = _view(types.float32)
view_float64 = _view(types.float64)
view_uint16 = _view(types.uint16)
view_uint32 = _view(types.uint32)
view_int16 = _view(types.int16)
view_int8 = _view(types.int8)
view_uint8 = _view(types.uint8)
view_int64 = _view(types.int64)


@intrinsic
def new_tile(context: Any) -> Any:
    # On the stack, and never an integer: the compiler then knows that nothing else is there.
    def generate(ctx: Any, builder: Any, signature: Any, args: Any) -> Any:
        with builder.goto_entry_block():
            memory = builder.alloca(ir.ArrayType(ir.FloatType(), TILE))
            memory.align = 64
        return builder.bitcast(memory, ctx.get_value_type(signature.return_type))

    return types.CPointer(types.float32)(), generate


@intrinsic
def _from(context: Any, tile: Any, first: Any) -> Any:
    def generate(ctx: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.gep(args[0], [args[1]])

    return tile(tile, types.int64), generate


@njit
def view_tile(tile: Any, first: Any, count: Any) -> Any:
    return carray(_from(tile, first), (count,))


# The compiler keeps lanes in registers as long as it sees that nothing else can touch them, for
# which it follows 100 uses of their address; so all of them are cleared and summed at once.
def _new_lanes(dtype: Any) -> Any:
    @intrinsic
    def new(context: Any) -> Any:
        def generate(ctx: Any, builder: Any, signature: Any, args: Any) -> Any:
            with builder.goto_entry_block():
                memory = builder.alloca(_vector(ctx, dtype))
                memory.align = 64
            return builder.bitcast(memory, ctx.get_value_type(signature.return_type))

        return types.CPointer(dtype)(), generate

    return new


new_lanes, new_short_lanes = map(_new_lanes, (types.float64, types.float32))


def _vector(ctx: Any, dtype: Any) -> Any:
    return ir.VectorType(ctx.get_value_type(dtype), LANES)


def _at_once(ctx: Any, builder: Any, kind: Any, lanes: Any) -> Any:
    memory = ctx.make_array(kind)(ctx, builder, lanes).data
    return builder.bitcast(memory, _vector(ctx, kind.dtype).as_pointer())


@njit
def view_lanes(memory: Any) -> Any:
    return carray(memory, (LANES,))


@intrinsic
def clear_lanes(context: Any, lanes: Any) -> Any:
    def generate(ctx: Any, builder: Any, signature: Any, args: Any) -> Any:
        memory = _at_once(ctx, builder, signature.args[0], args[0])
        builder.store(ir.Constant(memory.type.pointee, None), memory, align=64)
        return ctx.get_dummy_value()

    return types.void(lanes), generate


@intrinsic
def sum_lanes(context: Any, lanes: Any) -> Any:
    def generate(ctx: Any, builder: Any, signature: Any, args: Any) -> Any:
        def part(first: int, last: int) -> Any:
            mask = ir.VectorType(ir.IntType(32), last - first)
            at = ir.Constant(mask, list(range(first, last)))
            return builder.shuffle_vector(whole, whole, at)

        whole = builder.load(_at_once(ctx, builder, signature.args[0], args[0]), align=64)
        half = LANES // 2
        while half:
            whole = builder.fadd(part(0, half), part(half, 2 * half))
            half //= 2
        return builder.extract_element(whole, ir.Constant(ir.IntType(32), 0))

    return types.float64(lanes), generate


def _prefetch(kept: int) -> Any:
    @intrinsic
    def ask_for(context: Any, address: Any) -> Any:
        def generate(ctx: Any, builder: Any, signature: Any, args: Any) -> Any:
            place, word = ir.IntType(8).as_pointer(), ir.IntType(32)
            kind = ir.FunctionType(ir.VoidType(), [place, word, word, word])
            function = builder.module.declare_intrinsic("llvm.prefetch", [place], kind)
            # To be read, kept in caches so much, as data.
            how = [ir.Constant(word, k) for k in (0, kept, 1)]
            builder.call(function, [builder.inttoptr(args[0], place), *how])
            return ctx.get_dummy_value()

        return types.void(types.int64), generate

    return ask_for


prefetch, prefetch_once = _prefetch(3), _prefetch(0)


@intrinsic
def take(context: Any, address: Any) -> Any:
    """Count up; the number before is no other thread's."""

    def generate(ctx: Any, builder: Any, signature: Any, args: Any) -> Any:
        word = ir.IntType(64)
        place = builder.inttoptr(args[0], word.as_pointer())
        return builder.atomic_rmw("add", place, ir.Constant(word, 1), "monotonic")

    return types.int64(types.int64), generate


@intrinsic
def ask(context: Any, function: Any, handle: Any, answer: Any) -> Any:
    def generate(ctx: Any, builder: Any, signature: Any, args: Any) -> Any:
        word = ir.IntType(64)
        kind = ir.FunctionType(ir.IntType(32), [word, word])
        return builder.call(builder.inttoptr(args[0], kind.as_pointer()), args[1:])

    return types.int32(types.int64, types.int64, types.int64), generate


@intrinsic
def fma(context: Any, a: Any, b: Any, c: Any) -> Any:
    # A number beside a vector (see ``vectors.py``) becomes one.
    kind = next((x for x in (a, b, c) if not isinstance(x, types.Number)), c)
    return kind(kind, kind, kind), lambda ctx, builder, kinds, args: llvm(builder, "fma", args)


def llvm(builder: Any, name: str, args: Any) -> Any:
    """A function of LLVM's that takes and gives one kind of number, or vectors of one."""
    kind, number = args[0].type, getattr(args[0].type, "element", args[0].type)
    many = f"v{kind.count}" if kind != number else ""
    function = ir.FunctionType(kind, [kind] * len(args))
    whole = f"llvm.{name}.{many}{number.intrinsic_name}"
    return builder.call(get_or_insert_function(builder.module, function, whole), args)


def _bitcast(source: Any, target: Any) -> Any:
    @intrinsic
    def cast(context: Any, x: Any) -> Any:
        def generate(ctx: Any, builder: Any, signature: Any, args: Any) -> Any:
            return builder.bitcast(args[0], ctx.get_value_type(target))

        return target(source), generate

    return cast


bits = _bitcast(types.float32, types.uint32)
from_bits = _bitcast(types.uint32, types.float32)


def _word(operation: str) -> Any:
    # Numba would widen these to 64 bits, and halve the width of vectors.
    @intrinsic
    def word(context: Any, a: Any, b: Any) -> Any:
        def generate(ctx: Any, builder: Any, signature: Any, args: Any) -> Any:
            return getattr(builder, operation)(*args)

        return types.uint32(types.uint32, types.uint32), generate

    return word


add32, sub32, mul32, and32, xor32 = map(_word, ("add", "sub", "mul", "and_", "xor"))
shl32, shr32 = map(_word, ("shl", "lshr"))


def _float_function(name: str, arguments: int) -> Any:
    kind = ir.FunctionType(ir.FloatType(), [ir.FloatType()] * arguments)

    def generate(ctx: Any, builder: Any, signature: Any, args: Any) -> Any:
        function = builder.module.declare_intrinsic(name, [ir.FloatType()], kind)
        return builder.call(function, args)

    return types.float32(*[types.float32] * arguments), generate


@intrinsic
def floored(context: Any, x: Any) -> Any:
    return _float_function("llvm.floor", 1)


@intrinsic
def word(context: Any, i: Any) -> Any:
    def generate(ctx: Any, builder: Any, signature: Any, args: Any) -> Any:
        widen = builder.sext if i.signed else builder.zext
        return widen(args[0], ir.IntType(32))

    return types.uint32(i), generate


@intrinsic
def copysign(context: Any, x: Any, sign: Any) -> Any:
    return _float_function("llvm.copysign", 2)


@intrinsic
def signed(context: Any, u: Any) -> Any:
    def generate(ctx: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.sitofp(args[0], ir.FloatType())

    return types.float32(types.uint32), generate


def _narrow(kind: Any) -> Any:
    @intrinsic
    def narrow(context: Any, x: Any) -> Any:
        def generate(ctx: Any, builder: Any, signature: Any, args: Any) -> Any:
            whole = builder.fptosi(args[0], ir.IntType(32))
            return builder.trunc(whole, ir.IntType(kind.bitwidth))

        return kind(types.float32), generate

    return narrow


byte, short = map(_narrow, (types.int8, types.int16))


@intrinsic
def unsigned_byte(context: Any, x: Any) -> Any:
    def generate(ctx: Any, builder: Any, signature: Any, args: Any) -> Any:
        whole = builder.fptosi(args[0], ir.IntType(32))
        most = ir.Constant(ir.IntType(32), 255)
        fits = builder.icmp_unsigned("<", whole, most)
        return builder.trunc(builder.select(fits, whole, most), ir.IntType(8))

    return types.uint8(types.float32), generate


@intrinsic
def half_to_float(context: Any, u: Any) -> Any:
    def generate(ctx: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.fpext(builder.bitcast(args[0], ir.HalfType()), ir.FloatType())

    return types.float32(types.uint16), generate


@intrinsic
def float_to_half(context: Any, x: Any) -> Any:
    def generate(ctx: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.bitcast(builder.fptrunc(args[0], ir.HalfType()), ir.IntType(16))

    return types.uint16(types.float32), generate
