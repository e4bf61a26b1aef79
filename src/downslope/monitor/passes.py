"""The compiled passes of ``compiled_step.py`` over all parameters of a model at once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from operator import attrgetter
from typing import Self

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from ..engines.cpu import threads
from ..engines.cpu.library import CHUNK
from ..engines.cpu.look import AS_PLANNED, STALE, Expected, handles, look
from ..engines.cpu.run import INLINE
from ..engines.layout import PLAIN, adopt, dense
from . import compiled_step as compiled
from .memory import Table, element
from .tensors import norms

__all__ = ["Passes"]

Int64 = npt.NDArray[np.int64]
Float64 = npt.NDArray[np.float64]

_pointer, _gradient = Tensor.data_ptr, attrgetter("grad")


class Passes:
    """Reads gradients and parameters once before a step, parameters and their copies once after.

    Args:
        params: dense ones on the CPU, of one kind that the compiled functions read.
    """

    def __init__(self, params: Sequence[Tensor]) -> None:
        count = len(params)
        self.params = list(params)
        # An alias keeps the storage, so its address cannot become another's.
        self._aliases = [p.detach() for p in params]
        self._pointers = list(map(_pointer, params))
        self._addresses: Int64 = np.array([self._pointers] * 2, np.int64)
        pointers = np.stack([handles(params, count)] * 2)
        self._handles = pointers[1]
        as_now = Expected(params, [params[0], params[0]])
        layout = as_now.dims, as_now.first, as_now.layout, as_now.dtypes, as_now.device
        self._look = as_now.functions, pointers, self._addresses, *layout
        sizes = np.array([p.numel() for p in params], np.int64)
        self._ends = np.cumsum(sizes)
        chunks = [
            (tensor, start, min(CHUNK, size - start))
            for tensor, size in enumerate(sizes.tolist())
            for start in range(0, max(size, 1), CHUNK)
        ]
        #: Whether one thread is enough.
        self.small = bool(self._ends[-1] <= INLINE)
        pieces = 1 if self.small else min(threads.PIECES * torch.get_num_threads(), len(chunks))
        self._bounds = [len(chunks) * piece // pieces for piece in range(pieces + 1)]
        known = element(params[0])
        assert known is not None
        self.element = known
        self._kind = known.kind, known.bytes, self._addresses
        self._chunks = np.array(chunks, np.int64), np.zeros((len(chunks), 4))
        self._results = self._chunks[1], self._chunks[0], sizes
        #: Whether the last gradients lay as their parameters do.
        self.planned = False
        self._before: _Copy | None = None
        self._kept: _Copy | None = None

    @classmethod
    def of(cls, params: Sequence[Tensor]) -> Self | None:
        """For these parameters, if they can be read so."""
        kinds = {element(p) for p in params}
        same = len(kinds) == 1 and None not in kinds and all(p.is_cpu for p in params)
        return cls(params) if same and all(map(dense, params)) else None

    def before(self) -> float | None:
        """Measure the gradients, and copy the parameters.

        Returns:
            the sum of the squares of all gradients; None if something lies otherwise than it did
            when this was made, or a gradient is missing or cannot be read: nothing was done then.
        """
        grads = tuple(map(_gradient, self.params))
        if not PLAIN.issuperset(map(type, grads)):
            return None
        self._handles[:] = handles(grads, len(grads))
        verdict = look(*self._look)
        if verdict == STALE:
            return None
        self.planned = verdict == AS_PLANNED
        if not self.planned:
            if not all(g.layout == torch.strided and g.is_cpu for g in grads):
                return None
            pairs = zip(grads, self.params, strict=True)
            grads = tuple(adopt(g.resolve_neg(), p, p.dtype) for g, p in pairs)
            self._addresses[1] = list(map(_pointer, grads))
        self._run(compiled.gradients)
        squares: float = compiled.total(self._chunks[1])
        return squares

    def after(self, scale: float, found: Float64) -> float:
        """Write four numbers a tensor and one for all: see :func:`.compiled_step.results`.

        Args:
            scale: what gradients were multiplied by.
            found: is written.

        Returns:
            their sum, which is finite if they are.
        """
        self._run(compiled.movement)
        total: float = compiled.results(*self._results, scale, found)
        if list(map(_pointer, self.params)) != self._pointers:  # the step replaced storage
            with torch.no_grad():
                moved = torch._foreach_sub(self.params, self._copies.tensors())
            found[2:-1:4] = norms(moved)
            total = float(found.sum())
        return total

    def copies(self) -> list[_Copy]:
        """Memory for two copies of the parameters, besides those that are made here."""
        return [_Copy(self.params, self._ends) for _ in range(2)]

    def table(self, copies: Sequence[_Copy], *of_pass: int) -> Table:
        """What ``compiled_look.py`` is told of the parameters, and numbers of the pass."""
        places = np.stack([copy.addresses for copy in copies])
        known = self._look[-1], self.element.dtype, self.element.bytes
        numbers = np.array([*known, *of_pass], np.int64)
        sums, chunks, sizes = self._results
        types = np.array([id(kind) for kind in PLAIN], np.int64)
        return Table(*self._look[:-1], numbers, places, chunks, sums, sizes, types)

    def keep(self) -> None:
        """Do not write over the last copies before others are kept."""
        self._kept, self._before = self._before, self._kept

    @property
    def latest(self) -> list[Tensor]:
        """The last copies. Made over those before, which costs half as much as other memory."""
        return [] if self._before is None else self._before.tensors()

    @property
    def kept(self) -> list[Tensor]:
        """The copies that were kept."""
        return [] if self._kept is None else self._kept.tensors()

    def free(self) -> None:
        """Let go of memory that is only of use from one step to the next."""
        self._before = None

    @property
    def _copies(self) -> _Copy:
        if self._before is None:
            self._before = _Copy(self.params, self._ends)
        return self._before

    def _run(self, function: Callable[..., None]) -> None:
        threads.run(function, (*self._kind, self._copies.addresses, *self._chunks), self._bounds)


class _Copy:
    """One block of memory for all parameters."""

    def __init__(self, params: Sequence[Tensor], ends: Int64) -> None:
        self._block = torch.empty(int(ends[-1]), dtype=params[0].dtype)
        starts = [0, *ends.tolist()[:-1]]
        bytes_each = params[0].element_size()
        at = self._block.data_ptr()
        self.addresses: Int64 = np.array([at + start * bytes_each for start in starts], np.int64)
        self._places = [(p.shape, p.stride(), s) for p, s in zip(params, starts, strict=True)]

    def tensors(self) -> list[Tensor]:
        """A view for each parameter, laid out as it is."""
        return [self._block.as_strided(*place) for place in self._places]
