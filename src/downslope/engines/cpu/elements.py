"""How generated CPU kernels spell elements: kinds of number, arrays, formulas, partial sums."""

from __future__ import annotations

from collections.abc import Iterable

from ..printing import ADDRESS, Dialect, Element
from ..program import Pass

__all__ = ["ADD", "ELEMENTS", "FORMULA", "LANES", "START", "loop", "views"]

ELEMENTS = {
    "float32": Element("view_float32", 4),
    "float64": Element("view_float64", 8, math="float64"),
    "bfloat16": Element("view_uint16", 2, open="bfloat_to_float({})", close="float_to_bfloat({})"),
    "float16": Element("view_uint16", 2, open="half_to_float({})", close="float_to_half({})"),
}

#: What is computed of elements.
FORMULA = Dialect("T({})")

#: Of an array: where its chunk begins. As the names of ``printing.py``.
START = "{}_start"

#: Of a total: its partial sums in float64, and how an element is added to them.
LANES = "lanes{}"
ADD = f"{LANES}[j] += {{}}"


def views(kinds: dict[str, Element], names: Iterable[str], first: str, count: str) -> list[str]:
    """Arrays that begin at an element, so that no index needs to be checked for being negative."""
    return [
        f"{ADDRESS.format(n)} = "
        f"{kinds[n].memory}({START.format(n)} + {first} * {kinds[n].bytes}, {count})"
        for n in names
    ]


def loop(step: Pass, kinds: dict[str, Element], count: str, at: str, add: str = ADD) -> list[str]:
    """The loop over elements: load, compute, store."""
    read = {n: kinds[n].open.format(f"{ADDRESS.format(n)}[{at}]") for n in step.reads}
    write = {n: f"{ADDRESS.format(n)}[{at}] = {kinds[n].close}" for n, _ in step.writes}
    body = FORMULA.elements(step, read, write, add)
    return [f"for j in range({count}):", *(f"    {line}" for line in body)]
