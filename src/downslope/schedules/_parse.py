"""A schedule from the expression that its ``repr`` prints; nothing in it is executed."""

from __future__ import annotations

import ast
import operator
from collections.abc import Callable
from typing import Any

from ..errors import InputError, InputTypeError, unknown
from . import _endless, _segments
from ._schedule import Schedule

__all__ = ["parse"]

#: What an expression may call: all but what takes a function.
_NAMES: dict[str, Callable[..., Schedule]] = {
    name: getattr(module, name)
    for module in (_segments, _endless)
    for name in module.__all__
    if name not in ("function", "multiplicative")
}
_OPERATORS: dict[type[ast.operator], Callable[[Any, Any], Any]] = {
    ast.RShift: operator.rshift,
    ast.Mult: operator.mul,
}
LONGEST = 10_000  # characters; what is nested more deeply than Python's parser goes is longer


def parse(text: str) -> Schedule:
    """The schedule that an expression describes, as a command line or a file has it.

    The expression is read, never executed: calls of this module's functions by name, numbers,
    words in quotes, lists, ``>>``, ``*`` and parentheses; anything else is an error.

    Args:
        text: such as ``"warmup(500) >> cosine(9_500, end=1e-6)"``.

    Raises:
        InputError: what is wrong, and what is allowed.

    >>> from downslope.schedules import parse
    >>> parse("1e-3 * (warmup(500) >> cosine(9_500))")
    (warmup(500) >> cosine(9500)) * 0.001
    """
    try:
        if len(text) > LONGEST:
            raise InputError(f"a schedule's expression has at most {LONGEST} characters")
        tree = ast.parse(text.strip(), mode="eval").body
        schedule = _value(tree, text.strip())
    except (SyntaxError, ValueError, OverflowError, RecursionError, MemoryError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(
            f"{_short(text)!r} is not a schedule: it cannot be read. Write calls joined by >>, "
            "such as warmup(500) >> cosine(9500, end=1e-6)"
        ) from None
    if not isinstance(schedule, Schedule):
        raise InputError(
            f"{_short(text)!r} is not a schedule. Write one such as warmup(500) >> cosine(9500)"
        )
    return schedule


def _value(node: ast.expr, text: str) -> Any:
    """What a node of the expression stands for."""
    match node:
        case ast.Constant(value=int() | float() | str() | None as value) if not isinstance(
            value, bool
        ):
            return value
        case ast.UnaryOp(op=ast.USub(), operand=ast.Constant(value=int() | float() as value)):
            return -value
        case ast.List() | ast.Tuple():
            return [_value(item, text) for item in node.elts]
        case ast.BinOp() if type(node.op) in _OPERATORS:
            left, right = _value(node.left, text), _value(node.right, text)
            scheduled = isinstance(left, Schedule) or isinstance(right, Schedule)
            numbers = isinstance(left, int | float) and isinstance(right, int | float)
            if scheduled or (numbers and isinstance(node.op, ast.Mult)):
                try:
                    return _OPERATORS[type(node.op)](left, right)
                except TypeError:
                    pass  # the error below says what may stand here
        case ast.Call(func=ast.Name(id=name)):
            return _called(name, node, text)
    raise InputError(
        f"{_short(ast.get_source_segment(text, node) or text)!r} cannot stand in a schedule's "
        f"expression. Allowed: >>, *, numbers, lists, and calls of {', '.join(sorted(_NAMES))}"
    )


def _called(name: str, node: ast.Call, text: str) -> Schedule:
    if name not in _NAMES:
        raise unknown("schedule", name, _NAMES)
    arguments = [_value(argument, text) for argument in node.args]
    if any(keyword.arg is None for keyword in node.keywords):
        raise InputError(f"{_short(ast.unparse(node))!r}: ** cannot stand in a schedule")
    named = {str(k.arg): _value(k.value, text) for k in node.keywords}
    try:
        return _NAMES[name](*arguments, **named)
    except InputTypeError:
        raise
    except TypeError as error:  # an argument that the function does not have
        raise InputError(f"{_short(ast.get_source_segment(text, node) or text)}: {error}") from None


def _short(text: str) -> str:
    return text if len(text) <= 80 else text[:77] + "..."
