"""Where tensors lie in memory, read for a thousand of them in one compiled call.

Asking a tensor from Python (``data_ptr()``, ``stride()``) takes about 50 ns an answer, which for
small tensors is most of a step. torch exports the same answers as C functions that AOTInductor's
binaries are linked to, an interface that it keeps stable. They take a pointer to a C++ tensor, and
the object that Python holds has one right behind its header.
"""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Iterable, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from numba import njit
from torch import Tensor

from ...errors import EngineError
from .library import ask, view_int64

__all__ = [
    "AS_PLANNED",
    "GRADIENT",
    "HEADER",
    "STALE",
    "Expected",
    "asked",
    "functions",
    "handles",
    "look",
]

Int64 = npt.NDArray[np.int64]

#: What :func:`look` answers.
AS_PLANNED, STALE, GRADIENT = 0, 1, 2

_QUESTIONS = ("layout", "device_type", "dtype", "dim", "sizes", "strides", "data_ptr")
HEADER = object.__basicsize__  #: bytes before the C++ tensor in an object of Python's
_SUFFIX = {"darwin": "libtorch_cpu.dylib", "win32": "torch_cpu.dll"}


@cache
def functions() -> Int64:
    """The addresses of torch's C functions, in the order of ``_QUESTIONS``.

    Raises:
        EngineError: this torch has other insides than the one that this was written for.
    """
    probe = torch.empty(2)
    try:
        name = _SUFFIX.get(sys.platform, "libtorch_cpu.so")
        library = ctypes.CDLL(str(Path(torch.__file__).parent / "lib" / name))
        found = [getattr(library, f"aoti_torch_get_{q}") for q in _QUESTIONS]
        known = ctypes.c_int64.from_address(id(probe) + HEADER).value == probe._cdata
    except (OSError, AttributeError):
        known = False
    if not known:
        raise EngineError(
            f"The compiled engine reads tensors as torch 2.13 lays them out; torch "
            f"{torch.__version__} does it otherwise. Install torch 2.13, or give foreach=True"
        )
    addresses = [ctypes.cast(f, ctypes.c_void_p).value for f in found]
    return np.array(addresses, np.int64)


def handles(tensors: Iterable[Tensor], count: int) -> Int64:
    """Pointers to the C++ tensors inside Python's; valid as long as the Python objects live."""
    return np.fromiter(map(id, tensors), np.int64, count) + HEADER


class Expected:
    """How a plan's tensors lie: of every parameter its dimensions, sizes and strides.

    Args:
        params: strided tensors, all on one device.
        kinds: one tensor for each array (parameter, gradient, slots): all of that array are of its
            dtype.
    """

    def __init__(self, params: Sequence[Tensor], kinds: Sequence[Tensor]) -> None:
        self.functions = functions()
        self.dims = np.array([p.dim() for p in params], np.int64)
        self.first = np.cumsum([0, *(2 * self.dims)]).astype(np.int64)
        numbers = [n for p in params for n in (*p.shape, *p.stride())]
        self.layout = np.array(numbers, np.int64)
        self.dtypes = np.array([asked("dtype", t) for t in kinds], np.int64)
        self.device = asked("device_type", params[0])

    def look(self, pointers: Int64, addresses: Int64) -> int:
        """Compare all tensors with what is expected, and note where the gradients lie.

        Args:
            pointers: :func:`handles` of every array, [arrays, tensors]; row 1 the gradients.
            addresses: where parameters and slots must lie, of the same shape; row 1 is written.

        Returns:
            ``AS_PLANNED``; ``STALE`` if a parameter or slot lies elsewhere or otherwise;
            ``GRADIENT`` if only a gradient is laid out otherwise than its parameter.
        """
        tables = self.dims, self.first, self.layout, self.dtypes, self.device
        return int(look(self.functions, pointers, addresses, *tables))


def asked(question: str, tensor: Tensor) -> int:
    """Torch's number of a dtype or a kind of device."""
    answer = np.zeros(1, np.int64)
    function = functions()[_QUESTIONS.index(question)]
    _ask(function, handles([tensor], 1)[0], answer.ctypes.data)
    return int(answer[0])


@njit(cache=True)
def _ask(function: Any, handle: Any, at: Any) -> Any:
    return ask(function, handle, at)


@njit(cache=True)
def look(
    functions: Any,  # [questions] addresses of torch's C functions
    pointers: Any,  # [arrays, tensors] pointers to C++ tensors: parameters, gradients, slots
    addresses: Any,  # [arrays, tensors] where their data should be; row 1 is written
    dims: Any,  # [tensors]
    first: Any,  # [tensors + 1] where a tensor's sizes begin in ``layout``
    layout: Any,  # sizes, then strides, of every tensor
    dtypes: Any,  # [arrays] torch's numbers of dtypes
    device: Any,  # torch's number of the kind of device
) -> Any:
    """The compiled part of :meth:`Expected.look`."""
    answer = np.zeros(1, np.int64)
    at = answer.ctypes.data
    data_ptr = functions[6]
    verdict = AS_PLANNED
    for array in range(pointers.shape[0]):
        for i in range(pointers.shape[1]):
            handle = pointers[array, i]
            # A slot is the very object that the plan found: at the same address it is laid out as
            # it was.
            same = array > 1 or _lies_as(
                functions, handle, answer, at, dims[i], layout, first[i], dtypes[array], device
            )
            same = same and ask(data_ptr, handle, at) == 0
            if array == 1:
                if same:
                    addresses[1, i] = answer[0]
                else:
                    verdict = GRADIENT
            elif not same or answer[0] != addresses[array, i]:
                return STALE
    return verdict


@njit(cache=True)
def _lies_as(
    functions: Any,
    handle: Any,
    answer: Any,
    at: Any,
    dim: Any,
    layout: Any,
    first: Any,
    dtype: Any,
    device: Any,
) -> Any:
    """Whether a tensor is strided, on this kind of device, and of this dtype, sizes and strides."""
    # The first two are known of every kind of tensor; the others may be asked of strided ones only.
    for question, expected in ((0, 0), (1, device), (2, dtype), (3, dim)):
        answer[0] = 0  # some answers have 32 bits
        if ask(functions[question], handle, at) != 0 or answer[0] != expected:
            return False
    for part in range(2):
        if ask(functions[4 + part], handle, at) != 0:
            return False
        values = view_int64(answer[0], dim)
        for k in range(dim):
            if values[k] != layout[first + part * dim + k]:
                return False
    return True
