"""``downslope explain``: an optimizer's formula, arguments, memory and sources, from its rule."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .app import Debug

if TYPE_CHECKING:
    from ..optim import Optimizer
    from ..rules import Choice, Hyper, Rule

__all__ = ["choices", "command", "defaults", "explanation", "formulas", "kept", "shown"]

WIDTH = 88
Group = Mapping[str, Any]


def command(
    name: Annotated[str, typer.Argument(help="optimizer, such as adamw", metavar="NAME")],
    latex: Annotated[
        bool, typer.Option("--latex", help="print the formula alone, as LaTeX")
    ] = False,
    debug: Debug = False,
) -> None:
    """Explain an optimizer: its formula, arguments, memory and sources."""
    from .. import optim

    optimizer = optim.get(name)
    if latex:
        from ..engines import symbolic

        for condition, formula in formulas(optimizer, symbolic.latex):
            typer.echo(f"% {condition}\n{formula}" if condition else formula)
    else:
        typer.echo(explanation(optimizer))


def explanation(optimizer: type[Optimizer]) -> str:
    """All that is known about an optimizer, as text for a terminal."""
    from ..engines import symbolic

    rule, group = optimizer.rule, defaults(optimizer)
    parts = [f"{optimizer.__name__}: {rule.summary}"]
    for condition, formula in formulas(optimizer, symbolic.pretty):
        parts.append(_titled(f"Formula, {condition}" if condition else "Formula", formula))
    rows = [
        (_place(h), _letter(h.symbol), shown(h.of(group)), h.meaning, h.range) for h in rule.hypers
    ]
    rows += [(f.group_key, "", shown(f.of(group)), f.meaning, f.range) for f in choices(rule)]
    parts.append(_titled("Hyperparameters (letter, default, meaning, range)", _columns(rows)))
    parts.append(_titled("Memory", _memory(rule, group)))
    sections = {"When to use it": rule.use, "Paper": rule.paper}
    parts += [_titled(title, _wrapped(text)) for title, text in sections.items() if text]
    lists = {"Which version this is": rule.notes, "Where a guide differs": rule.errata}
    for title, texts in lists.items():
        if texts:
            parts.append(_titled(title, "\n".join(_wrapped(t, bullet="- ") for t in texts)))
    return "\n\n".join(parts)


def formulas(optimizer: type[Optimizer], show: Callable[[Any], str]) -> Iterator[tuple[str, str]]:
    """The update with the default arguments, then with each argument that adds something to it.

    Args:
        optimizer: the class.
        show: prints equations.

    Yields:
        the condition (empty for the defaults) and the formula.
    """
    from ..engines import symbolic

    rule, group = optimizer.rule, defaults(optimizer)
    yield "", show(symbolic.equations(rule, group))
    for slot in rule.slots:
        if slot.dims[1] < 2:
            yield slot.condition, show(symbolic.equations(rule, group, ndim=1))
    for key in _switches(rule):
        if not group.get(key):
            changed = _switched_on(rule, group, key)
            added = [k for k in changed if changed[k] != group.get(k, False)]
            yield f"with {' and '.join(added)}", show(symbolic.equations(rule, changed))
    for choice in choices(rule):
        for value in () if isinstance(choice.allowed, range) else choice.allowed:
            other = show(symbolic.equations(rule, {**group, choice.group_key: value}))
            if other != show(symbolic.equations(rule, group)):
                yield f"with {choice.group_key}={value!r}", other


def defaults(optimizer: type[Optimizer]) -> dict[str, Any]:
    """The parameter group that the class makes without arguments."""
    import torch

    make: Any = optimizer  # each class has a constructor of its own, unlike their base
    return dict(make([torch.zeros(1, 1, requires_grad=True)]).defaults)


def choices(rule: Rule) -> list[Choice]:
    """The constants of the formula that are one of a few values."""
    from ..rules import Choice

    return [flag for flag in rule.flags if isinstance(flag, Choice)]


def kept(rule: Rule, group: Group) -> int:
    """Arrays of the parameter's own shape that a matrix keeps."""
    return sum(slot.per == "parameter" and slot.present(group) for slot in rule.slots)


def _switches(rule: Rule) -> list[str]:
    """The group keys that make a slot exist or the formula branch, each once."""
    keys = [slot.when for slot in rule.slots if slot.when]
    chosen = choices(rule)
    flags = [flag.group_key for flag in rule.flags if flag not in chosen]
    return list(dict.fromkeys([*keys, *flags]))


def _switched_on(rule: Rule, group: Group, key: str) -> Group:
    """The group with one more part of the formula, and with a slot that this part needs."""
    from ..engines.symbolic import equations

    for needed in ({}, *({slot.when: True} for slot in rule.slots if slot.when)):
        without = {**group, **needed}
        changed = {**without, key: True}
        if not rule.conflict(changed) and equations(rule, changed) != equations(rule, without):
            return changed
    return {**group, key: True}


def _memory(rule: Rule, group: Group) -> str:
    """Bytes a parameter, and the slots that take them."""
    import torch

    size = torch.float32.itemsize
    each = size * kept(rule, group)
    lines = [f"{each} bytes a parameter in float32, beside the weight and its gradient"]
    rows = [
        (
            slot.name,
            _letter(slot.symbol),
            "one number" if slot.scalar else f"{size} bytes a {slot.per}",
            slot.meaning + ("" if slot.present(group) else f" (only {slot.condition})"),
        )
        for slot in rule.slots
    ]
    return "\n".join([*lines, _columns(rows)] if rows else lines)


def shown(value: Any) -> str:
    """A default as a reader writes it.

    >>> shown(0.001), shown(None)
    ('0.001', 'None')
    """
    return f"{value:g}" if isinstance(value, (int, float)) else repr(value)


def _place(hyper: Hyper) -> str:
    """Where a call gives the hyperparameter: ``lr``, ``betas[0]``."""
    return hyper.group_key + ("" if hyper.index is None else f"[{hyper.index}]")


def _letter(symbol: str) -> str:
    """A letter as the formula shows it.

    >>> _letter("beta_1")
    'β₁'
    """
    import sympy

    return str(sympy.pretty(sympy.Symbol(symbol), use_unicode=True))


def _columns(rows: Sequence[tuple[str, ...]]) -> str:
    """Rows of text with the columns aligned.

    >>> print(_columns([("lr", "1"), ("momentum", "0")]))
    lr        1
    momentum  0
    """
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    )


def _titled(title: str, text: str) -> str:
    return f"{title}\n{textwrap.indent(text, '  ')}"


def _wrapped(text: str, bullet: str = "") -> str:
    return textwrap.fill(
        text, WIDTH - 2, initial_indent=bullet, subsequent_indent=" " * len(bullet)
    )
