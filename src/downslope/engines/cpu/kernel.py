"""A program printed as one Numba source file: the whole step in one call a pass.

A kernel walks chunks of elements. For each it evaluates the rule's scalars in float64 (once a
tensor, or once for all tensors whose scalars are equal), then runs the elementwise part, which LLVM
vectorises. Its arguments:

    A      int64 [planes, tensors]   addresses of arrays; then other planes of compact ones
    R      float64 [tensors, columns]   the host's scalars; last, the factor of the gradient
    C      int64 [chunks, 4]   tensor, first element, number of elements; of these in vectors
    F      int64 [tensors + 1]   the first chunk of every tensor
    S      float64 [chunks, totals]   partial sums
    W      float64 [totals]   sums over all tensors of the step, where the formula asked for those
    U      float64 [chunks]   the factor of the gradients of the unit that the chunk lies in
    O      float64 [tensors, numbers]   new values of slots that are one number a tensor
    first, last   the range of chunks to do

A second function of every pass is for threads, see :mod:`.teams`.

A compact array (see ``engines/storage.py``) is opened and closed element by element. One with a
scale a block is closed in a second loop, when a tile's scales are known: until then its new numbers
are in an array of float32. So are those of others, where there are many.
"""

from __future__ import annotations

import platform
from collections.abc import Callable, Iterable
from dataclasses import replace
from functools import cache, cached_property
from pathlib import Path
from typing import Any

import llvmlite
import numba
import numpy as np
from numba import cfunc

from .. import storage
from ..cache import load
from ..printing import NEW, VALUE, Dialect, Element, row_names, title
from ..program import Pass, Program, Total
from ..storage import CODECS
from . import angle, codecs, intrinsics, library, sizes, vectors
from .elements import ELEMENTS, LANES, START, loop, views
from .streams import Stream
from .teams import TABLES, team_lines
from .tiles import Tiles

__all__ = ["ELEMENTS", "Kernel", "compiled", "source"]


Function = Callable[..., None]


_SCALARS = Dialect("{}")

#: Of a total: its partial sums of a few squares in float32.
_SHORT = "short{}"


def source(program: Program, elements: tuple[str, ...]) -> str:
    """The module that runs a program over arrays of the given kinds (one name an array)."""
    compact = {n: k for n, k in zip(program.arrays, elements, strict=True) if k in CODECS}
    # What is rounded to few bits needs no division to the last one.
    rounded = any(CODECS[kind].random for kind in compact.values())
    program = program.with_reciprocals if rounded else program
    # Between opening and closing, a compact array is one of float32.
    plain = ("float32" if kind in CODECS else kind for kind in elements)
    kinds = {n: ELEMENTS[k] for n, k in zip(program.arrays, plain, strict=True)}
    wide = any(kind.math == "float64" for kind in kinds.values())
    lines = [
        title(program, elements),
        "import numpy as np",
        "from numba import njit",
        f"from {library.__name__} import *",
        f"from {angle.__name__} import *",
        *([f"from {vectors.__name__} import *"] if library.JITTED else []),
        *([f"from {codecs.__name__} import *"] if compact else []),
        "",
        f"T = np.float{64 if wide else 32}",
    ]
    for number in range(len(program.passes)):
        lines += ["", "", *_pass_lines(program, number, kinds, compact)]
        lines += ["", "", *team_lines(f"team{number}", f"run{number}")]
    return "\n".join(lines) + "\n"


def _pass_lines(
    program: Program, number: int, kinds: dict[str, Element], compact: dict[str, str]
) -> list[str]:
    step = program.passes[number]
    known = [total for earlier in program.passes[:number] for total in earlier.totals]
    # Sums over a tensor are its own, so scalars that use them cannot be shared.
    own = any(total.call is None for total in known)
    rows = {name: program.arrays.index(name) for name in program.arrays}
    used = dict.fromkeys([*step.reads, *(name for name, _ in step.writes)])
    tiles = Tiles(program, step, compact)
    stream = None if tiles else Stream(step, number, kinds, used)
    lines = [
        *([*stream.function, "", ""] if stream else []),
        '@njit(nogil=True, cache=True, error_model="numpy")',
        f"def run{number}({', '.join(TABLES)}, first, last):",
        "    done = -1",
        *(f"    {name} = T(0)" for name, _ in step.hoisted),
        *(f"    {NEW.format(name)} = np.float64(0)" for name, _ in step.numbers),
        "    factor = T(1)",
        *(f"    {line}" for line in tiles.prologue),
    ]
    if step.totals:
        lines += [f"    {lanes} = view_lanes(new_lanes())" for lanes in _lanes(step)]
    roots = None if tiles else _roots(step, kinds)
    if roots:
        lines += [f"    {short} = view_lanes(new_short_lanes())" for short in _lanes(roots, _SHORT)]
    lines += [
        "    for c in range(first, last):",
        "        i = C[c, 0]; start = C[c, 1]; n = C[c, 2]",
        "        if i != done:",
        f"            if {'True' if own else 'done < 0 or not same_row(R, i, done)'}:",
        *(f"                {line}" for line in _scalar_lines(program, step, known, compact)),
        *(f"                {line}" for line in tiles.seeds),
        *(f"            O[i, {k}] = {NEW.format(n)}" for k, (n, _) in enumerate(step.numbers)),
        "            done = i",
        *(["        unit = T(U[c])"] if any("unit" in made.args for made in step.body) else []),
    ]
    places = {
        name: f"A[{rows[name]}, i] + start * {kinds[name].bytes}"
        for name in used
        if name not in compact
    }
    lines += [f"        {START.format(name)} = {place}" for name, place in places.items()]
    if tiles:
        lines += [f"        {line}" for line in tiles.places]
        lines += [f"        {line}" for line in _clear(step)]
        lines += [f"        {line}" for line in tiles.lines(kinds, places)]
    elif stream:
        lines += [f"        {line}" for line in stream.lines]
    else:
        lines += [f"        {line}" for line in _chunk(step, roots, kinds, places)]
    lines += [
        f"        S[c, {program.totals.index(total)}] = sum_lanes({lanes})"
        for lanes, total in zip(_lanes(step), step.totals, strict=True)
    ]
    return lines


def _scalar_lines(
    program: Program, step: Pass, known: list[Total], compact: dict[str, str]
) -> list[str]:
    columns = row_names(program, compact.values())
    names = {name: VALUE.format(name) for name in program.scalars}
    wanted = {a for s in step.scalars for a in s.args}
    wanted |= {a for _, a in (*step.hoisted, *step.numbers)}
    lines = [f"{v} = R[i, {columns.index(n)}]" for n, v in names.items() if n in wanted]
    for total in known:
        column = program.totals.index(total)
        found = f"S[F[i]:F[i + 1], {column}].sum()" if total.call is None else f"W[{column}]"
        lines += [f"{total.name} = {found}"] * (total.name in wanted)
    lines += [_SCALARS.statement(s, names) for s in step.scalars]
    lines += [f"{name} = T({_SCALARS.text(a, names)})" for name, a in step.hoisted]
    lines += [f"{NEW.format(name)} = {_SCALARS.text(a, names)}" for name, a in step.numbers]
    return [*lines, f"factor = T(R[i, {columns.index('factor')}])"]


def _lanes(step: Pass, name: str = LANES) -> list[str]:
    """The names of the partial sums of a pass."""
    return [name.format(k) for k in range(len(step.totals))]


def _clear(step: Pass, name: str = LANES) -> list[str]:
    return [f"clear_lanes({lanes})" for lanes in _lanes(step, name)]


def _chunk(
    step: Pass, roots: Pass | None, kinds: dict[str, Element], names: Iterable[str]
) -> list[str]:
    """The loops over a chunk's elements, where no array is compact.

    Args:
        step: the pass.
        roots: see :func:`_roots`.
        kinds: of all arrays.
        names: of those that it reads or writes.
    """
    if not step.totals:
        return [*views(kinds, names, "0", "n"), *loop(step, kinds, "n", "j")]
    # Blocks of a length known to the compiler: only those it vectorises.
    return [
        *_clear(step),
        *(_quick(roots, kinds, names) if roots else ["whole = 0"]),
        "full = n // LANES * LANES",
        "for b in range(whole, full, LANES):",
        *(f"    {line}" for line in views(kinds, names, "b", "LANES")),
        *(f"    {line}" for line in loop(step, kinds, "LANES", "j")),
        *views(kinds, names, "full", "n - full"),
        *loop(step, kinds, "n - full", "j"),
    ]


def _quick(roots: Pass, kinds: dict[str, Element], names: Iterable[str]) -> list[str]:
    """Sums of squares that are begun in float32, of which a register holds twice as many.

    ``whole`` is how many elements they are of: none if one was too large for that or all were too
    small, which the sums show.
    """
    lanes, shorts = _lanes(roots), _lanes(roots, _SHORT)
    add = "{0}[j] = fma({{1}}, {{1}}, {0}[j])".format(_SHORT.format("{0}"))
    carry = [
        line
        for total, short in zip(lanes, shorts, strict=True)
        for line in ("for j in range(LANES):", f"    {total}[j] += f64({short}[j])")
    ]
    soon = {n: f"{START.format(n)} + b * {kinds[n].bytes} + AHEAD" for n in names}
    lines = [
        f"prefetch_once({place} + {part})"
        for n, place in soon.items()
        for part in range(0, sizes.LANES * kinds[n].bytes, sizes.LINE)
    ]
    pages = [f"prefetch({place} + PAGE)" for place in soon.values()]
    return [
        "whole = n // RUN * RUN",
        *_clear(roots, _SHORT),
        "for b in range(0, whole, LANES):",
        "    if b % RUN == 0:",
        *(f"        {line}" for line in (*pages, *carry, *_clear(roots, _SHORT))),
        *(f"    {line}" for line in lines),
        *(f"    {line}" for line in views(kinds, names, "b", "LANES")),
        *(f"    {line}" for line in loop(roots, kinds, "LANES", "j", add)),
        *carry,
        f"if not ({' and '.join(f'LEAST < sum_lanes({total}) < np.inf' for total in lanes)}):",
        *(f"    {line}" for line in ("whole = 0", *_clear(roots))),
    ]


def _roots(step: Pass, kinds: dict[str, Element]) -> Pass | None:
    """A pass over float32 that sums squares in float64 only, as one that sums what is squared."""
    made = {instruction.name: instruction for instruction in step.body}
    totals = []
    for total in step.totals:
        square = made.pop(str(total.operand), None)
        if square is None or square.op != "mul" or square.args[0] != square.args[1]:
            return None
        root = made.pop(str(square.args[0]), None)
        if root is None or root.op != "f64":
            return None
        totals.append(total._replace(operand=root.args[0]))
    if not totals or any(kinds[n].math != "float32" for n in step.reads):
        return None
    return replace(step, body=tuple(made.values()), totals=tuple(totals))


class Kernel:
    """A pass, compiled on its first call or loaded from disk.

    Args:
        module: the generated module.
        number: of the pass.
    """

    def __init__(self, module: Any, number: int) -> None:
        #: Does a range of chunks.
        self.run: Function = getattr(module, f"run{number}")
        self._team = getattr(module, f"team{number}")

    @cached_property
    def team(self) -> Any:
        """Does ranges of chunks as one of several threads; its ``address`` is a C function's."""
        return cfunc("void(int64)", cache=True)(self._team)


@cache
def compiled(program: Program, elements: tuple[str, ...]) -> tuple[Kernel, ...]:
    """The passes of a program, each compiled on its first call, or loaded from disk."""
    stamp = "\n".join(
        [
            *(
                Path(str(m.__file__)).read_text(encoding="utf-8")
                for m in (sizes, intrinsics, library, angle, codecs, vectors, storage)
            ),
            f"numba {numba.__version__} llvmlite {llvmlite.__version__} numpy {np.__version__}",
            f"python {platform.python_version()}",
        ]
    )
    module: Any = load(source(program, elements), stamp)
    return tuple(Kernel(module, k) for k in range(len(program.passes)))
