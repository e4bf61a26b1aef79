"""How the arrays of a program lie in memory, and how a kernel reads and writes them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ..printing import ADDRESS, Element
from ..program import Program
from ..storage import CODECS, Plane, plane_rows

__all__ = ["ELEMENTS", "Array", "arrays_of"]


ELEMENTS = {
    "float32": Element("float32", 4),
    "float64": Element("float64", 8, math="float64"),
    "bfloat16": Element("bfloat16", 2, open="{}.to(tl.float32)", close="to_bfloat16({})"),
    "float16": Element("float16", 2, open="{}.to(tl.float32)", close="{}.to(tl.float16)"),
}


@dataclass(frozen=True)
class Array:
    """One array.

    Args:
        name: its name.
        kind: of number, or a codec of :mod:`..storage`.
        rows: of its planes in the table of addresses.
        random: its number among the arrays that round at random; -1: it does not.
    """

    name: str
    kind: str
    rows: tuple[int, ...]
    random: int = -1

    @property
    def compact(self) -> bool:
        """Whether it is kept by a codec."""
        return self.kind in CODECS

    @property
    def element(self) -> Element:
        """The kind of number that a kernel computes with."""
        return ELEMENTS["float32" if self.compact else self.kind]

    @property
    def addresses(self) -> list[str]:
        """The variables that hold where a chunk's part of every plane is."""
        first = ADDRESS.format(self.name)
        return [first, *(f"{first}{k}" for k in range(1, len(self.rows)))]

    @property
    def wide(self) -> list[str]:
        """Those whose elements are read and written in wide words, where they lie suitably."""
        planes = CODECS[self.kind].planes[1:] if self.compact else ()
        apart = (
            at for at, plane in zip(self.addresses[1:], planes, strict=True) if plane.block == 1
        )
        return [self.addresses[0], *apart]

    @property
    def places(self) -> list[str]:
        """The lines that set those."""
        planes = CODECS[self.kind].planes if self.compact else ()
        reach = [_bytes(p) for p in planes] or [f"start * {self.element.bytes}"]
        return [
            f"{at} = tl.load(A + {row} * tensors + i) + {far}"
            for at, row, far in zip(self.addresses, self.rows, reach, strict=True)
        ]

    @property
    def read(self) -> str:
        """A block's numbers, as an expression."""
        if self.compact:
            return f"open_{self.kind}({', '.join(self.addresses)}, {_WHICH})"
        return self.element.open.format(f"load({self._at}, mask, full)")

    @property
    def write(self) -> str:
        """The statement that stores a block's numbers, ``{}``."""
        if self.compact and self.random < 0:
            return f"close_{self.kind}({{}}, {', '.join(self.addresses)}, {_WHICH})"
        if self.compact:
            pair, half = divmod(self.random, 2)
            given = [*self.addresses, f"b, n, j, mask, noise{pair}, {half}, size, full"]
            return f"close_{self.kind}({{}}, {', '.join(given)})"
        return f"store({self._at}, {self.element.close}, mask, full)"

    @property
    def _at(self) -> str:
        return f"place({self.addresses[0]}, tl.{self.element.memory}, full) + j"


#: What tells a codec which elements.
_WHICH = "b, n, j, mask, size, full"


def _bytes(plane: Plane) -> str:
    return plane.bytes("start")


def arrays_of(program: Program, kinds: Sequence[str]) -> dict[str, Array]:
    """The arrays of a program, by name.

    Args:
        program: the program.
        kinds: the kind of number or codec of every array.
    """
    named = dict(zip(program.arrays, kinds, strict=True))
    rows = plane_rows(program, named)
    random = [n for n, k in named.items() if k in CODECS and CODECS[k].random]
    return {
        n: Array(n, k, rows[n], random.index(n) if n in random else -1) for n, k in named.items()
    }
