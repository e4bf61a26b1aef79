"""A rule on symbols: the formula as documentation prints it, so it cannot disagree with the code.

The traced program is read instruction by instruction. A value that becomes a slot's new content is
written as that slot's letter at time t, and later values refer to it by that letter; so does a long
value that is used twice, by a letter that is free, and what the formula itself has a letter for.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import sympy as sp
from sympy.printing.pretty.pretty import PrettyPrinter
from sympy.printing.pretty.pretty_symbology import pretty_symbol, pretty_use_unicode
from sympy.printing.pretty.stringpict import prettyForm

from ..rules import MATRIX_SCALARS, Rule
from .notation import MATRIX_OPERATIONS
from .program import Operand, Program
from .trace import trace

__all__ = ["equations", "latex", "pretty"]

_TIME = sp.Symbol("t", integer=True, positive=True)

_OPERATIONS: dict[str, Callable[..., Any]] = {
    "add": lambda a, b: a + b,
    "sub": lambda a, b: a - b,
    "mul": lambda a, b: a * b,
    "div": lambda a, b: a / b,
    "pow": lambda a, b: a**b,
    "neg": lambda a: -a,
    "gt": sp.Gt,
    "lt": sp.Lt,
    "ge": sp.Ge,
    "le": sp.Le,
    "sqrt": sp.sqrt,
    "abs": sp.Abs,
    "sign": sp.sign,
    "exp": sp.exp,
    "log": sp.log,
    "atan2": sp.atan2,
    "maximum": sp.Max,
    "minimum": sp.Min,
    "where": lambda condition, a, b: sp.Piecewise((a, condition), (b, True)),
    "lerp": lambda a, b, weight: (1 - weight) * a + weight * b,
    "fma": lambda a, b, c: a * b + c,
    "f32": lambda a: a,
    "f64": lambda a: a,
    "sum": sp.Function("sum"),
    "total": sp.Function("total"),
    **MATRIX_OPERATIONS,
}


def _timed(name: str, time: str) -> sp.Symbol:
    """The letter of an array at a time; the tilde sorts it behind the hyperparameters' letters."""
    return sp.Symbol(f"~{name}@{time}", real=True)


def equations(rule: Rule, group: Mapping[str, Any], ndim: int = 2) -> list[sp.Eq]:
    """The update as equations: each slot's new content, then the parameter's.

    Args:
        rule: the rule.
        group: a parameter group's values, which decide the flags and the slots that exist.
        ndim: the parameter's number of dimensions, which decides that too.

    >>> from downslope.rules import SGD
    >>> group = dict(lr=0.1, momentum=0, dampening=0, weight_decay=0, nesterov=False)
    >>> print(pretty(equations(SGD, group)))
    θₜ = θₜ₋₁ - η⋅(gₜ + λ⋅θₜ₋₁)
    """
    program = trace(rule, rule.present(group, ndim), rule.flag_values(group), document=rule.matrix)
    letters = {"p": "theta", "g": "g", **{s.name: s.symbol for s in rule.slots}}
    env: dict[_Key, Any] = {h.name: sp.Symbol(h.symbol, real=True) for h in rule.hypers}
    env.update(step=_TIME, fresh=sp.Eq(_TIME, 1), numel=sp.Symbol("n", positive=True))
    env.update({name: sp.Symbol(name, positive=True) for name in MATRIX_SCALARS})
    for name in (*program.arrays, *rule.numbers(program.present)):
        env[name] = _timed(letters[name], "t" if name == "g" else "t-1")
    values, results = _values(program)
    taken = {*letters.values(), *(h.symbol for h in rule.hypers)}
    spare = iter([letter for letter in "uwxyz" if letter not in taken])
    uses = Counter(a for _, args, _ in values.values() for a in args)
    # The parameter comes last, unless a slot depends on what it becomes.
    last = {n for n, key in results.items() if key not in values or (n == "p" and not uses[key])}
    new: dict[_Key, list[str]] = {}
    for name, key in results.items():
        if name not in last:
            new.setdefault(key, []).append(letters[name])
    uses.update(results.values())
    found: list[sp.Eq] = []

    def value(key: _Key) -> Any:
        return sp.nsimplify(key) if isinstance(key, float) else env[key]

    def let(letter: str, result: Any) -> Any:
        found.append(sp.Eq(_timed(letter, "t"), result, evaluate=False))
        return _timed(letter, "t")

    for key, (op, args, of_elements) in values.items():
        if op.startswith("equate@"):
            _, letter, time, later = op.split("@")
            found.append(sp.Eq(_timed(letter, time), *map(value, args), evaluate=False))
            env[key] = _timed(letter, later)
            continue
        result = _OPERATIONS[op](*map(value, args))
        if key in new:
            for letter in new[key]:
                result = let(letter, result)
        elif uses[key] > 1 and of_elements and sp.count_ops(result) >= _LONG:
            letter = next(spare, "")
            result = let(letter, result) if letter else result
        env[key] = result
    for name in sorted(last, key=lambda name: (name == "p", name)):
        let(letters[name], value(results[name]))
    return found


#: A value is known by what computes it: the same in every pass of a program.
_Key = str | float | tuple[Any, ...]

#: A value that is used twice, and has so many operations, gets a letter of its own.
_LONG = 5


def _values(
    program: Program,
) -> tuple[dict[_Key, tuple[str, tuple[_Key, ...], bool]], dict[str, _Key]]:
    """A program as if it had one pass: its values, each once, and those that it leaves behind.

    Returns:
        the values in order, each as operation, arguments, and whether it depends on elements or on
        state; and the parameter's and the slots' new contents by name.
    """
    values: dict[_Key, tuple[str, tuple[_Key, ...], bool]] = {}
    totals: dict[Operand, _Key] = {}
    results: dict[str, _Key] = {}
    numbers = program.rule.numbers(program.present)
    for step in program.passes:
        env = dict(totals)

        def add(
            op: str, operands: Sequence[Operand], of_elements: bool, env: dict[Operand, _Key] = env
        ) -> _Key:
            args = tuple(env.get(operand, operand) for operand in operands)
            inner = of_elements or any(a in numbers or (a in values and values[a][2]) for a in args)
            values.setdefault((op, *args), (op, args, inner))
            return (op, *args)

        for instruction in step.scalars:
            env[instruction.name] = add(instruction.op, instruction.args, of_elements=False)
        env.update({name: env.get(operand, operand) for name, operand in step.hoisted})
        for instruction in step.body:
            env[instruction.name] = add(instruction.op, instruction.args, of_elements=True)
        for total in step.totals:
            over = "sum" if total.call is None else "total"  # of the tensor, of all tensors
            totals[total.name] = add(over, (total.operand,), of_elements=True)
        for name, operand in (*step.numbers, *step.writes):
            results[name] = env.get(operand, operand)
    return values, results


def latex(found: Sequence[sp.Eq]) -> str:
    r"""Equations as one LaTeX ``aligned`` block.

    >>> x, y = sp.symbols("x y")
    >>> print(latex([sp.Eq(x, y / 2)]))
    \begin{aligned}
    x &= \frac{y}{2}
    \end{aligned}
    """
    lines = [f"{_latex(e.lhs)} &= {_latex(_ordered(e.rhs))}" for e in found]
    return "\\begin{aligned}\n" + " \\\\\n".join(lines) + "\n\\end{aligned}"


def pretty(found: Sequence[sp.Eq]) -> str:
    """Equations as Unicode text for a terminal, one below the other."""
    printer = _Unicode({"order": "none", "use_unicode": True, "wrap_line": False})
    with_order = (sp.Eq(e.lhs, _ordered(e.rhs), evaluate=False) for e in found)
    before = pretty_use_unicode(True)  # else letters follow what stdout was when sympy was imported
    try:
        return "\n\n".join(printer.doprint(e) for e in with_order)
    finally:
        pretty_use_unicode(before)


def _latex(expression: sp.Expr) -> str:
    names = {}
    for symbol in expression.free_symbols:
        letter, at, time = symbol.name.partition("@")
        if at:
            names[symbol] = f"{sp.latex(sp.Symbol(letter[1:]))}_{{{time}}}"
    return str(sp.latex(expression, order="none", symbol_names=names))


class _Unicode(PrettyPrinter):  # type: ignore[misc]  # sympy ships no types
    def _print_Symbol(self, symbol: sp.Symbol) -> prettyForm:  # noqa: N802  # sympy dispatches on it
        letter, at, time = symbol.name.partition("@")
        if not at:
            return super()._print_Symbol(symbol)
        return prettyForm(pretty_symbol(letter[1:]) + time.translate(_SUBSCRIPTS))

    def _print_Max(self, maximum: sp.Max) -> prettyForm:  # noqa: N802  # as above
        return self._helper_print_function(maximum.func, maximum.args, func_name="max")

    def _print_Min(self, minimum: sp.Min) -> prettyForm:  # noqa: N802  # as above
        return self._helper_print_function(minimum.func, minimum.args, func_name="min")


_SUBSCRIPTS = str.maketrans("tk-+0123456789", "ₜₖ₋₊₀₁₂₃₄₅₆₇₈₉")


def _ordered(expression: sp.Expr) -> sp.Expr:
    """A sum with its positive terms first, as people write it: theta - eta * g."""
    if not isinstance(expression, sp.Add):
        return expression
    terms = sorted(expression.args, key=lambda a: bool(a.could_extract_minus_sign()))
    return sp.Add(*terms, evaluate=False)
