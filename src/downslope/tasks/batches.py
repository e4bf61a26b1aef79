"""Batches of a data set in an order that depends on the seed and the epoch, and on nothing else.

So a run that was interrupted in the middle of an epoch goes on with the very batches it would
have seen: nothing about the order has to be saved. The same holds for what a data set draws while
it is read (augmentation): each batch has a seed of its own, whoever reads it.
"""

from __future__ import annotations

import signal
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence, Sized
from itertools import islice
from typing import cast

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler, Subset, TensorDataset, default_collate

from ..randomness import drawing_from

__all__ = [
    "BatchDataset",
    "Batches",
    "batches",
    "permutation",
    "size",
    "steps",
    "steps_in",
    "subset",
]

LEAST_ROWS = 2  # that batch norm can train on

Pair = tuple[Tensor, ...]
Part = tuple[Tensor, Tensor, float]


class BatchDataset(Dataset[Pair], ABC):
    """A map-style data set that gives a batch in one call, and draws nothing while it is read."""

    @abstractmethod
    def __len__(self) -> int: ...

    @abstractmethod
    def batch(self, rows: Tensor) -> Pair:
        """The rows of these indices: inputs and targets."""


def size(dataset: Dataset[Pair]) -> int:
    """How many rows a map-style data set has; :class:`~torch.utils.data.Dataset` has no length.

    >>> size(TensorDataset(torch.zeros(3), torch.zeros(3)))
    3
    """
    return len(cast(Sized, dataset))


def subset(dataset: Dataset[Pair], rows: Tensor) -> Dataset[Pair]:
    """Some rows of a data set, which are read as the data set reads them: by the batch, if it can.

    >>> x = torch.arange(4.0)
    >>> subset(TensorDataset(x, -x), torch.tensor([3, 1]))[:]
    (tensor([3., 1.]), tensor([-3., -1.]))
    """
    if type(dataset) is TensorDataset:
        return TensorDataset(*(tensor[rows] for tensor in dataset.tensors))
    if isinstance(dataset, BatchDataset):
        return _Some(dataset, rows)
    return Subset(dataset, rows.tolist())


class _Some(BatchDataset):
    """Some rows of a data set that gives batches."""

    def __init__(self, dataset: BatchDataset, rows: Tensor) -> None:
        self._dataset, self._rows = dataset, rows

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, row: int) -> Pair:
        return self._dataset[int(self._rows[row])]

    def batch(self, rows: Tensor) -> Pair:
        """See :class:`BatchDataset`."""
        return self._dataset.batch(self._rows[rows])


def permutation(size: int, seed: int, epoch: int) -> Tensor:
    """The order of the rows in an epoch: a pure function of the seed and the epoch.

    >>> permutation(5, seed=0, epoch=1).equal(permutation(5, seed=0, epoch=1))
    True
    """
    generator = torch.Generator().manual_seed(_mixed(seed, epoch))
    return torch.randperm(size, generator=generator)


class Batches:
    """The batches of a data set, one for each index tensor; can be read again and again.

    A :class:`~torch.utils.data.TensorDataset` gives a batch in one indexing call a tensor, a
    :class:`BatchDataset` in a call of its own; others give their rows one by one to torch's
    collation. Nothing is drawn from the global
    generators but by the data set itself, and nothing at all where there are ``seeds``.

    Args:
        dataset: map-style, of ``(input, target)`` pairs.
        rows: the row indices of each batch.
        seeds: what the global generators are seeded with while a batch is read; they are put back
            afterwards. ``None``: the data set draws from them as they are.
        workers: processes that read ahead; 0 reads when a batch is asked for.
    """

    def __init__(
        self,
        dataset: Dataset[Pair],
        rows: Sequence[Tensor],
        *,
        seeds: Sequence[int] | None = None,
        workers: int = 0,
    ) -> None:
        self._dataset = dataset
        self._rows = rows
        self._seeds = seeds
        self._workers = workers

    def __len__(self) -> int:
        return len(self._rows)

    def __iter__(self) -> Iterator[Pair]:
        if type(self._dataset) is TensorDataset:  # draws nothing: a loader would only cost time
            tensors = self._dataset.tensors
            return (tuple([_rows_of(t, rows) for t in tensors]) for rows in self._rows)
        if isinstance(self._dataset, BatchDataset) and not self._workers:
            return map(self._dataset.batch, self._rows)
        seeds: Sequence[int | None] = self._seeds or [None] * len(self._rows)
        return iter(
            DataLoader(
                _Reading(self._dataset),
                batch_size=None,
                sampler=_Order(self._rows, seeds),
                num_workers=self._workers,
                worker_init_fn=_leave_signals_alone,
                generator=torch.Generator(),  # or a seed would be drawn from the global one
            )
        )


def batches(
    dataset: Dataset[Pair],
    batch_size: int,
    *,
    order: Tensor | None = None,
    skip: int = 0,
) -> Batches:
    """The rows in ``order`` in batches, from batch number ``skip`` on.

    The last batch may be shorter; a row that would be left alone joins the batch before.

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
    return Batches(dataset, _chunks(order, batch_size)[skip:])


def steps_in(rows: int, batch_size: int, processes: int = 1) -> int:
    """How many steps :func:`steps` gives.

    >>> steps_in(9, 4), steps_in(11, 4), steps_in(11, 4, processes=2)
    (2, 3, 2)
    """
    return len(_chunks(torch.arange(rows), batch_size, LEAST_ROWS * processes))


def steps(
    dataset: Dataset[Pair],
    batch_size: int,
    *,
    seed: int,
    epoch: int,
    skip: int = 0,
    accumulate: int = 1,
    process: int = 0,
    processes: int = 1,
    workers: int = 0,
) -> Iterator[list[Part]]:
    """The training steps of an epoch, each cut into parts of nearly equal size.

    Which rows make a step depends on the seed, the epoch and the batch size: however many parts
    there are, and whoever takes them, the step is the same. A short last step is cut into fewer
    parts, and joins the one before where it has less than two rows for each process.

    Args:
        dataset: map-style, of ``(input, target)`` pairs.
        batch_size: rows a step, those of all processes together.
        seed: of the order, and of what the data set draws.
        epoch: the next one has another order.
        skip: steps to leave out at the start.
        accumulate: into how many parts a process cuts its rows of a step.
        process: whose rows these are, from 0.
        processes: among how many a step is shared.
        workers: processes that read ahead.

    Yields:
        for each step its parts: inputs, targets, and their share of the step's rows.

    >>> x = torch.arange(6.0)
    >>> whose = [{"accumulate": 2}, *({"process": p, "processes": 2} for p in (0, 1))]
    >>> for more in whose:
    ...     step, *_ = steps(TensorDataset(x, x), 5, seed=0, epoch=0, **more)
    ...     print([(inputs.int().tolist(), round(share, 3)) for inputs, _, share in step])
    [([0, 4, 3], 0.5), ([5, 1, 2], 0.5)]
    [([0, 4, 3], 0.5)]
    [([5, 1, 2], 0.5)]
    """
    order = permutation(size(dataset), seed, epoch)
    chunks = _chunks(order, batch_size, LEAST_ROWS * processes)[skip:]
    cuts = [min(accumulate, max(1, len(c) // (LEAST_ROWS * processes))) for c in chunks]
    pieces = chunks
    if accumulate * processes > 1:
        pieces = [
            piece
            for chunk, cut in zip(chunks, cuts, strict=True)
            for piece in chunk.tensor_split(cut * processes)[process * cut : (process + 1) * cut]
        ]
    seeds = None
    if type(dataset) is not TensorDataset and not isinstance(dataset, BatchDataset):
        seeds = [
            _mixed(seed, epoch, step, process * cut + k)
            for step, cut in enumerate(cuts, start=skip)
            for k in range(cut)
        ]
    loader = iter(Batches(dataset, pieces, seeds=seeds, workers=workers))
    for chunk, cut in zip(chunks, cuts, strict=True):
        rows = len(chunk)
        yield [(x, y, len(y) / rows) for x, y in islice(loader, cut)]


class _Order(Sampler[tuple[list[int], int | None]]):
    """The items for :class:`_Reading`, made one by one: a list of all rows would take gigabytes."""

    def __init__(self, rows: Sequence[Tensor], seeds: Sequence[int | None]) -> None:
        self._rows, self._seeds = rows, seeds

    def __len__(self) -> int:
        return len(self._rows)

    def __iter__(self) -> Iterator[tuple[list[int], int | None]]:
        for rows, seed in zip(self._rows, self._seeds, strict=True):
            yield rows.tolist(), seed


class _Reading(Dataset[Pair]):
    """A data set whose items are batches, by their rows and their seed."""

    def __init__(self, dataset: Dataset[Pair]) -> None:
        self._dataset = dataset

    def __getitem__(self, item: tuple[list[int], int | None]) -> Pair:
        rows, seed = item
        with drawing_from(seed):
            if isinstance(self._dataset, TensorDataset):
                return cast(Pair, self._dataset[cast(int, torch.tensor(rows))])
            if isinstance(self._dataset, BatchDataset):
                return self._dataset.batch(torch.tensor(rows))
            pair: Pair = default_collate([self._dataset[row] for row in rows])
            return pair


def _rows_of(tensor: Tensor, rows: Tensor) -> Tensor:
    """``tensor[rows]``, which general indexing takes three times as long for."""
    return tensor.index_select(0, rows) if tensor.device == rows.device else tensor[rows]


def _leave_signals_alone(worker: int) -> None:
    """Ctrl-C reaches the whole process group; the loop decides when its readers end."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)


def _chunks(order: Tensor, batch_size: int, fewest: int = LEAST_ROWS) -> list[Tensor]:
    """An order cut into batches; a last one of less than ``fewest`` rows joins the one before."""
    chunks = list(torch.split(order, batch_size))
    if len(chunks) > 1 and len(chunks[-1]) < min(fewest, len(chunks[-2])):
        chunks[-2:] = [torch.cat(chunks[-2:])]
    return chunks


def _mixed(*numbers: int) -> int:
    """One seed from several; torch's CPU generator looks at 32 bits of it."""
    return np.random.SeedSequence(numbers).generate_state(1).item()
