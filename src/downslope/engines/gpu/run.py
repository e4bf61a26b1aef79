"""A compiled program bound to the sizes of its tensors: tables made once, launched every step."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from ..program import Program
from ..together import Turns
from .kernel import CHUNK, compiled, options
from .library import INTERPRETED

__all__ = ["Launch", "launched"]


class Launch:
    """One step of a program over many tensors, one launch a pass.

    Args:
        program: the traced rule.
        elements: the kind of number of every array, by its dtype's name.
        sizes: the number of elements of every tensor.
        groups: the group of every tensor.
        device: where they are.
        columns: of the table of scalars that are one number a group.
        kept: the scalars that the device keeps, see :func:`.kernel.source`.
    """

    def __init__(
        self,
        program: Program,
        elements: tuple[str, ...],
        sizes: Sequence[int],
        groups: npt.NDArray[np.intp],
        device: torch.device,
        columns: tuple[str, ...],
        kept: tuple[str, ...] = (),
    ) -> None:
        self._functions = compiled(program, elements, columns, kept)
        nvidia = device.type == "cuda" and torch.version.hip is None
        self._options = [options(step, elements, nvidia) for step in program.passes]
        counts = np.asarray(sizes, np.int64)
        # An empty tensor has one empty chunk: its scalars are computed as any other's.
        chunks = np.maximum(-(-counts // CHUNK), 1)
        first = np.concatenate([[0], np.cumsum(chunks)])
        tensor = np.repeat(np.arange(len(counts)), chunks)

        def on_device(numbers: npt.NDArray[np.integer], kind: torch.dtype) -> Tensor:
            return torch.from_numpy(numbers).to(device, kind)

        self._layout = (
            on_device(counts, torch.int64),
            on_device(groups, torch.int32),
            on_device(tensor, torch.int32),
            on_device(first, torch.int32),
        )
        self._columns = {total: k for k, total in enumerate(program.totals)}

        def sums(*shape: int) -> Tensor:
            return torch.zeros(*shape, len(self._columns), dtype=torch.float64, device=device)

        #: The last run's sums over each tensor, float64 [tensors, totals].
        self.sums, self._wholes, partial = sums(len(counts)), sums(), sums(len(tensor))
        tickets = torch.zeros(len(counts), dtype=torch.int32, device=device)
        self._sums = (partial, self.sums, self._wholes, tickets)
        self._passes, self._device = program.passes, device
        #: The arrays that are read and written, by name.
        self.arrays = program.arrays
        self._programs = len(tensor)
        self._tensors = len(counts)
        #: What is left of every unit's gradient, float64 [units], and where units lie.
        self.units: tuple[Tensor, Tensor] = (self._wholes, self._layout[0])

    @property
    def tables(self) -> tuple[Tensor, ...]:
        """What a launch reads and writes beside its arguments: to be kept alive with a graph."""
        return (*self._layout, *self._sums)

    def __call__(
        self,
        addresses: Tensor,
        scalars: Tensor,
        scale: Tensor,
        skip: Tensor,
        vectors: Sequence[Tensor],
    ) -> Turns:
        """Run it, in as many turns as it needs sums over all tensors of the step.

        Args:
            addresses: int64 [arrays, tensors].
            scalars: float64 [groups, columns].
            scale: float32 [1], what gradients are divided by.
            skip: float32 [1], whether nothing is to be changed.
            vectors: the other scalars, one number a tensor, in the order of
                :func:`.kernel.vectors`.

        Yields:
            after each pass that ends in such sums, by the number of the formula's call, each
            tensor's share; wants the sums over all tensors sent back.
        """
        given = (addresses, *self._layout, scalars, scale, skip)
        partial, sums, totals, tickets = self._sums
        tables = (partial, sums, *self.units, totals, tickets)
        args = (*given, *tables, *vectors, self._tensors)
        launches = zip(self._passes, self._functions, self._options, strict=True)
        for step, function, how in launches:
            launched(function, self._programs, args, self._device, how)
            shared = {t.call: self._columns[t] for t in step.totals if t.call is not None}
            if shared:
                wholes = yield {call: self.sums[:, column] for call, column in shared.items()}
                for call, column in shared.items():
                    self._wholes[column] = wholes[call]


def launched(
    function: Any,
    programs: int,
    args: tuple[Any, ...],
    device: torch.device,
    how: dict[str, Any] | None = None,
) -> None:
    """Launch a kernel on a device.

    Args:
        function: the kernel.
        programs: how many.
        args: its arguments.
        device: where they are.
        how: options of the compiler.
    """
    module = torch.get_device_module(device)
    if INTERPRETED:  # as compiled: IEEE arithmetic without warnings
        with np.errstate(all="ignore"):
            function[(programs,)](*args)
    elif module.current_device() == device.index:
        function[(programs,)](*args, **(how or {}))
    else:
        with module.device(device):
            function[(programs,)](*args, **(how or {}))
