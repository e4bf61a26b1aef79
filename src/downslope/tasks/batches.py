"""Batches of a data set in an order that depends on the seed and the epoch, and on nothing else.

So a run that was interrupted in the middle of an epoch goes on with the very batches it would
have seen: nothing about the order has to be saved.
"""

from __future__ import annotations

from collections.abc import Iterator, Sized
from typing import cast

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler, TensorDataset

__all__ = ["batches", "permutation", "size"]

Pair = tuple[Tensor, ...]


def size(dataset: Dataset[Pair]) -> int:
    """How many rows a map-style data set has; :class:`~torch.utils.data.Dataset` has no length.

    >>> size(TensorDataset(torch.zeros(3), torch.zeros(3)))
    3
    """
    return len(cast(Sized, dataset))


def permutation(size: int, seed: int, epoch: int) -> Tensor:
    """The order of the rows in an epoch: a pure function of the seed and the epoch.

    >>> permutation(5, seed=0, epoch=1).equal(permutation(5, seed=0, epoch=1))
    True
    """
    # torch's CPU generator looks at 32 bits of its seed, so the two are mixed into those.
    mixed = np.random.SeedSequence((seed, epoch)).generate_state(1).item()
    generator = torch.Generator().manual_seed(mixed)
    return torch.randperm(size, generator=generator)


class _Batches(Sampler[Tensor]):
    """Index tensors of ``batch_size`` rows each; the last one may be shorter.

    A row that would be left alone joins the batch before: batch norm cannot train on one row.
    """

    def __init__(self, order: Tensor, batch_size: int, skip: int) -> None:
        chunks = [order[i : i + batch_size] for i in range(0, len(order), batch_size)]
        if len(chunks) > 1 and len(chunks[-2]) > 1 == len(chunks[-1]):
            chunks[-2:] = [torch.cat(chunks[-2:])]
        self._chunks = chunks[skip:]

    def __iter__(self) -> Iterator[Tensor]:
        return iter(self._chunks)

    def __len__(self) -> int:
        return len(self._chunks)


def batches(
    dataset: Dataset[Pair],
    batch_size: int,
    *,
    order: Tensor | None = None,
    skip: int = 0,
) -> DataLoader[Pair]:
    """A loader over the rows in ``order``, from batch number ``skip`` on.

    A :class:`~torch.utils.data.TensorDataset` gives a batch in one indexing call a tensor; other
    data sets give their rows one by one to torch's collation. The loader draws nothing from
    torch's global generator.

    Args:
        dataset: map-style, of ``(input, target)`` pairs.
        batch_size: rows a batch.
        order: row indices; ``None`` takes the rows as they stand.
        skip: batches to leave out at the start.

    >>> x = torch.arange(6.0)
    >>> loader = batches(TensorDataset(x, x), 2, order=torch.tensor([5, 4, 3, 2, 1, 0]), skip=1)
    >>> [inputs.tolist() for inputs, _ in loader]
    [[3.0, 2.0], [1.0, 0.0]]
    """
    if order is None:
        order = torch.arange(size(dataset))
    chunks = _Batches(order, batch_size, skip)
    own = torch.Generator()  # or each iterator would draw a seed from the global generator
    if isinstance(dataset, TensorDataset):
        return DataLoader(dataset, batch_size=None, sampler=chunks, generator=own)
    lists = [chunk.tolist() for chunk in chunks]
    return DataLoader(dataset, batch_sampler=lists, generator=own)
