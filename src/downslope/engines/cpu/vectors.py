"""Vectors as numbers of a kernel: a line of memory, 16 numbers of float32, computed at once.

LLVM vectorises plain loops, but none that asks for memory ahead; a loop over vectors can do both.
The same formula is printed for either, with the same arithmetic, bit for bit. A number of float32
beside a vector counts as a vector of equal ones.

Importing this tells Numba; without its compiler (``NUMBA_DISABLE_JIT=1``) there are no vectors.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable
from typing import Any

from llvmlite import ir
from numba import types
from numba.core.typeconv.castgraph import Conversion
from numba.core.typing.templates import ConcreteTemplate, infer_global, signature
from numba.extending import intrinsic, lower_builtin, lower_cast, models, register_model

from .intrinsics import llvm
from .library import maximum, minimum, sign, where
from .sizes import LINE

__all__ = ["OPERATIONS", "WIDTH", "load_vector", "store_vector"]

#: Numbers a vector.
WIDTH = LINE // 4

_FLOATS, _BITS = ir.VectorType(ir.FloatType(), WIDTH), ir.VectorType(ir.IntType(1), WIDTH)


class _Vector(types.Type):
    def can_convert_from(self, typing_context: Any, other: Any) -> Conversion | None:
        return Conversion.safe if other == types.float32 else None


class _Mask(types.Type):
    """Of each number of a vector, whether something holds."""


_VECTOR, _MASK = _Vector("Vector"), _Mask("Mask")


def _register(kind: type, memory: Any) -> None:
    class Model(models.PrimitiveModel):
        def __init__(self, manager: Any, of: Any) -> None:
            super().__init__(manager, of, memory)

    register_model(kind)(Model)


_register(_Vector, _FLOATS)
_register(_Mask, _BITS)


@lower_cast(types.float32, _Vector)
def _repeat(ctx: Any, builder: Any, source: Any, target: Any, value: Any) -> Any:
    word = ir.IntType(32)
    one = builder.insert_element(ir.Constant(_FLOATS, ir.Undefined), value, ir.Constant(word, 0))
    return builder.shuffle_vector(one, one, ir.Constant(ir.VectorType(word, WIDTH), [0] * WIDTH))


def _constant(value: float) -> Any:
    return ir.Constant(_FLOATS, [value] * WIDTH)


def _called(name: str) -> Callable[..., Any]:
    return lambda builder, *args: llvm(builder, name, args)


def _compared(sign: str) -> Callable[..., Any]:
    return lambda builder, a, b: builder.fcmp_ordered(sign, a, b)


def _chosen(sign: str) -> Callable[..., Any]:
    """The first where the comparison says so, or where it is NaN."""

    def generate(builder: Any, a: Any, b: Any) -> Any:
        first = builder.or_(builder.fcmp_ordered(sign, a, b), builder.fcmp_unordered("uno", a, a))
        return builder.select(first, a, b)

    return generate


def _sign(builder: Any, a: Any) -> Any:
    zero, one = _constant(0.0), _constant(1.0)
    rest = builder.select(builder.fcmp_ordered("<", a, zero), _constant(-1.0), zero)
    return builder.select(builder.fcmp_ordered(">", a, zero), one, rest)


#: Operation -> what it is in a kernel, what it makes of vectors, and how.
_TABLE: dict[str, tuple[Any, Any, int, Callable[..., Any]]] = {
    "add": (operator.add, _VECTOR, 2, lambda builder, *args: builder.fadd(*args)),
    "sub": (operator.sub, _VECTOR, 2, lambda builder, *args: builder.fsub(*args)),
    "mul": (operator.mul, _VECTOR, 2, lambda builder, *args: builder.fmul(*args)),
    "div": (operator.truediv, _VECTOR, 2, lambda builder, *args: builder.fdiv(*args)),
    "neg": (operator.neg, _VECTOR, 1, lambda builder, a: builder.fneg(a)),
    "gt": (operator.gt, _MASK, 2, _compared(">")),
    "lt": (operator.lt, _MASK, 2, _compared("<")),
    "ge": (operator.ge, _MASK, 2, _compared(">=")),
    "le": (operator.le, _MASK, 2, _compared("<=")),
    "sqrt": (math.sqrt, _VECTOR, 1, _called("sqrt")),
    "abs": (abs, _VECTOR, 1, _called("fabs")),
    "sign": (sign, _VECTOR, 1, _sign),
    "maximum": (maximum, _VECTOR, 2, _chosen(">")),
    "minimum": (minimum, _VECTOR, 2, _chosen("<")),
}
#: What can be computed of vectors; the library's ``fma`` knows them, and ``lerp`` is made of these.
OPERATIONS = frozenset((*_TABLE, "where", "fma", "lerp"))


def _tell(function: Any, result: Any, arguments: tuple[Any, ...], generate: Any) -> None:
    class Typing(ConcreteTemplate):
        cases = (signature(result, *arguments),)

    infer_global(function)(Typing)

    @lower_builtin(function, *arguments)
    def lower(ctx: Any, builder: Any, kinds: Any, args: Any) -> Any:
        return generate(builder, *args)


for _function, _result, _count, _generate in _TABLE.values():
    _tell(_function, _result, (_VECTOR,) * _count, _generate)
_tell(where, _VECTOR, (_MASK, _VECTOR, _VECTOR), lambda builder, *args: builder.select(*args))


def _place(builder: Any, address: Any) -> Any:
    return builder.inttoptr(address, _FLOATS.as_pointer())


@intrinsic
def load_vector(context: Any, address: Any) -> Any:
    """The vector at an address."""

    def generate(ctx: Any, builder: Any, kinds: Any, args: Any) -> Any:
        return builder.load(_place(builder, args[0]), align=4)

    return _VECTOR(types.int64), generate


@intrinsic
def store_vector(context: Any, address: Any, value: Any) -> Any:
    """Write a vector to an address."""

    def generate(ctx: Any, builder: Any, kinds: Any, args: Any) -> Any:
        builder.store(args[1], _place(builder, args[0]), align=4)
        return ctx.get_dummy_value()

    return types.void(types.int64, _VECTOR), generate
