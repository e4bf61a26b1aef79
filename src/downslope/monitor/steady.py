"""Looks that are like the one before: compiled calls write their numbers into one table."""

from __future__ import annotations

from collections.abc import Sequence
from struct import Struct

import numpy as np
import numpy.typing as npt
from torch import Tensor

from ..engines.layout import PLAIN
from . import compiled_pass as compiled
from .activations import LEAST_ROWS, RANGES
from .forms import Form
from .memory import ELEMENTS, FUNCTIONS, Table

__all__ = ["Steady"]

Float64 = npt.NDArray[np.float64]

ROWS = 64  # of a table


class Steady:
    """A table of looks of one form, each at one pass and one step.

    Args:
        form: the step, numbers of the pass, how long it was waited for as a share of the step and
            in seconds, numbers of the parameters.
        kinds: of the activation functions that are called, in this order.
        are_outputs: of each whether its result is the model's.
        parameters: how many numbers they have.
    """

    def __init__(
        self, form: Form, kinds: Sequence[str], are_outputs: Sequence[bool], parameters: int
    ) -> None:
        self.form = form
        self._table = np.zeros((ROWS, len(form.paths)))
        self._rows = list(self._table)
        self._waited = len(form.paths) - parameters - 2  # where it stands
        self._passes = [row[1:].ctypes.data for row in self._rows]
        self._parameters = [(view := row[-parameters:], view.ctypes.data) for row in self._rows]
        self._count = 0
        #: Where the numbers of the parameters belong, and the address of that.
        self.place = self._parameters[0]
        ids = np.zeros(len(kinds) + 2, np.int64)
        self._ids, self._pack = ids.data, Struct(f"{len(ids)}q").pack_into
        relu, saturated = compiled.RELU, compiled.SATURATED
        codes = [
            (relu if kind == "relu" else saturated, is_output)
            for kind, is_output in zip(kinds, are_outputs, strict=True)
        ]
        ranges = [RANGES.get(kind, (0.0, 0.0)) for kind in kinds]
        asked = np.array(codes, np.int64), np.array(ranges, np.float64)
        self._asked = Table(FUNCTIONS, ids, *asked)

    def see(self, tensors: Sequence[Tensor]) -> bool:
        """Measure inputs, results of the activation functions and outputs.

        Returns:
            whether they have the numbers that the form says.
        """
        known = ELEMENTS.get(tensors[0].dtype)
        if known is None or not PLAIN.issuperset(map(type, tensors)) or tensors[0].is_neg():
            return False
        self._pack(self._ids, 0, *map(id, tensors))
        seen: bool = compiled.one_pass(
            *(known.kind, known.dtype, self._asked.address, LEAST_ROWS, self._passes[self._count])
        )
        return seen

    @property
    def of_pass(self) -> list[float]:
        """The numbers of the pass."""
        numbers: list[float] = self._rows[self._count][1 : self._waited].tolist()
        return numbers

    def end(self, step: int, share: float, waited: float) -> bool:
        """End a row; whether the table has room for another."""
        row, at = self._rows[self._count], self._waited
        row[0], row[at], row[at + 1] = step, share, waited
        self._count += 1
        if self._count == ROWS:
            return False
        self.place = self._parameters[self._count]
        return True

    def take(self) -> Float64:
        """The rows so far."""
        count, self._count, self.place = self._count, 0, self._parameters[0]
        return self._table[:count].copy()
