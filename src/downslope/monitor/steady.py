"""Looks that are like the one before: compiled calls write their numbers into one table."""

from __future__ import annotations

from collections.abc import Sequence

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
        rows = list(self._table)
        self._waited = len(form.paths) - parameters - 2  # where it stands
        self._steps: list[tuple[int, float, float]] = []  # of each row: see `end`
        self._passes = [row[1:].ctypes.data for row in rows]
        self._parameters = [(view := row[-parameters:], view.ctypes.data) for row in rows]
        #: Where the numbers of the parameters belong, and the address of that.
        self.place = self._parameters[0]
        relu, saturated = compiled.RELU, compiled.SATURATED
        codes = [
            (relu if kind == "relu" else saturated, is_output)
            for kind, is_output in zip(kinds, are_outputs, strict=True)
        ]
        ranges = [RANGES.get(kind, (0.0, 0.0)) for kind in kinds]
        asked = np.array(codes, np.int64), np.array(ranges, np.float64)
        self._asked = Table(FUNCTIONS, *asked)

    def see(self, tensors: tuple[Tensor, ...]) -> bool:
        """Measure inputs, results of the activation functions and outputs.

        Returns:
            whether they have the numbers that the form says.
        """
        known = ELEMENTS.get(tensors[0].dtype)
        if known is None or not PLAIN.issuperset(map(type, tensors)) or tensors[0].is_neg():
            return False
        places = self._asked.address, id(tensors), LEAST_ROWS, self._passes[len(self._steps)]
        return bool(compiled.one_pass(known.kind, known.dtype, *places))

    @property
    def of_pass(self) -> list[float]:
        """The numbers of the pass."""
        numbers: list[float] = self._table[len(self._steps)][1 : self._waited].tolist()
        return numbers

    def end(self, step: int, share: float, waited: float) -> bool:
        """End a row; whether the table has room for another."""
        self._steps.append((step, share, waited))
        count = len(self._steps)
        if count == ROWS:
            return False
        self.place = self._parameters[count]
        return True

    def take(self) -> Float64:
        """The rows so far."""
        rows = self._table[: len(self._steps)].copy()
        if self._steps:
            rows[:, [0, self._waited, self._waited + 1]] = self._steps
            self._steps.clear()
            self.place = self._parameters[0]
        return rows
