"""Tensors outside an optimizer's step, in one compiled call: sums of squares, changes in place.

``torch.nn.utils``' clipping needs no more than this.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from ..rules import Hyper, Rule
from . import clip, together
from .layout import COMPILED_DTYPES, PLAIN, dense, dtype_name
from .program import Program
from .trace import limited, trace, trace_sums

if TYPE_CHECKING:
    from .cpu.run import Launch

__all__ = ["Sweep", "compiled"]


def compiled(tensor: Tensor) -> bool:
    """Whether a tensor's memory can be read and written as it lies.

    >>> compiled(torch.zeros(3)), compiled(torch.zeros(1).expand(3))
    (True, False)
    """
    return (
        type(tensor) in PLAIN
        and tensor.device.type == "cpu"
        and tensor.dtype in COMPILED_DTYPES
        and tensor.layout == torch.strided
        and not tensor.is_conj()
        and not tensor.is_neg()
        and (tensor.is_contiguous() or dense(tensor))
    )


class Sweep:
    """Tensors to be read or changed where they lie.

    Args:
        tensors: for each of which :func:`compiled` holds.

    >>> sweep = Sweep([torch.tensor([3.0, 4.0]), torch.ones(2, dtype=torch.float64)])
    >>> sweep.squares()
    [25.0, 2.0]
    """

    def __init__(self, tensors: Sequence[Tensor]) -> None:
        self._tensors = tensors
        kinds: dict[torch.dtype, list[int]] = {}
        for k, t in enumerate(tensors):
            kinds.setdefault(t.dtype, []).append(k)
        self._parts = [(at, _Part(dtype, [tensors[k] for k in at])) for dtype, at in kinds.items()]

    def squares(self) -> list[float]:
        """The sum of squares of each tensor, in float64; the same bits at any thread count."""
        sums = [0.0] * len(self._tensors)
        for at, part in self._parts:
            for k, found in zip(at, part.run(trace_sums(_SQUARES), np.inf), strict=True):
                sums[k] = found
        return sums

    def scale_(self, factor: float) -> None:
        """Multiply the tensors in place."""
        self._change(_SCALED, factor)

    def clamp_(self, limit: float) -> None:
        """Clamp the tensors in place, complex ones by real and imaginary parts; NaN stays NaN."""
        self._change(_CLAMPED, limit)

    def _change(self, rule: Rule, number: float) -> None:
        for _, part in self._parts:
            part.run(trace(rule, (), ()), number)
        torch.autograd.graph.increment_version(self._tensors)


class _Part:
    """Tensors of one kind of number."""

    def __init__(self, dtype: torch.dtype, tensors: Sequence[Tensor]) -> None:
        self._kind = dtype_name(dtype.to_real())
        reals = 2 if dtype.is_complex else 1
        self._sizes = tuple(t.numel() * reals for t in tensors)
        self._pointers = list(map(Tensor.data_ptr, tensors))

    def run(self, program: Program, number: float) -> list[float]:
        """Run a program of one scalar, all of whose arrays are the tensors; returns its sums."""
        launch = _launch(program, (self._kind,) * len(program.arrays), self._sizes)
        pointers = np.array([self._pointers] * len(program.arrays), np.int64)
        rows = np.tile([number, 1.0], (len(self._sizes), 1))  # the last: the gradient's factor
        together.run([launch(pointers, rows)])
        sums: list[float] = launch.sums[:, 0].tolist() if program.totals else []
        return sums


_own = threading.local()


def _launch(program: Program, kinds: tuple[str, ...], sizes: tuple[int, ...]) -> Launch:
    """This thread's launch for tensors of these sizes, which come again every step."""
    from .cpu.run import Launch  # Numba is imported when the first kernel is needed

    if not hasattr(_own, "launch"):
        _own.launch = lru_cache(maxsize=8)(Launch)
    launch: Launch = _own.launch(program, kinds, sizes)
    return launch


def _scaled(xp: Any, p: Any, g: Any, *, number: Any) -> tuple[Any]:
    return (p * number,)


def _clamped(xp: Any, p: Any, g: Any, *, number: Any) -> tuple[Any]:
    return (limited(xp, p, number),)


_SQUARES = clip.squares_rule(())
_NUMBER = (Hyper("number", "", ""),)
_SCALED = Rule(_scaled, "", slots=(), hypers=_NUMBER)
_CLAMPED = Rule(_clamped, "", slots=(), hypers=_NUMBER)
