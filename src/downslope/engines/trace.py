"""From a formula to a program: the rule is called on :class:`Node` values and leaves its trace.

A :class:`Program` is what every compiled engine prints its kernel from. What depends on scalars
only is kept apart, to be evaluated once a tensor in float64; what depends on arrays is a list of
elementwise instructions. ``xp.sum`` (over the tensor) and ``xp.total`` (over all tensors of the
step) end a pass over memory: later instructions wait for the number. Only the last pass writes.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from functools import cache
from typing import Any, NamedTuple

from ..rules import Rule

__all__ = [
    "FUNCTIONS",
    "MATRIX_FUNCTIONS",
    "Instruction",
    "Node",
    "Pass",
    "Program",
    "Total",
    "Tracer",
    "limited",
    "trace",
    "trace_sums",
]

#: What a formula may ask of ``xp``, beside Python's own arithmetic and comparisons.
FUNCTIONS = (
    "sqrt", "abs", "sign", "exp", "log", "atan2", "maximum", "minimum", "where", "lerp", "fma",
    "f32", "f64", "sum", "total",
)  # fmt: skip

_REDUCTIONS = ("sum", "total")
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
_LOADED = ("array", "unit")

Operand = str | float


class Node:
    """One value of a traced formula.

    ``elementwise`` values have one number an element, the others one float64 a tensor. ``stage`` is
    the number of reductions that must be complete before it can be computed.
    """

    __slots__ = ("args", "elementwise", "op", "stage", "tracer")

    def __init__(self, tracer: Tracer, op: str, args: tuple[Any, ...]) -> None:
        nodes: list[Node] = [a for a in args if isinstance(a, Node)]
        self.tracer, self.op, self.args = tracer, op, args
        reduces = op in _REDUCTIONS
        self.stage: int = max((n.stage for n in nodes), default=0) + reduces
        self.elementwise: bool = op in _LOADED or (
            not reduces and any(n.elementwise for n in nodes)
        )

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


@dataclass(frozen=True)
class Instruction:
    """``name = op(*args)``; an argument is the name of an earlier value, or a number."""

    name: str
    op: str
    args: tuple[Operand, ...]


class Total(NamedTuple):
    """A sum that a pass makes of an elementwise value.

    ``call`` is None for a sum over the tensor; for one over all tensors of the step it is the
    number of the formula's call of ``xp.total``.
    """

    name: str
    operand: Operand
    call: int | None = None


@dataclass(frozen=True)
class Pass:
    """One sweep over memory.

    Args:
        scalars: float64 instructions, evaluated once a tensor; they may read totals of earlier
            passes.
        hoisted: ``(name, operand)``: scalars that elements need, under the name the body uses.
        reads: the arrays it loads.
        body: elementwise instructions.
        totals: the sums that this pass makes.
        writes: ``(array, operand)``: what it stores; empty in all passes but the last.
        numbers: ``(slot, operand)``: new values of slots that are one number a tensor.
    """

    scalars: tuple[Instruction, ...]
    hoisted: tuple[tuple[str, Operand], ...]
    reads: tuple[str, ...]
    body: tuple[Instruction, ...]
    totals: tuple[Total, ...]
    writes: tuple[tuple[str, Operand], ...]
    numbers: tuple[tuple[str, Operand], ...]


def _with_reciprocals(step: Pass) -> Pass:
    scalars, hoisted = list(step.scalars), dict(step.hoisted)
    body = []
    for made in step.body:
        by = made.args[-1]
        if made.op == "div" and by in hoisted:
            one = Instruction(f"{by}i", "div", (1.0, hoisted[by]))
            if one not in scalars:
                scalars.append(one)
                hoisted[f"{by}r"] = one.name
            made = replace(made, op="mul", args=(made.args[0], f"{by}r"))
        body.append(made)
    used = {a for made in body for a in made.args} | {a for _, a in step.writes}
    used |= {total.operand for total in step.totals}
    kept = tuple((name, a) for name, a in hoisted.items() if name in used)
    return replace(step, scalars=tuple(scalars), hoisted=kept, body=tuple(body))


@dataclass(frozen=True)
class Program:
    """A rule traced for one set of slots and flags.

    ``arrays`` are the parameter, the gradient and the present slots, in that order; ``scalars`` are
    the columns of the table that the host fills, one row a tensor: the formula's scalars, then the
    present slots that are single numbers.
    """

    rule: Rule
    present: tuple[str, ...]
    flags: tuple[tuple[str, Any], ...]
    arrays: tuple[str, ...]
    scalars: tuple[str, ...]
    passes: tuple[Pass, ...]

    @property
    def totals(self) -> tuple[Total, ...]:
        """The sums of all passes, in the order of their names' numbers."""
        return tuple(total for p in self.passes for total in p.totals)

    @property
    def with_reciprocals(self) -> Program:
        """The same with each division by a scalar as a product with its reciprocal.

        Rounded twice, so not to the last bit what the formula says.
        """
        return replace(self, passes=tuple(map(_with_reciprocals, self.passes)))

    @property
    def writes(self) -> tuple[str, ...]:
        """The arrays that a step changes."""
        return tuple(name for name, _ in self.passes[-1].writes)

    @property
    def streams(self) -> int:
        """Arrays read plus arrays written, the whole step: times bytes and numel, its traffic."""
        return sum(len(p.reads) + len(p.writes) for p in self.passes)


def limited(xp: Any, g: Any, clip_value: Any = None, unit: Any = None) -> Any:
    """A gradient, already unscaled, with its values clamped, then its units shortened.

    NaN stays NaN.
    """
    if clip_value is not None:
        g = xp.maximum(xp.minimum(g, clip_value), -clip_value)
    return g if unit is None else g * unit


@cache
def trace(
    rule: Rule,
    present: tuple[str, ...],
    flags: tuple[tuple[str, Any], ...],
    clips: tuple[str, ...] = (),
    *,
    document: bool = False,
) -> Program:
    """Call a rule on nodes and return the program it leaves behind.

    Args:
        rule: the rule.
        present: the slots that exist; the others are ``None`` to the formula.
        flags: the flags' values.
        clips: those of ``"clip_value"`` and ``"clip_agc"`` by which gradients are clipped before
            the rule sees them. The program then has the scalar ``gain`` too, which they are
            multiplied by after that, and the first also ``clip_value``.
        document: whether the program is for :mod:`~downslope.engines.symbolic` to print.

    >>> from downslope.rules import SGD
    >>> program = trace(SGD, ("momentum_buffer",), SGD.flag_values({}))
    >>> program.arrays
    ('p', 'g', 'momentum_buffer')
    >>> program.streams  # three arrays read, two written
    5
    """
    xp = (Document if document else Tracer)(_functions(rule))
    arrays, numbers = ("p", "g", *rule.arrays(present)), rule.numbers(present)
    kinds = {**dict.fromkeys(arrays, "array"), **dict.fromkeys(numbers, "scalar")}
    inputs: dict[str, Node | None] = {
        name: xp.node(kinds[name], name) if name in kinds else None
        for name in ("p", "g", *(s.name for s in rule.slots))
    }
    scalars = {name: xp.node("scalar", name) for name in rule.scalars}
    added = _clip_scalars(clips)
    if clips:
        limits = {name: xp.node("scalar", name) for name in added}
        gain, unit = limits.pop("gain"), xp.node("unit") if "clip_agc" in clips else None
        inputs["g"] = limited(xp, inputs["g"], unit=unit, **limits) * gain
    values = rule.update(xp, *inputs.values(), **scalars, **dict(flags))
    outputs = {
        name: value
        for name, value in zip((n for n in inputs if n != "g"), values, strict=True)
        if value is not None and value is not inputs[name]
    }
    absent = sorted(set(outputs) - set(kinds))
    if absent:
        raise TypeError(f"rule {rule.name} returns slot {absent[0]!r}, which does not exist here")
    passes = _passes(outputs, set(numbers), {*kinds, *scalars})
    read = {a for p in passes for s in p.scalars for a in s.args}
    read |= {operand for p in passes for _, operand in (*p.hoisted, *p.numbers)}
    return Program(
        rule,
        present,
        flags,
        arrays,
        (*(name for name in rule.scalars if name in read), *numbers, *added),
        passes,
    )


def _functions(rule: Rule) -> tuple[str, ...]:
    """What a rule's formula may ask ``xp`` for."""
    if not rule.matrix:
        return FUNCTIONS
    return tuple(f for f in FUNCTIONS if f not in _REDUCTIONS) + MATRIX_FUNCTIONS


def _clip_scalars(clips: tuple[str, ...]) -> tuple[str, ...]:
    return (*(["clip_value"] if "clip_value" in clips else []), *(["gain"] if clips else []))


@cache
def trace_sums(rule: Rule) -> Program:
    """A program that writes nothing: it adds up what a formula returns, over each tensor.

    Args:
        rule: of ``(xp, p, g)``, without slots; it returns elementwise values. Each becomes a total
            of the only pass. The program's arrays are those that it reads.

    >>> from downslope.engines.clip import squares_rule
    >>> trace_sums(squares_rule(())).arrays
    ('g',)
    """
    xp = Tracer()
    scalars = {name: xp.node("scalar", name) for name in rule.scalars}
    values = rule.update(xp, xp.node("array", "p"), xp.node("array", "g"), **scalars)
    names = {xp.node("sum", value): f"total{k}" for k, value in enumerate(values)}
    only = _one_pass(names, {}, {}, names, {"p", "g", *scalars})
    arrays = tuple(name for name in ("p", "g") if name in only.reads)  # as updates have them
    return Program(rule, (), (), arrays, rule.scalars, (only,))


def _passes(outputs: dict[str, Node], numbers: set[str], taken: set[str]) -> tuple[Pass, ...]:
    reductions = [n for n in _ordered(outputs.values(), lambda n: True) if n.op in _REDUCTIONS]
    reductions.sort(key=lambda n: n.stage)
    totals = _named("total", reductions, taken)
    last = max((n.stage for n in totals), default=0)
    passes = []
    for stage in range(last + 1):
        due = {n: name for n, name in totals.items() if n.stage == stage + 1}
        final = outputs if stage == last else {}
        arrays = {name: node for name, node in final.items() if name not in numbers}
        single = {name: node for name, node in final.items() if name in numbers}
        passes.append(_one_pass(due, arrays, single, totals, taken))
    return tuple(passes)


def _one_pass(
    reductions: dict[Node, str],
    writes: dict[str, Node],
    numbers: dict[str, Node],
    totals: dict[Node, str],
    taken: set[str],
) -> Pass:
    due = [n.args[0] for n in reductions]
    needed = _ordered([*due, *writes.values()], lambda n: n.elementwise)
    inner = [n for n in needed if n.elementwise and n.op not in _LOADED]
    roots = [n for n in [*due, *writes.values()] if isinstance(n, Node)]
    hoist = dict.fromkeys(
        a
        for n in [*inner, *roots]
        for a in (n.args if n.elementwise else (n,))
        if isinstance(a, Node) and not a.elementwise
    )
    wanted = _ordered([*hoist, *numbers.values()], lambda n: n.op not in _REDUCTIONS)
    host = [n for n in wanted if n.op not in ("scalar", *_REDUCTIONS)]
    names: dict[Node, str] = dict(totals)
    names.update(_named("s", host, taken))

    def scalar(value: Any) -> Operand:
        if not isinstance(value, Node):
            return float(value)
        return str(value.args[0]) if value.op == "scalar" else names[value]

    scalars = tuple(Instruction(names[n], n.op, tuple(map(scalar, n.args))) for n in host)
    hoisted, temporary = _named("h", hoist, taken), _named("t", inner, taken)

    def element(value: Any) -> Operand:
        if not isinstance(value, Node):
            return float(value)
        if value.op in _LOADED:
            return str(value.args[0]) if value.op == "array" else value.op
        return temporary[value] if value.elementwise else hoisted[value]

    return Pass(
        scalars,
        tuple((name, scalar(n)) for n, name in hoisted.items()),
        tuple(str(n.args[0]) for n in needed if n.op == "array"),
        tuple(Instruction(temporary[n], n.op, tuple(map(element, n.args))) for n in inner),
        tuple(
            Total(name, element(n.args[0]), n.args[1] if n.op == "total" else None)
            for n, name in reductions.items()
        ),
        tuple((name, element(n)) for name, n in writes.items()),
        tuple((name, scalar(n)) for name, n in numbers.items()),
    )


def _named(letter: str, nodes: Iterable[Node], taken: set[str]) -> dict[Node, str]:
    """Numbered names for nodes, other than the rule's own."""
    names = (name for k in itertools.count() if (name := f"{letter}{k}") not in taken)
    return dict(zip(nodes, names, strict=False))


def _ordered(roots: Iterable[Any], enter: Callable[[Node], bool]) -> list[Node]:
    """Every node the roots need, arguments first; nodes that ``enter`` refuses are not opened."""
    found: dict[Node, None] = {}

    def visit(node: Any) -> None:
        if isinstance(node, Node) and node not in found:
            if enter(node):
                for argument in node.args:
                    visit(argument)
            found[node] = None

    for root in roots:
        visit(root)
    return list(found)
