"""How generated CPU kernels open and close compact arrays (see ``engines/storage.py``).

A chunk is walked in tiles, a tile in blocks. One loop opens a block, computes it, and closes what
needs no scale; when a tile's scales are known, others close the rest.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

import torch

from ..printing import ADDRESS, Element, row_names
from ..program import Pass, Program
from ..storage import CODECS, plane_rows
from .elements import ADD, FORMULA, START, views

__all__ = ["Tiles"]

#: Where a tile of an array's new numbers is.
_TILE = "{}_tile"

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


class Tiles:
    """The lines of one pass that open and close its compact arrays; false if it has none."""

    def __init__(self, program: Program, step: Pass, compact: dict[str, str]) -> None:
        self._step = step
        self._written = [n for n, _ in step.writes if n in compact]
        self._opened = [n for n in step.reads if n in compact]
        names = dict.fromkeys([*self._opened, *self._written])
        self._codecs = {n: (compact[n], CODECS[compact[n]]) for n in names}
        self._scaled = [n for n, (_, c) in self._codecs.items() if c.planes[-1].block > 1]
        many = len(self._written) > _AT_ONCE
        #: Those that are closed in a loop of their own.
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
            *(f"{_TILE.format(n)} = new_tile()" for n in self._later),
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
            # Asked for by closing loops too, which else would leave memory idle.
            turns = 2 if self._later else 1
            loops = [[*fetches[::turns], *self._opening(kinds, others, size)]]
            if self._later:
                loops.append(self._closing(size, fetches[1::turns]))
            for loop in loops:
                lines.append(f"        for a in range(0, {reach}, {block}):")
                lines += [f"            size = min({block}, n - b - a)"] * (size == "size")
                lines += [f"            {line}" for line in loop]
        return lines

    def _opening(self, kinds: dict[str, Element], others: Collection[str], size: str) -> list[str]:
        """Once a block: the loop over elements that computes."""
        lines = views(kinds, others, "(b + a)", size)
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
        body = FORMULA.elements(self._step, read, write, ADD)
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
            f"fetch({START.format(n)} + {ahead} * {kinds[n].bytes}, {block} * {kinds[n].bytes})"
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
            lines += [f"{ADDRESS.format(n)} = view_tile({_TILE.format(n)}, a, {size})"]
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
