"""From a formula to a program: the rule is called on :class:`Node` values and leaves its trace.

A :class:`Program` is what every compiled engine prints its kernel from. What depends on scalars
only is kept apart, to be evaluated once a tensor in float64; what depends on arrays is a list of
elementwise instructions. ``xp.sum`` (over the tensor) and ``xp.total`` (over all tensors of the
step) end a pass over memory: later instructions wait for the number. Only the last pass writes.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable
from functools import cache
from typing import Any

from ..rules import Rule
from .program import Instruction, Operand, Pass, Program, Total
from .tracer import FUNCTIONS, LOADED, MATRIX_FUNCTIONS, REDUCTIONS, Document, Node, Tracer

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
    return tuple(f for f in FUNCTIONS if f not in REDUCTIONS) + MATRIX_FUNCTIONS


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
    reductions = [n for n in _ordered(outputs.values(), lambda n: True) if n.op in REDUCTIONS]
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
    inner = [n for n in needed if n.elementwise and n.op not in LOADED]
    roots = [n for n in [*due, *writes.values()] if isinstance(n, Node)]
    hoist = dict.fromkeys(
        a
        for n in [*inner, *roots]
        for a in (n.args if n.elementwise else (n,))
        if isinstance(a, Node) and not a.elementwise
    )
    wanted = _ordered([*hoist, *numbers.values()], lambda n: n.op not in REDUCTIONS)
    host = [n for n in wanted if n.op not in ("scalar", *REDUCTIONS)]
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
        if value.op in LOADED:
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
