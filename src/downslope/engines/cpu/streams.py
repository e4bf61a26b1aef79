"""How generated CPU kernels walk arrays that come from memory: in vectors, asking for memory ahead.

A processor fetches ahead by itself along few arrays; with more it waits for memory much of the
time. Where some of it may still be in caches, asking costs more than it saves.
"""

from __future__ import annotations

from collections.abc import Iterable

from ..printing import Element
from ..program import Pass
from . import vectors
from .elements import ELEMENTS, FORMULA, START, loop, views
from .library import JITTED
from .sizes import LINE

__all__ = ["FAR", "SPAN", "Stream"]

#: Bytes of all arrays of a step from which on its chunks are walked so.
FAR = 1 << 28
#: Of fewer arrays a processor fetches as much by itself.
_FEWEST = 4
#: How many lines of an array are asked for at once, which is also how many vectors a turn computes,
#: and how many lines of all arrays are on their way (measured: dev/LOG.md).
_AT_ONCE, _IN_FLIGHT = 4, 80

#: Elements a turn.
SPAN = _AT_ONCE * vectors.WIDTH


class Stream:
    """The lines of one pass that is computed in vectors; false if it cannot be or gains nothing.

    Args:
        step: the pass.
        number: of the pass.
        kinds: of all arrays.
        names: of those that it reads or writes.
    """

    def __init__(
        self, step: Pass, number: int, kinds: dict[str, Element], names: Iterable[str]
    ) -> None:
        self._step, self._kinds, self._name = step, kinds, f"vector{number}"
        self._names = list(names)
        unit = ["unit"] if any("unit" in made.args for made in step.body) else []
        self._values = [*(name for name, _ in step.hoisted), "factor", *unit]

    def __bool__(self) -> bool:
        step = self._step
        return (
            JITTED
            and bool(step.writes)
            and not step.totals
            and len(self._names) >= _FEWEST
            and all(self._kinds[name] is ELEMENTS["float32"] for name in self._names)
            and vectors.OPERATIONS.issuperset(made.op for made in step.body)
        )

    @property
    def function(self) -> list[str]:
        """The function of one vector of every array."""
        read = {n: f"load_vector({START.format(n)})" for n in self._step.reads}
        write = {n: f"store_vector({START.format(n)}, {{}})" for n, _ in self._step.writes}
        return [
            '@njit(nogil=True, error_model="numpy", forceinline=True)',
            f"def {self._name}({', '.join([*map(START.format, self._names), *self._values])}):",
            *(f"    {line}" for line in FORMULA.elements(self._step, read, write, "")),
        ]

    @property
    def lines(self) -> list[str]:
        """The loops over a chunk's elements.

        Before each vector, memory of one array is asked for: lines of one page that are asked for
        together come soonest, and many at once would stand in each other's way.
        """
        ahead = _IN_FLIGHT // len(self._names)
        lines = ["full = C[c, 3]", f"for b in range(0, full, {SPAN}):"]
        for k in range(_AT_ONCE):
            for name in self._names[k::_AT_ONCE]:
                lines += [f"    prefetch({self._at(name, ahead + at)})" for at in range(_AT_ONCE)]
            places = [self._at(name, k) for name in self._names]
            lines += [f"    {self._name}({', '.join([*places, *self._values])})"]
        return [
            *lines,
            *views(self._kinds, self._names, "full", "n - full"),
            *loop(self._step, self._kinds, "n - full", "j"),
        ]

    def _at(self, name: str, line: int) -> str:
        return f"{START.format(name)} + b * {self._kinds[name].bytes} + {line * LINE}"
