"""Units of tensors (rows, filters) on an accelerator, for clipping each by its own norm."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
import triton
import triton.language as tl
from torch import Tensor

from ..clip import unit_places
from .library import total
from .run import launched

__all__ = ["Units", "over_tensors"]


class Units:
    """The units of a bucket's tensors; see :mod:`..clip` for what a unit is.

    Norms are taken as if every unit were a tensor. The update reads each element's gain from one
    number a unit, by the element's place, so that its chunks and accesses are those without units.

    Args:
        sizes: the number of elements of every tensor.
        parts: into how many equal units each is divided.
        element_bytes: of one number.
        device: where the tensors are.
    """

    def __init__(
        self, sizes: Sequence[int], parts: Sequence[int], element_bytes: int, device: torch.device
    ) -> None:
        places = unit_places(sizes, parts)
        #: The number of every unit's tensor.
        self.owner = places.owner
        #: The number of elements of every unit.
        self.sizes = places.length[places.owner]
        self._owner, self._offset, self._first, self.table = (
            torch.from_numpy(np.ascontiguousarray(numbers)).to(device)
            for numbers in (
                places.owner,
                places.offset * element_bytes,
                places.first,
                # What a kernel reads: of every tensor its first unit, and elements a unit.
                np.stack([places.first[:-1], np.maximum(places.length, 1)]),
            )
        )

    @property
    def tables(self) -> tuple[Tensor, ...]:
        """What is read at every step: to be kept alive with a graph."""
        return self._owner, self._offset, self._first, self.table

    def addresses(self, of_tensors: Tensor) -> Tensor:
        """Where every unit lies: int64 [arrays, units] from [arrays, tensors]."""
        return of_tensors.index_select(1, self._owner) + self._offset

    def each(self, of_tensors: Tensor) -> Tensor:
        """Every unit's tensor's number."""
        return of_tensors.index_select(0, self._owner)

    def over_tensors(self, of_units: Tensor) -> Tensor:
        """Sums over each tensor of one number a unit, in an order that never changes."""
        sums = of_units.new_empty(len(self._first) - 1)
        launched(
            over_tensors, len(sums), (of_units.contiguous(), self._first, sums), of_units.device
        )
        return sums


@triton.jit
def over_tensors(x, first, sums):  # type: ignore[no-untyped-def]  # Triton types it
    """Add up the numbers of every tensor's units, a program a tensor."""
    i = tl.program_id(0)
    start = tl.load(first + i)
    tl.store(sums + i, total(x, 1, start, tl.load(first + i + 1) - start, 512))
