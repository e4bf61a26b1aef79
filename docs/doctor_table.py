"""The table in doctor.md, read out of the detectors: what each sees, its thresholds, their sources.

``python docs/doctor_table.py`` writes it anew; a test compares the page with the code.
"""

from __future__ import annotations

import ast
import inspect
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

from downslope.doctor.diagnose import DETECTORS

__all__ = ["BEGIN", "END", "PAGE", "table"]

PAGE = Path(__file__).with_name("doctor.md")
BEGIN, END = "<!-- detectors -->\n", "<!-- end -->\n"
_CONSTANT = re.compile(r"^[A-Z][A-Z_]+$")


def table() -> str:
    """The rows of all detectors, in the order of causes."""
    rows = [_row(detector) for detector in DETECTORS]
    head = "| what it says | when | thresholds | source |\n|---|---|---|---|\n"
    return head + "".join(f"| {' | '.join(row)} |\n" for row in rows)


def _row(detector: Callable[..., Any]) -> tuple[str, ...]:
    module = inspect.getmodule(detector)
    assert module is not None
    functions = list(_used(module, detector.__name__, set()))
    found = [f for node in functions for f in _findings(node)]
    causes = dict.fromkeys(c for f in found for c in _texts(_argument(f, 0, "cause", functions)))
    sources = dict.fromkeys(s for f in found for s in _texts(_argument(f, 7, "source", functions)))
    names = dict.fromkeys(
        n.id
        for node in functions
        for n in ast.walk(node)
        if isinstance(n, ast.Name) and _CONSTANT.match(n.id)
    )
    values = ((n, getattr(module, n)) for n in names)
    thresholds = [f"`{n}` = {v:g}" for n, v in values if isinstance(v, (int, float))]
    when = (inspect.getdoc(detector) or "").split("\n\n")[0].replace("\n", " ")
    return ", ".join(causes), when, ", ".join(thresholds) or "exact", "; ".join(sources) or "exact"


def _used(module: ModuleType, name: str, seen: set[str]) -> Iterator[ast.FunctionDef]:
    """A function of a module and those of its own that it calls, as they are written."""
    for node in ast.parse(inspect.getsource(module)).body:
        if isinstance(node, ast.FunctionDef) and node.name == name and name not in seen:
            seen.add(name)
            yield node
            for inner in ast.walk(node):
                if isinstance(inner, ast.Name):
                    yield from _used(module, inner.id, seen)


def _findings(function: ast.FunctionDef) -> Iterator[ast.Call]:
    for node in ast.walk(function):
        if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "Finding":
            yield node


def _argument(
    call: ast.Call, place: int, name: str, functions: list[ast.FunctionDef]
) -> ast.AST | None:
    """An argument as it is written; of a local name what was given to it."""
    named = next((k.value for k in call.keywords if k.arg == name), None)
    value = named or (call.args[place] if place < len(call.args) else None)
    if isinstance(value, ast.Name):
        assigned = [n for f in functions for n in ast.walk(f) if isinstance(n, ast.Assign)]
        return next(
            (n.value for n in assigned if getattr(n.targets[0], "id", "") == value.id), None
        )
    return value


def _texts(node: ast.AST | None) -> list[str]:
    """The texts that an expression may be."""
    if isinstance(node, ast.IfExp):
        return _texts(node.body) + _texts(node.orelse)
    return [node.value] if isinstance(node, ast.Constant) else []


def main() -> None:
    """Write the table into the page."""
    text = PAGE.read_text(encoding="utf-8")
    before, rest = text.split(BEGIN)
    _, after = rest.split(END)
    PAGE.write_text(before + BEGIN + table() + END + after, encoding="utf-8")


if __name__ == "__main__":
    main()
