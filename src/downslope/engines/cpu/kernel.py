"""A program printed as one Numba source file: the whole step in one call a pass.

A kernel walks chunks of elements. For each it evaluates the rule's scalars in float64 (once a
tensor, or once for all tensors whose scalars are equal), then runs the elementwise part, which LLVM
vectorises. Its arguments:

    A      int64 [planes, tensors]   addresses of arrays; then other planes of compact ones
    R      float64 [tensors, columns]   the host's scalars; last, the factor of the gradient
    C      int64 [chunks, 3]   tensor, first element, number of elements
    F      int64 [tensors + 1]   the first chunk of every tensor
    S      float64 [chunks, totals]   partial sums
    W      float64 [totals]   sums over all tensors of the step, where the formula asked for those
    U      float64 [chunks]   the factor of the gradients of the unit that the chunk lies in
    O      float64 [tensors, numbers]   new values of slots that are one number a tensor
    first, last   the range of chunks to do

A compact array (see ``engines/storage.py``) is opened and closed element by element. One with a
scale a block is closed in a second loop, when a tile's scales are known: until then its new numbers
are in an array of float32. So are those of others, where there are many.
"""

from __future__ import annotations

import platform
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import llvmlite
import numba
import numpy as np
import torch

from .. import storage
from ..cache import load
from ..printing import ADDRESS, NEW, VALUE, Dialect, Element, row_names, title
from ..storage import CODECS, plane_rows
from ..trace import Pass, Program, Total
from . import angle, codecs, library

__all__ = ["ELEMENTS", "Function", "compiled", "source"]


ELEMENTS = {
    "float32": Element("view_float32", 4),
    "float64": Element("view_float64", 8, math="float64"),
    "bfloat16": Element("view_uint16", 2, open="bfloat_to_float({})", close="float_to_bfloat({})"),
    "float16": Element("view_uint16", 2, open="half_to_float({})", close="float_to_half({})"),
}

Function = Callable[..., None]


_SCALARS, _ELEMENTS = Dialect("{}"), Dialect("T({})")

#: Of an array: where its chunk begins, where a tile of its new numbers is. As the names of
#: ``printing.py``.
_START, _TILE = "{}_start", "{}_tile"

#: So many compact arrays are closed in the loop that computes them. With more, so few of its turns
#: fit into what a processor looks ahead that it waits for roots and divisions.
_AT_ONCE = 3

#: Views of planes, by their dtype.
_VIEWS = {
    torch.int8: "view_int8",
    torch.uint8: "view_uint8",
    torch.int16: "view_int16",
    torch.bfloat16: "view_uint16",
    torch.float16: "view_uint16",
}

#: Of a total: its partial sums in float64, and those of a few squares in float32.
_LANES, _SHORT = "lanes{}", "short{}"
_ADD = f"{_LANES}[j] += {{}}"


def source(program: Program, elements: tuple[str, ...]) -> str:
    """The module that runs a program over arrays of the given kinds (one name an array)."""
    compact = {n: k for n, k in zip(program.arrays, elements, strict=True) if k in CODECS}
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
        *([f"from {codecs.__name__} import *"] if compact else []),
        "",
        f"T = np.float{64 if wide else 32}",
    ]
    for number in range(len(program.passes)):
        lines += ["", "", *_pass_lines(program, number, kinds, compact)]
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
    tiles = _Tiles(program, step, compact)
    lines = [
        '@njit(nogil=True, cache=True, error_model="numpy")',
        f"def run{number}(A, R, C, F, S, W, U, O, first, last):",
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
    lines += [f"        {_START.format(name)} = {place}" for name, place in places.items()]
    if tiles:
        lines += [f"        {line}" for line in tiles.places]
        lines += [f"        {line}" for line in _clear(step)]
        lines += [f"        {line}" for line in tiles.lines(kinds, places)]
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


def _lanes(step: Pass, name: str = _LANES) -> list[str]:
    """The names of the partial sums of a pass."""
    return [name.format(k) for k in range(len(step.totals))]


def _clear(step: Pass, name: str = _LANES) -> list[str]:
    return [f"clear_lanes({lanes})" for lanes in _lanes(step, name)]


def _views(kinds: dict[str, Element], names: Iterable[str], first: str, count: str) -> list[str]:
    """Arrays that begin at an element, so that no index needs to be checked for being negative."""
    return [
        f"{ADDRESS.format(n)} = "
        f"{kinds[n].memory}({_START.format(n)} + {first} * {kinds[n].bytes}, {count})"
        for n in names
    ]


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
        return [*_views(kinds, names, "0", "n"), *_element_lines(step, kinds, "n", "j")]
    # Blocks of a length known to the compiler: only those it vectorises.
    return [
        *_clear(step),
        *(_quick(roots, kinds, names) if roots else ["whole = 0"]),
        "full = n // LANES * LANES",
        "for b in range(whole, full, LANES):",
        *(f"    {line}" for line in _views(kinds, names, "b", "LANES")),
        *(f"    {line}" for line in _element_lines(step, kinds, "LANES", "j")),
        *_views(kinds, names, "full", "n - full"),
        *_element_lines(step, kinds, "n - full", "j"),
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
    ahead = [f"prefetch({_START.format(n)} + b * {kinds[n].bytes} + AHEAD)" for n in names]
    return [
        "whole = n // RUN * RUN",
        *_clear(roots, _SHORT),
        "for b in range(0, whole, LANES):",
        "    if b % RUN == 0:",
        *(f"        {line}" for line in (*ahead, *carry, *_clear(roots, _SHORT))),
        *(f"    {line}" for line in _views(kinds, names, "b", "LANES")),
        *(f"    {line}" for line in _element_lines(roots, kinds, "LANES", "j", add)),
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


def _element_lines(
    step: Pass, kinds: dict[str, Element], count: str, at: str, add: str = _ADD
) -> list[str]:
    """The loop over elements: load, compute, store."""
    read = {n: kinds[n].open.format(f"{ADDRESS.format(n)}[{at}]") for n in step.reads}
    write = {n: f"{ADDRESS.format(n)}[{at}] = {kinds[n].close}" for n, _ in step.writes}
    body = _ELEMENTS.elements(step, read, write, add)
    return [f"for j in range({count}):", *(f"    {line}" for line in body)]


class _Tiles:
    """The lines of one pass that open and close its compact arrays; false if it has none."""

    def __init__(self, program: Program, step: Pass, compact: dict[str, str]) -> None:
        self._step = step
        self._written = [n for n, _ in step.writes if n in compact]
        self._opened = [n for n in step.reads if n in compact]
        names = dict.fromkeys([*self._opened, *self._written])
        self._codecs = {n: (compact[n], CODECS[compact[n]]) for n in names}
        self._scaled = [n for n, (_, c) in self._codecs.items() if c.planes[-1].block > 1]
        #: Those that are closed in a loop of their own.
        many = len(self._written) > _AT_ONCE
        self._later = [n for n in self._written if many or len(self._codecs[n][1].planes) > 1]
        self._rows = plane_rows(program, compact)
        random = [n for n in program.arrays if n in compact and CODECS[compact[n]].random]
        #: The pair of each array that rounds at random, and which half of that it is.
        self._random = {n: divmod(k, 2) for k, n in enumerate(random) if n in self._written}
        self._pairs = sorted({pair for pair, _ in self._random.values()})
        self._step_column = row_names(program, compact.values()).index("step") if random else 0

    def __bool__(self) -> bool:
        return bool(self._codecs)

    @property
    def prologue(self) -> list[str]:
        """Once a call: arrays of a tile."""
        return [
            *(f"{_TILE.format(n)} = tile()" for n in self._later),
            *(f"seed{pair} = np.uint32(0)" for pair in self._pairs),
        ]

    @property
    def seeds(self) -> list[str]:
        """Once a tensor: where its random bits start."""
        column = self._step_column
        return [f"seed{pair} = seed_of(R[i, {column}], {pair})" for pair in self._pairs]

    @property
    def places(self) -> list[str]:
        """Once a chunk: the addresses of its part of every plane."""
        return [
            f"{n}_{k} = A[{row}, i] + {plane.bytes('start')}"
            for n, (_, codec) in self._codecs.items()
            for k, (row, plane) in enumerate(zip(self._rows[n], codec.planes, strict=True))
        ]

    def lines(self, kinds: dict[str, Element], others: Collection[str]) -> list[str]:
        """A chunk, tile by tile: blocks are opened and computed, then closed.

        Args:
            kinds: of all arrays.
            others: those that are not compact.
        """
        lines = ["for b in range(0, n, TILE):"]
        # As many elements as there are lanes, where there are sums; no such pass writes.
        block = "LANES" if self._step.totals else "BLOCK"
        # A length known to the compiler where it can be: only such loops are vectorised.
        for head, reach, size in (
            ("if n - b >= TILE:", "TILE", block),
            ("else:", "n - b", "size"),
        ):
            lines.append(f"    {head}")
            fetches = self._fetches(kinds, others, block) if size == block else []
            loops = [self._opening(kinds, others, size)]
            if self._later:  # which else would read no memory
                loops.append(self._closing(size, fetches))
            else:
                loops[0][:0] = fetches
            for loop in loops:
                lines.append(f"        for a in range(0, {reach}, {block}):")
                lines += [f"            size = min({block}, n - b - a)"] * (size == "size")
                lines += [f"            {line}" for line in loop]
        return lines

    def _opening(self, kinds: dict[str, Element], others: Collection[str], size: str) -> list[str]:
        """Once a block: the loop over elements that computes."""
        lines = _views(kinds, others, "(b + a)", size)
        for n in self._codecs:
            lines += self._views(n, size)
        lines += [f"{n}_scale = {n}_scales[0]" for n in self._opened if n in self._scaled]
        scaled = [n for n in self._later if n in self._scaled]
        lines += [f"{n}_top = np.uint32(0)" for n in scaled]
        lines += [self._first_random(n) for n in self._random if n not in self._later]
        read = {n: kinds[n].open.format(f"{ADDRESS.format(n)}[j]") for n in others}
        read |= {n: self._open(n) for n in self._opened}
        write = {n: f"{ADDRESS.format(n)}[j] = {kinds[n].close}" for n in others}
        write |= {n: self._close(n, "{}") for n in self._written}
        for n in self._later:
            top = f"; {n}_top = larger({n}_top, {{0}})" if n in self._scaled else ""
            write[n] = f"{ADDRESS.format(n)}[j] = {{0}}{top}"
        body = _ELEMENTS.elements(self._step, read, write, _ADD)
        lines += [f"for j in range({size}):", *(f"    {line}" for line in body)]
        lines += [f"{n}_scales[0] = scale_{self._codecs[n][0]}({n}_top)" for n in scaled]
        return lines

    def _closing(self, size: str, fetches: Sequence[str]) -> list[str]:
        """Once a block: the loops that close what was computed, and ask for memory in between."""
        lines = []
        for n in self._later:
            lines += self._views(n, size)
            if n in self._scaled:
                lines += [f"{n}_by = reciprocal_{self._codecs[n][0]}({n}_scales[0])"]
            lines += [self._first_random(n)] if n in self._random else []
        # Two in a loop fill the time that each waits; for more there are too few registers.
        split = [n for n in self._later if n not in self._random]
        loops = [*([n] for n in split), *_by_twos([n for n in self._later if n in self._random])]
        for k, names in enumerate(loops):
            lines += [*fetches[k :: len(loops)], f"for j in range({size}):"]
            lines += [f"    {self._close(n, ADDRESS.format(n) + '[j]')}" for n in names]
        return lines

    def _fetches(self, kinds: dict[str, Element], others: Collection[str], block: str) -> list[str]:
        """Once a block: ask for the memory of one to come."""
        ahead = "(b + a + REACH)"
        lines = [
            f"fetch({_START.format(n)} + {ahead} * {kinds[n].bytes}, {block} * {kinds[n].bytes})"
            for n in others
        ]
        return lines + [
            f"fetch({n}_{k} + {plane.bytes(ahead)}, {plane.bytes(block)})"
            for n, (_, codec) in self._codecs.items()
            for k, plane in enumerate(codec.planes)
            if plane.block == 1
        ]

    def _views(self, n: str, size: str) -> list[str]:
        """Of a block of an array: its part of every plane, and of what is closed later."""
        lines = [
            f"{n}_at{k} = {_VIEWS[plane.dtype]}({n}_{k} + {plane.bytes('(b + a)')}, {size})"
            for k, plane in enumerate(self._codecs[n][1].planes)
            if plane.block == 1
        ]
        if n in self._scaled:
            scales = self._codecs[n][1].planes[-1].bytes("(b + a)")
            lines += [f"{n}_scales = view_float32({n}_1 + {scales}, 1)"]
        if n in self._later:
            at = f"{_TILE.format(n)} + a * 4"
            lines += [f"{ADDRESS.format(n)} = view_float32({at}, {size})"]
        return lines

    def _first_random(self, n: str) -> str:
        pair, half = self._random[n]
        return f"{n}_random = random_of((start + b + a) // BLOCK, seed{pair}, {half})"

    def _elements(self, n: str) -> list[str]:
        """An element's part of every plane."""
        planes = self._codecs[n][1].planes
        return [f"{n}_at{k}[j]" for k, plane in enumerate(planes) if plane.block == 1]

    def _open(self, n: str) -> str:
        given = [*self._elements(n), *([f"{n}_scale"] if n in self._scaled else [])]
        return f"open_{self._codecs[n][0]}({', '.join(given)})"

    def _close(self, n: str, value: str) -> str:
        """The statements that close an element."""
        given = [value, *([f"{n}_by"] if n in self._scaled else [])]
        given += [f"{n}_random"] if n in self._random else []
        line = f"{', '.join(self._elements(n))} = close_{self._codecs[n][0]}({', '.join(given)})"
        if n in self._random:
            line += f"; {n}_random = next_random({n}_random, {self._random[n][1]})"
        return line


def _by_twos(names: Sequence[str]) -> list[Sequence[str]]:
    return [names[k : k + 2] for k in range(0, len(names), 2)]


@cache
def compiled(program: Program, elements: tuple[str, ...]) -> tuple[Function, ...]:
    """The kernel's passes as callables; compiled on their first call, or loaded from disk."""
    stamp = "\n".join(
        [
            *(
                Path(str(m.__file__)).read_text(encoding="utf-8")
                for m in (library, angle, codecs, storage)
            ),
            f"numba {numba.__version__} llvmlite {llvmlite.__version__} numpy {np.__version__}",
            f"python {platform.python_version()}",
        ]
    )
    module: Any = load(source(program, elements), stamp)
    return tuple(getattr(module, f"run{k}") for k in range(len(program.passes)))
