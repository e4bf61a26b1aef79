"""What a formula is called on to be traced: values that remember how they were made."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

__all__ = ["FUNCTIONS", "LOADED", "MATRIX_FUNCTIONS", "REDUCTIONS", "Document", "Node", "Tracer"]

#: What a formula may ask of ``xp``, beside Python's own arithmetic and comparisons.
FUNCTIONS = (
    "sqrt", "abs", "sign", "exp", "log", "atan2", "maximum", "minimum", "where", "lerp", "fma",
    "f32", "f64", "sum", "total",
)  # fmt: skip

#: Those of them that end a pass over memory.
REDUCTIONS = ("sum", "total")

#: What a matrix rule may ask for as well. The last two axes are a matrix's rows and columns.
#:
#: - ``row_mean(x)``, ``column_mean(x)``: the mean of every row, of every column, as a matrix of one
#:   column, of one row; ``norm(x)``: the root of the sum of all squares;
#: - ``matmul(a, b)``; ``addmm(beta, c, alpha, a, b)``: ``beta * c + alpha * a @ b``, rounded once;
#: - ``transpose(x)``; ``wide(x)``: transposed if it has more rows than columns; ``turned(y, x)``: y
#:   transposed if ``wide`` would transpose x;
#: - ``bfloat16(x)``: rounded to that precision, in which what follows is computed.
MATRIX_FUNCTIONS = (
    "row_mean", "column_mean", "norm", "matmul", "addmm", "transpose", "wide", "turned", "bfloat16",
)  # fmt: skip

#: What an engine has at hand for each element: arrays, and ``unit``, the factor of its unit.
LOADED = ("array", "unit")


class Node:
    """One value of a traced formula.

    ``elementwise`` values have one number an element, the others one float64 a tensor. ``stage`` is
    the number of reductions that must be complete before it can be computed.
    """

    __slots__ = ("args", "elementwise", "op", "stage", "tracer")

    def __init__(self, tracer: Tracer, op: str, args: tuple[Any, ...]) -> None:
        nodes: list[Node] = [a for a in args if isinstance(a, Node)]
        self.tracer, self.op, self.args = tracer, op, args
        reduces = op in REDUCTIONS
        self.stage: int = max((n.stage for n in nodes), default=0) + reduces
        self.elementwise: bool = op in LOADED or (not reduces and any(n.elementwise for n in nodes))

    def __pow__(self, exponent: Any) -> Node:
        return self * self if exponent == 2 else self.tracer.node("pow", self, exponent)

    def __bool__(self) -> bool:
        raise TypeError(
            "a formula may not branch on data, because a kernel has one path for all elements; "
            "use xp.where (flags and absent slots may be branched on)"
        )

    # Typed by hand because the operators themselves are made in a loop below.
    __add__: Callable[[Node, Any], Node]
    __mul__: Callable[[Node, Any], Node]


def _operator(op: str, reflected: bool) -> Callable[..., Node]:
    def method(self: Node, *other: Any) -> Node:
        return self.tracer.node(op, *((*other, self) if reflected else (self, *other)))

    return method


for _name, _op in {"add": "add", "sub": "sub", "mul": "mul", "truediv": "div"}.items():
    setattr(Node, f"__{_name}__", _operator(_op, reflected=False))
    setattr(Node, f"__r{_name}__", _operator(_op, reflected=True))
for _op in ("neg", "gt", "lt", "ge", "le"):
    setattr(Node, f"__{_op}__", _operator(_op, reflected=False))
Node.__rpow__ = _operator("pow", reflected=True)  # type: ignore[attr-defined]  # as the loop above


class Tracer:
    """``xp`` for tracing. Equal expressions become one node, so they are computed once.

    Args:
        functions: what the formula may ask for.
    """

    def __init__(self, functions: tuple[str, ...] = FUNCTIONS) -> None:
        self._functions = functions
        self._nodes: dict[tuple[Any, ...], Node] = {}
        self._totals = itertools.count()

    def node(self, op: str, *args: Any) -> Node:
        """The node of an operation on nodes, numbers or names."""
        key = (op, *(id(a) if isinstance(a, Node) else a for a in args))
        return self._nodes.setdefault(key, Node(self, op, args))

    def total(self, value: Node) -> Node:
        """The sum of an elementwise value over all tensors of the step, whatever their groups.

        Calls are numbered, because the engines of one step exchange their shares by that number.
        """
        return self.node("total", value, next(self._totals))

    def __getattr__(self, name: str) -> Callable[..., Node]:
        if name not in self._functions:
            raise AttributeError(f"a formula may use {', '.join(self._functions)}, not xp.{name}")
        return lambda *args: self.node(name, *args)

    def named(self, letter: str, x: Node) -> Node:
        """A value of a matrix rule that has a letter of its own where the formula is printed."""
        return x

    def repeat(self, letter: str, times: int, f: Callable[[Node], Node], x: Node) -> Node:
        """``f(f(... f(x)))``; printed as one equation, with a letter for what is repeated."""
        for _ in range(times):
            x = f(x)
        return x


class Document(Tracer):
    """``xp`` for printing: what has a letter is an instruction, and a loop is not unrolled.

    The instruction ``equate@U@t@t`` is the equation of a letter at a time; its value is the letter
    at the second time.
    """

    _time = "t"

    def named(self, letter: str, x: Node) -> Node:
        """The letter's equation."""
        return self.node(f"equate@{letter}@{self._time}@{self._time}", x)

    def repeat(self, letter: str, times: int, f: Callable[[Node], Node], x: Node) -> Node:
        """Two equations: the first value, and a value from the one before it."""
        before = self.node(f"equate@{letter}@0@k", x)
        outside, self._time = self._time, "k"
        after = f(before)
        self._time = outside
        return self.node(f"equate@{letter}@k+1@{times}", after)
