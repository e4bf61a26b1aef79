"""How a tensor lies in memory, and what its numbers are called there."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import Parameter

__all__ = ["COMPILED_DTYPES", "PLAIN", "adopt", "dense", "dtype_name"]

#: Types whose memory is what torch says it is; that of another subclass may be anything.
PLAIN = frozenset((Tensor, Parameter))

#: The kinds of number that compiled engines read and write.
COMPILED_DTYPES = frozenset({
    torch.float32, torch.float64, torch.bfloat16, torch.float16, torch.complex64, torch.complex128,
})  # fmt: skip


def dtype_name(dtype: torch.dtype) -> str:
    """What a kind of number is called in programs, kernels and files.

    >>> dtype_name(torch.bfloat16)
    'bfloat16'
    """
    return str(dtype).removeprefix("torch.")


def dense(tensor: Tensor) -> bool:
    """Whether a tensor fills one block of memory without gaps or overlaps, in any order of axes.

    >>> dense(torch.zeros(2, 3).t()), dense(torch.zeros(4)[::2]), dense(torch.zeros(1).expand(3))
    (True, False, False)
    """
    expected = 1
    for stride, size in sorted(zip(tensor.stride(), tensor.shape, strict=True)):
        if size != 1:
            if stride != expected:
                return tensor.numel() == 0
            expected *= size
    return True


def adopt(tensor: Tensor, like: Tensor, dtype: torch.dtype | None = None) -> Tensor:
    """The tensor itself if it lies in memory as ``like`` does, else a copy that does.

    Args:
        tensor: any strided tensor of ``like``'s shape.
        like: the layout to have.
        dtype: the kind of number to have; None: the tensor's own.
    """
    dtype = dtype or tensor.dtype
    if tensor.stride() == like.stride() and tensor.dtype == dtype and tensor.device == like.device:
        return tensor
    return torch.empty_like(like, dtype=dtype).copy_(tensor)
