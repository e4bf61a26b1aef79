"""A compiled program bound to the sizes of its tensors: chunk tables made once, run every step."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from ..clip import unit_places
from ..program import Program
from ..together import Turns
from . import threads
from .elements import ELEMENTS
from .kernel import Kernel, compiled
from .library import JITTED
from .sizes import CHUNK
from .streams import FAR, SPAN
from .teams import Job

__all__ = ["Launch"]

Int64 = npt.NDArray[np.int64]
Float64 = npt.NDArray[np.float64]

#: Up to so many elements a second thread costs more than it saves: one of torch's team, one of our
#: own (measured: dev/LOG.md).
TEAM_INLINE, INLINE = CHUNK, 4 * CHUNK


class Launch:
    """One step of a program over many tensors.

    Args:
        program: the traced rule.
        elements: the kind of number of every array, by its dtype's name.
        sizes: the number of elements of every tensor.
        units: into how many equal parts every tensor is divided, no chunk lying in two; None: each
            is one.
    """

    def __init__(
        self,
        program: Program,
        elements: tuple[str, ...],
        sizes: Sequence[int],
        units: Sequence[int] | None = None,
    ) -> None:
        kernels = compiled(program, elements)
        counts = np.asarray(sizes, np.int64)
        owner, offset, lengths, before = unit_places(sizes, units or [1] * len(counts))
        length = lengths[owner]
        # An empty tensor has one empty chunk: its scalars are computed as any other's.
        chunks = np.maximum(-(-length // CHUNK), 1)
        self._first_of_unit = np.concatenate([[0], np.cumsum(chunks)]).astype(np.int64)
        self._first = np.ascontiguousarray(self._first_of_unit[before])
        unit = np.repeat(np.arange(len(owner)), chunks)
        tensor = owner[unit]
        inside = (np.arange(len(unit)) - self._first_of_unit[unit]) * CHUNK
        start = offset[unit] + inside
        size = np.minimum(CHUNK, length[unit] - inside)
        self._unit = unit
        self._factors = np.ones(len(unit))
        #: The number of every unit's tensor.
        self.owner = owner
        self._first_unit = before[:-1]
        self.arrays = program.arrays
        far = counts.sum() * len(elements) * ELEMENTS["float32"].bytes >= FAR
        streamed = size // SPAN * SPAN * far
        table = np.stack([tensor, start, size, streamed], axis=1)
        self._chunks = np.ascontiguousarray(table, np.int64)
        columns = {total: k for k, total in enumerate(program.totals)}
        #: Of every pass its kernel, and the columns of the sums over all tensors that it
        #: ends in, by the number of the formula's call.
        self._passes = [
            (kernel, {t.call: columns[t] for t in step.totals if t.call is not None})
            for step, kernel in zip(program.passes, kernels, strict=True)
        ]
        self._sums = np.zeros((len(tensor), len(columns)))
        self._wholes = np.zeros(len(columns))
        #: New values of the slots that are one number a tensor, after a step.
        self.numbers = np.zeros((len(counts), len(program.passes[-1].numbers)))
        self._tables = (
            *(self._chunks, self._first, self._sums, self._wholes, self._factors),
            self.numbers,
        )
        self._elements = np.concatenate([[0], np.cumsum(size)])
        self._bounds: dict[tuple[int, int], list[int]] = {}
        self._job: Job | None = None

    def _cut(self, thread_count: int) -> list[int]:
        """Chunk numbers that cut the work into pieces of nearly equal size."""
        inline = INLINE if threads.team() is None else TEAM_INLINE
        if (thread_count, inline) not in self._bounds:
            total = int(self._elements[-1])
            pieces = 1 if total <= inline else threads.PIECES * thread_count
            ends = np.searchsorted(self._elements, np.linspace(0, total, pieces + 1))
            bounds = np.unique(np.concatenate([ends, [0, len(self._chunks)]]))
            self._bounds[thread_count, inline] = bounds.tolist()
        return self._bounds[thread_count, inline]

    def __call__(self, addresses: Int64, rows: Float64) -> Turns:
        """Run it, in as many turns as it needs sums over all tensors of the step.

        Args:
            addresses: [arrays, tensors].
            rows: [tensors, scalars + 1], the last column the factor of the gradient.

        Yields:
            after each pass that ends in such sums, by the number of the formula's call, each
            tensor's share; wants the sums over all tensors sent back.
        """
        args = (addresses, rows, *self._tables)
        for kernel, shared in self._passes:
            self._run(kernel, args)
            if shared:
                sums = self.sums
                wholes = yield {call: sums[:, column] for call, column in shared.items()}
                for call, column in shared.items():
                    self._wholes[column] = wholes[call]

    @property
    def sums(self) -> Float64:
        """The last run's sums over each tensor, float64 [tensors, totals]."""
        return np.add.reduceat(self._sums, self._first[:-1])

    @property
    def unit_sums(self) -> Float64:
        """The last run's sums over each unit, float64 [units, totals]."""
        return np.add.reduceat(self._sums, self._first_of_unit[:-1])

    def over_tensors(self, of_units: Float64) -> list[float]:
        """Sums over each tensor of one number a unit."""
        sums: list[float] = np.add.reduceat(of_units, self._first_unit).tolist()
        return sums

    def set_units(self, factors: Float64) -> None:
        """Set what gradients are multiplied by in the next run, one number a unit."""
        self._factors[:] = factors[self._unit]

    def _run(self, kernel: Kernel, args: tuple[Any, ...]) -> None:
        count = torch.get_num_threads()
        bounds = self._cut(count)
        if not JITTED:  # as compiled: IEEE arithmetic without warnings
            with np.errstate(all="ignore"):
                kernel.run(*args, bounds[0], bounds[-1])
        elif len(bounds) > 2 and count > 1 and (team := threads.team()) is not None:
            if self._job is None or not self._job.fits(args, bounds):
                self._job = Job(args, bounds)
            team(kernel.team.address, self._job.begin(), count)
        else:
            threads.run(kernel.run, args, bounds)
