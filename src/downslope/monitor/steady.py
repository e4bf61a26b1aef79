"""Looks at a small model that are like the one before: one compiled call each, into one table."""

from __future__ import annotations

import math
from collections.abc import Sequence
from operator import attrgetter

import numpy as np
import numpy.typing as npt
from torch import Tensor

from . import compiled_look as compiled
from .activations import LEAST_ROWS, RANGES
from .compiled_pass import RELU, SATURATED
from .forms import Form
from .memory import FUNCTIONS, Table
from .passes import Passes
from .weights import MEASURED

__all__ = ["Steady"]

Float64 = npt.NDArray[np.float64]

ROWS = 64  # of a table
_gradient = attrgetter("grad")


class Steady:
    """A table of looks of one form, each made when the step is done.

    The weights before the step are copies: those that the look before has made, or made at the
    beginning of the pass.

    Args:
        form: the step, numbers of the pass, how long it was waited for as a share of the step and
            in seconds, numbers of the parameters.
        kinds: of the activation functions that are called, in this order.
        are_outputs: of each whether its result is the model's.
        passes: of the parameters; a small model's.
        others: parameters that have no gradient.
        habits: by how much a step raises the first parameter's version, and the version of its
            gradient when it is done.
    """

    def __init__(
        self,
        form: Form,
        kinds: Sequence[str],
        are_outputs: Sequence[bool],
        passes: Passes,
        others: Sequence[Tensor],
        habits: tuple[int, int],
    ) -> None:
        self.form, self.passes = form, passes
        self._others = list(others)
        self._raised, self._fresh = habits
        self._rows = np.zeros((ROWS, len(form.paths)))
        self._filled = 0
        self._addresses = [row.ctypes.data for row in self._rows]
        width = len(MEASURED) * len(passes.params) + 1
        self._of_pass = len(form.paths) - 3 - width
        codes = [
            (RELU if kind == "relu" else SATURATED, is_output)
            for kind, is_output in zip(kinds, are_outputs, strict=True)
        ]
        ranges = [RANGES.get(kind, (0.0, 0.0)) for kind in kinds]
        self._asked = Table(FUNCTIONS, np.array(codes, np.int64), np.array(ranges, np.float64))
        self._copies = passes.copies()
        self._table = passes.table(self._copies, self._of_pass, self._asked.address, LEAST_ROWS)
        #: Of the copies, which are of the weights now, and which of the last that were finite.
        self._now, self._finite = 0, 1
        self._version: int | None = None  # of the first weights that were copied
        self._any_finite = False
        #: Of the last look: whether the table has it, and whether the gradients were finite.
        self.in_table, self.finite = False, True

    def fits(self, form: Form, passes: Passes, habits: tuple[int, int]) -> bool:
        """Whether looks of this kind can go on as they were."""
        return form is self.form and passes is self.passes and habits == (self._raised, self._fresh)

    def begin(self) -> None:
        """Copy the weights, unless they are those that the last look has left."""
        now = self.passes.params[0]._version
        if now == self._version:
            return
        to = 1 - self._finite
        squares = compiled.keep(self.passes.element.kind, self._table.address, to)
        self._version = None if squares == -math.inf else now
        self._now = to
        if math.isfinite(squares):
            self._finite, self._any_finite = to, True

    def end(self, tensors: tuple[Tensor, ...], step: int, share: float, waited: float) -> bool:
        """Measure a step that is done.

        Args:
            tensors: inputs, results of the activation functions and outputs; none if the pass is
                not as the form says.
            step: its number.
            share: how much of its time was waited for the pass.
            waited: the same in seconds.

        Returns:
            whether it was measured; the loop may do otherwise than it was seen to.
        """
        params, passes = self.passes.params, self.passes
        grads = tuple(map(_gradient, params))
        now, version = params[0]._version, self._version
        self._version = None
        if (
            version is None
            or now - version != self._raised
            or grads[0] is None
            or grads[0]._version != self._fresh
            or (self._others and any(p.grad is not None for p in self._others))
        ):
            return False
        new = 1 - self._finite
        answer, total = compiled.whole(
            passes.element.kind,
            self._table.address,
            id(grads),
            id(tensors) if tensors else 0,
            len(tensors),
            self._now,
            new,
            self._addresses[self._filled],
            float(step),
            share,
            waited,
        )
        if answer == compiled.LOST:
            return False
        self._version, self._now = now, new
        if math.isfinite(total):
            self._finite, self.finite = new, True
        else:
            self.finite = math.isfinite(self._rows[self._filled][-1])
        self.in_table = answer == compiled.WHOLE
        if self.in_table:
            self._filled += 1
        return True

    @property
    def full(self) -> bool:
        """Whether there is no room for another look."""
        return self._filled == ROWS

    @property
    def of_parameters(self) -> list[float]:
        """What the last look measured of the parameters, if it did not fit into the table."""
        numbers: list[float] = self._rows[self._filled][3 + self._of_pass :].tolist()
        return numbers

    @property
    def kept(self) -> list[Tensor]:
        """The last weights that were finite."""
        return self._copies[self._finite].tensors() if self._any_finite else []

    def take(self) -> Float64:
        """The rows so far."""
        rows, self._filled = self._rows[: self._filled].copy(), 0
        return rows
