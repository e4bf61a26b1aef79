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
_DETECTORS = "downslope.doctor.detectors."
_CONSTANT = re.compile(r"^[A-Z][A-Z_]+$")


def table() -> str:
    """The rows of all detectors, in the order of causes."""
    rows = [_row(detector) for detector in DETECTORS]
    head = "| what it says | when | thresholds | source |\n|---|---|---|---|\n"
    return head + "".join(f"| {' | '.join(row)} |\n" for row in rows)


def _row(detector: Callable[..., Any]) -> tuple[str, ...]:
    module = inspect.getmodule(detector)
    assert module is not None
    used = list(_used(module, detector.__name__, set()))
    functions = [node for _, node in used]
    found = [f for node in functions for f in _findings(node)]
    causes = dict.fromkeys(c for f in found for c in _texts(_argument(f, 0, "cause", functions)))
    sources = dict.fromkeys(s for f in found for s in _texts(_argument(f, 7, "source", functions)))
    named = {
        n.id: getattr(where, n.id)
        for where, node in used
        for n in ast.walk(node)
        if isinstance(n, ast.Name) and _CONSTANT.match(n.id)
    }
    thresholds = [f"`{n}` = {v:g}" for n, v in named.items() if isinstance(v, (int, float))]
    when = (inspect.getdoc(detector) or "").split("\n\n")[0].replace("\n", " ")
    return ", ".join(causes), when, ", ".join(thresholds) or "exact", "; ".join(sources) or "exact"


def _used(
    module: ModuleType, name: str, seen: set[str]
) -> Iterator[tuple[ModuleType, ast.FunctionDef]]:
    """A detector's function and those that it calls, as they are written, and where."""
    found = getattr(module, name, None)
    where = inspect.getmodule(found) if inspect.isfunction(found) else None
    if where is None or name in seen or not where.__name__.startswith(_DETECTORS):
        return
    seen.add(name)
    node = ast.parse(inspect.getsource(found)).body[0]
    assert isinstance(node, ast.FunctionDef)
    yield where, node
    for inner in ast.walk(node):
        if isinstance(inner, ast.Name):
            yield from _used(where, inner.id, seen)


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
