"""Rows of numbers in a file: a data set that is larger than memory, read a batch at a time.

A row is its inputs and then its target, all float32, without anything between rows. Batches are
read with one call of the system a row, or one for rows that lie side by side. The file is not
mapped: the pages that a shuffled epoch touches are all of it, and would all count as memory.
"""

from __future__ import annotations

import os
import weakref
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ...errors import InputError
from ..batches import BatchDataset

__all__ = ["RowFile"]


class RowFile(BatchDataset):
    """Some of the rows of a file.

    Args:
        path: the file.
        first: number of the first of the rows.
        rows: how many they are.
        width: numbers a row, the target among them.
        classes: whether targets are numbers of classes.
        digest: stands for what the rows hold.

    >>> import tempfile
    >>> with tempfile.NamedTemporaryFile() as file:
    ...     _ = file.write(np.arange(6, dtype=np.float32).tobytes())
    ...     file.flush()
    ...     rows = RowFile(Path(file.name), first=1, rows=2, width=2, classes=False, digest="")
    ...     rows.batch(torch.tensor([1, 0]))
    (tensor([[4.],
            [2.]]), tensor([5., 3.]))
    """

    def __init__(
        self, path: Path, *, first: int, rows: int, width: int, classes: bool, digest: str
    ) -> None:
        self._path, self._first, self._rows = path, first, rows
        self._width, self._classes, self._digest = width, classes, digest
        self._file: int | None = None

    def __len__(self) -> int:
        return self._rows

    def __getitem__(self, row: int) -> tuple[Tensor, ...]:
        if not -self._rows <= row < self._rows:
            raise IndexError(f"row {row} of {self._rows}")
        inputs, targets = self.batch(torch.tensor([row % self._rows]))
        return inputs[0], targets[0]

    def batch(self, rows: Tensor) -> tuple[Tensor, ...]:
        """Inputs ``(rows, width - 1)`` and targets ``(rows,)``.

        Raises:
            InputError: the file is not there any more, or has become shorter.
        """
        numbers = torch.from_numpy(self._read(rows.numpy() + self._first))
        inputs, targets = numbers[:, :-1].contiguous(), numbers[:, -1]
        return inputs, targets.long() if self._classes else targets.contiguous()

    def fingerprint(self) -> bytes:
        """Stands for what the rows hold, however many they are."""
        return self._digest.encode()

    def _read(self, rows: NDArray[np.int64]) -> NDArray[np.float32]:
        size = 4 * self._width
        file = self._descriptor()
        if len(rows) and (np.diff(rows) == 1).all():
            parts = [os.pread(file, size * len(rows), size * int(rows[0]))]
        else:
            parts = [os.pread(file, size, start) for start in (rows * size).tolist()]
        read = bytearray().join(parts)  # which torch may write to, unlike bytes
        if len(read) != size * len(rows):
            raise InputError(
                f"{str(self._path)!r} has become shorter. Remove it: it will be made again."
            )
        return np.frombuffer(read, np.float32).reshape(-1, self._width)

    def _descriptor(self) -> int:
        if self._file is None:
            try:
                self._file = os.open(self._path, os.O_RDONLY)
            except FileNotFoundError:
                raise InputError(
                    f"{str(self._path)!r} was removed while it was in use. Start again: it will be "
                    "made again."
                ) from None
            weakref.finalize(self, os.close, self._file)
        return self._file

    def __getstate__(self) -> dict[str, Any]:
        return {**vars(self), "_file": None}
