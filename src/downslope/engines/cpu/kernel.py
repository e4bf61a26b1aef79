"""A program printed as one Numba source file: the whole step in one call a pass.

A kernel walks chunks of elements. For each it evaluates the rule's scalars in float64 (once a
tensor, or once for all tensors whose scalars are equal), then runs the elementwise part, which LLVM
vectorises. Its arguments:

    A      int64 [arrays, tensors]   addresses
    R      float64 [tensors, scalars + 1]   the host's scalars; last, the factor of the gradient
    C      int64 [chunks, 3]   tensor, first element, number of elements
    F      int64 [tensors + 1]   the first chunk of every tensor
    S      float64 [chunks, totals]   partial sums
    W      float64 [totals]   sums over all tensors of the step, where the formula asked for those
    U      float64 [chunks]   the factor of the gradients of the unit that the chunk lies in
    O      float64 [tensors, numbers]   new values of slots that are one number a tensor
    first, last   the range of chunks to do
"""

from __future__ import annotations

import platform
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import llvmlite
import numba
import numpy as np

from ..cache import load
from ..printing import Dialect, title
from ..trace import Pass, Program, Total
from . import library

__all__ = ["ELEMENTS", "Element", "Function", "compiled", "source"]


@dataclass(frozen=True)
class Element:
    """How one kind of number lies in memory and how a kernel opens and closes it."""

    view: str
    bytes: int
    math: str = "float32"
    open: str = "{}"
    close: str = "{}"


ELEMENTS = {
    "float32": Element("view_float32", 4),
    "float64": Element("view_float64", 8, math="float64"),
    "bfloat16": Element("view_uint16", 2, open="bfloat_to_float({})", close="float_to_bfloat({})"),
    "float16": Element("view_uint16", 2, open="half_to_float({})", close="float_to_half({})"),
}

Function = Callable[..., None]


_SCALARS, _ELEMENTS = Dialect("{}"), Dialect("T({})")


def source(program: Program, elements: tuple[str, ...]) -> str:
    """The module that runs a program over arrays of the given kinds (one name an array)."""
    kinds = dict(zip(program.arrays, (ELEMENTS[e] for e in elements), strict=True))
    wide = any(kind.math == "float64" for kind in kinds.values())
    lines = [
        title(program, elements),
        "import numpy as np",
        "from numba import njit",
        f"from {library.__name__} import *",
        "",
        f"T = np.float{64 if wide else 32}",
    ]
    for number in range(len(program.passes)):
        lines += ["", "", *_pass_lines(program, number, kinds)]
    return "\n".join(lines) + "\n"


def _pass_lines(program: Program, number: int, kinds: dict[str, Element]) -> list[str]:
    step = program.passes[number]
    known = [total for earlier in program.passes[:number] for total in earlier.totals]
    # Sums over a tensor are its own, so scalars that use them cannot be shared.
    own = any(total.call is None for total in known)
    rows = {name: program.arrays.index(name) for name in program.arrays}
    used = dict.fromkeys([*step.reads, *(name for name, _ in step.writes)])
    lines = [
        '@njit(nogil=True, cache=True, error_model="numpy")',
        f"def run{number}(A, R, C, F, S, W, U, O, first, last):",
        "    done = -1",
        *(f"    {name} = T(0)" for name, _ in step.hoisted),
        *(f"    new_{name} = np.float64(0)" for name, _ in step.numbers),
        "    factor = T(1)",
    ]
    if step.totals:
        lines += [f"    lanes = np.zeros(({len(step.totals)}, LANES), np.float64)"]
    lines += [
        "    for c in range(first, last):",
        "        i = C[c, 0]; start = C[c, 1]; n = C[c, 2]",
        "        if i != done:",
        f"            if {'True' if own else 'done < 0 or not same_row(R, i, done)'}:",
        *(f"                {line}" for line in _scalar_lines(program, step, known)),
        *(f"            O[i, {k}] = new_{name}" for k, (name, _) in enumerate(step.numbers)),
        "            done = i",
        *(["        unit = T(U[c])"] if any("unit" in made.args for made in step.body) else []),
    ]
    lines += [
        f"        {name} = {kinds[name].view}(A[{rows[name]}, i] + start * {kinds[name].bytes}, n)"
        for name in used
    ]
    if step.totals:
        # Blocks of a length known to the compiler: only those it vectorises.
        lines += ["        lanes[:] = 0", "        full = n // LANES * LANES"]
        lines += ["        for b in range(0, full, LANES):"]
        lines += [f"            {line}" for line in _element_lines(step, kinds, "LANES", "b + j")]
        lines += [f"        {line}" for line in _element_lines(step, kinds, "n - full", "full + j")]
        lines += [
            f"        S[c, {program.totals.index(total)}] = tree_sum(lanes[{k}], n)"
            for k, total in enumerate(step.totals)
        ]
    else:
        lines += [f"        {line}" for line in _element_lines(step, kinds, "n", "j")]
    return lines


def _scalar_lines(program: Program, step: Pass, known: list[Total]) -> list[str]:
    columns = {name: k for k, name in enumerate(program.scalars)}
    wanted = {a for s in step.scalars for a in s.args}
    wanted |= {a for _, a in (*step.hoisted, *step.numbers)}
    lines = [f"{name} = R[i, {k}]" for name, k in columns.items() if name in wanted]
    for total in known:
        column = program.totals.index(total)
        found = f"S[F[i]:F[i + 1], {column}].sum()" if total.call is None else f"W[{column}]"
        lines += [f"{total.name} = {found}"] * (total.name in wanted)
    lines += [_SCALARS.statement(s) for s in step.scalars]
    lines += [f"{name} = T({operand})" for name, operand in step.hoisted]
    lines += [f"new_{name} = {operand}" for name, operand in step.numbers]
    return [*lines, f"factor = T(R[i, {len(columns)}])"]


def _element_lines(step: Pass, kinds: dict[str, Element], count: str, at: str) -> list[str]:
    """The loop over elements: load, compute, store."""
    read = {n: kinds[n].open.format(f"{n}[{at}]") for n in step.reads}
    write = {n: f"{n}[{at}] = {kinds[n].close}" for n, _ in step.writes}
    body = _ELEMENTS.elements(step, read, write, "lanes[{}, j] += {}")
    return [f"for j in range({count}):", *(f"    {line}" for line in body)]


@cache
def compiled(program: Program, elements: tuple[str, ...]) -> tuple[Function, ...]:
    """The kernel's passes as callables; compiled on their first call, or loaded from disk."""
    stamp = "\n".join(
        [
            Path(library.__file__).read_text(encoding="utf-8"),
            f"numba {numba.__version__} llvmlite {llvmlite.__version__} numpy {np.__version__}",
            f"python {platform.python_version()}",
        ]
    )
    module: Any = load(source(program, elements), stamp)
    return tuple(getattr(module, f"run{k}") for k in range(len(program.passes)))
