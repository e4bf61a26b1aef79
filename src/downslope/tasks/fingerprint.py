"""A hash of a data set's content and order, so that resuming on other data is noticed."""

from __future__ import annotations

import hashlib
from typing import Any, Protocol, runtime_checkable

from torch.utils.data import Dataset, TensorDataset

from .batches import size

__all__ = ["Fingerprinted", "fingerprint"]


@runtime_checkable
class Fingerprinted(Protocol):
    """A data set that knows a short stand-in for its content."""

    def fingerprint(self) -> bytes:
        """Bytes that change when the content or its order does."""


def fingerprint(*parts: Dataset[Any]) -> str:
    """A hash of these data sets: their sizes, and their content where it can be known.

    That is where they are tensors, or :class:`Fingerprinted`.

    >>> import torch
    >>> rows = torch.arange(3)
    >>> fingerprint(TensorDataset(rows)) == fingerprint(TensorDataset(rows.flip(0)))
    False
    """
    digest = hashlib.sha256()
    for data in parts:
        digest.update(str(size(data)).encode())
        if isinstance(data, TensorDataset):
            for tensor in data.tensors:
                digest.update(f"{tensor.dtype}{tuple(tensor.shape)}".encode())
                digest.update(tensor.contiguous().cpu().numpy().tobytes())
        elif isinstance(data, Fingerprinted):
            digest.update(data.fingerprint())
    return digest.hexdigest()
