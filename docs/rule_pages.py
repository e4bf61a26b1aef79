"""One page an optimizer, written from its rule, so that a page cannot disagree with the code.

``conf.py`` calls :func:`write` before every build; the pages are not kept in the repository.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

import sympy
import torch
from rule_pictures import pictured

from downslope import optim
from downslope.cli.explain import choices, defaults, formulas, kept, shown
from downslope.engines import symbolic

__all__ = ["write"]


def write(folder: Path) -> None:
    """Write a page for every optimizer, and an index of them.

    Args:
        folder: where; made if it is missing. Pages that say the same already are left alone, so
            that Sphinx does not build them again.
    """
    folder.mkdir(exist_ok=True)
    classes = [optim.get(name) for name in optim.names()]
    pages = {f"{cls.__name__.lower()}.md": _page(cls) for cls in classes}
    pages["index.md"] = _index(classes)
    for name, text in pages.items():
        path = folder / name
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            path.write_text(text, encoding="utf-8")


def _index(classes: Sequence[type[optim.Optimizer]]) -> str:
    rows = [
        (f"[{cls.__name__}]({cls.__name__.lower()}.md)", cls.rule.summary, cls.rule.use)
        for cls in classes
    ]
    names = "\n".join(cls.__name__.lower() for cls in classes)
    return _joined(
        "# Optimizers",
        "Each page is printed from the rule that runs, formula included, so it cannot disagree "
        "with the code. `downslope explain NAME` prints the same on a terminal.",
        _table(("optimizer", "what it does", "when to use it"), rows),
        f"```{{toctree}}\n:hidden:\n\n{names}\n```",
    )


def _page(cls: type[optim.Optimizer]) -> str:
    rule = cls.rule
    parts = [
        f"# {cls.__name__}",
        rule.summary,
        "## Formula",
    ]
    for condition, formula in formulas(cls, symbolic.latex):
        parts += [f"{condition.capitalize()}:"] if condition else []
        parts.append(f"$$\n{formula}\n$$")
    if pictured(cls):
        words = (
            f"{cls.__name__} on a ravine and on Beale's function, each at the rate that suits it"
        )
        parts += [f"![{words}]({cls.__name__.lower()}.png)"]
    parts += ["## Hyperparameters", _hyperparameters(cls), "## State", _state(cls)]
    parts += ["## When to use it", rule.use, "## Paper", rule.paper]
    if rule.notes:
        parts += ["## Which version this is", "\n".join(f"- {_plain(n)}" for n in rule.notes)]
    if rule.errata:
        parts += ["## Where a guide differs", "\n".join(f"- {_plain(e)}" for e in rule.errata)]
        parts.append("All of them, each with a test: [](../guides-errata.md).")
    directive = f".. autoclass:: downslope.optim.{cls.__name__}"
    parts += ["## Class", f"```{{eval-rst}}\n{directive}\n```"]
    return _joined(*parts)


def _hyperparameters(cls: type[optim.Optimizer]) -> str:
    group = defaults(cls)
    rows = []
    for hyper in cls.rule.hypers:
        place = hyper.group_key + ("" if hyper.index is None else f"[{hyper.index}]")
        letter, default = _letter(hyper.symbol), shown(hyper.of(group))
        rows.append((f"`{place}`", letter, default, hyper.meaning, hyper.range))
    for choice in choices(cls.rule):
        default = shown(choice.of(group))
        rows.append((f"`{choice.group_key}`", "", default, choice.meaning, choice.range))
    return _table(("argument", "letter", "default", "meaning", "range"), rows)


def _state(cls: type[optim.Optimizer]) -> str:
    rule, size = cls.rule, torch.float32.itemsize
    each = size * kept(rule, defaults(cls))
    total = f"{each} bytes a parameter in float32, beside the weight and its gradient."
    if not rule.slots:
        return total
    rows = [
        (
            f"`{s.name}`",
            _letter(s.symbol),
            s.meaning,
            "one number a tensor" if s.scalar else f"{size} bytes a {s.per}",
            s.condition or "always",
        )
        for s in rule.slots
    ]
    head = ("slot", "letter", "what it holds", "size", "kept")
    return _joined(total, _table(head, rows)).rstrip()


def _letter(symbol: str) -> str:
    return f"${sympy.latex(sympy.Symbol(symbol))}$"


def _plain(text: str) -> str:
    """Text as it is: a formula's stars and underscores are no Markdown."""
    return text.replace("*", r"\*").replace("_", r"\_")


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = (head, ["---"] * len(head), *rows)
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _joined(*parts: str) -> str:
    return "\n\n".join(parts) + "\n"
