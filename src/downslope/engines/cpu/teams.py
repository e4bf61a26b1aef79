"""A kernel as one of several threads runs it: one range of chunks after another, without Python.

It is a C function of one argument, the address of a :class:`Job`.
"""

from __future__ import annotations

from collections.abc import Sequence
from operator import is_
from typing import Any

import numpy as np
import numpy.typing as npt

from ...errors import EngineError

__all__ = ["TABLES", "Job", "team_lines"]

#: The arrays that a kernel is given: their kinds of number and dimensions.
TABLES = {
    "A": ("int64", 2), "R": ("float64", 2), "C": ("int64", 2), "F": ("int64", 1),
    "S": ("float64", 2), "W": ("float64", 1), "U": ("float64", 1), "O": ("float64", 2),
}  # fmt: skip
#: Where a job has the address of the ranges' ends, how many ranges there are, and the next one's
#: number; before these the address of every array and two lengths.
_ENDS, _COUNT, _NEXT = (3 * len(TABLES) + k for k in range(3))


class Job:
    """What the threads of one call of a kernel share.

    Args:
        tables: the arrays that the kernel is given.
        ends: of the ranges of chunks, each the beginning of the next; before them the first's.
    """

    def __init__(self, tables: Sequence[npt.NDArray[Any]], ends: Sequence[int]) -> None:
        for (name, (kind, dimensions)), table in zip(TABLES.items(), tables, strict=True):
            if not table.flags.c_contiguous or (table.dtype, table.ndim) != (
                np.dtype(kind),
                dimensions,
            ):
                raise EngineError(
                    f"table {name} of a kernel is not {kind} in {dimensions} dimensions"
                )
        self._tables, self._ends = tables, ends
        self._array = np.array(ends, np.int64)
        numbers = [n for t in tables for n in (t.ctypes.data, len(t), t.size // max(len(t), 1))]
        self._numbers = np.array([*numbers, self._array.ctypes.data, len(ends) - 1, 0], np.int64)
        self._address = int(self._numbers.ctypes.data)

    def fits(self, tables: Sequence[npt.NDArray[Any]], ends: Sequence[int]) -> bool:
        """Whether it is of these very objects."""
        return ends is self._ends and all(map(is_, tables, self._tables))

    def begin(self) -> int:
        """Its address, with all ranges still to be done."""
        self._numbers[_NEXT] = 0
        return self._address


def team_lines(name: str, kernel: str) -> list[str]:
    """The function that does ranges of a job.

    Args:
        name: what it is called.
        kernel: what does a range, given ``TABLES`` and its ends.
    """
    lines = [f"def {name}(job):", f"    J = view_int64(job, {_NEXT + 1})"]
    for k, (table, (kind, dimensions)) in enumerate(TABLES.items()):
        address, rows, columns = (f"J[{3 * k + n}]" for n in range(3))
        whole = f"    {table} = view_{kind}({address}, {rows} * {columns})"
        lines += [whole + (f".reshape(({rows}, {columns}))" if dimensions == 2 else "")]
    return [
        *lines,
        f"    ends = view_int64(J[{_ENDS}], J[{_COUNT}] + 1)",
        "    while True:",
        f"        k = take(job + {8 * _NEXT})",
        f"        if k >= J[{_COUNT}]:",
        "            break",
        f"        {kernel}({', '.join(TABLES)}, ends[k], ends[k + 1])",
    ]
