"""The batches that races share: those they train on, and those they are judged by."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor

__all__ = ["HELD", "Batch", "Pool", "divided"]

HELD = 8  # batches that a race is judged by, which no race trains on
FEWEST_BATCHES = 4  # with fewer, a quarter of each one's rows is held out instead
EVALUATION = 0.5  # of a training iteration is what a forward pass is counted as
LEAST_ROWS = 8  # of a batch that can be divided; batch norm needs two in each part

Batch = tuple[Any, Any]


@dataclass(frozen=True)
class Pool:
    """Batches to train on, again and again, and batches that are never trained on."""

    train: tuple[Batch, ...]
    held: tuple[Batch, ...]
    targets: int = 0  # in a pass of the loader; 0 where they cannot be counted

    @property
    def evaluation(self) -> float:
        """What judging by the held-out batches costs, in training iterations."""
        return EVALUATION * len(self.held)

    @property
    def labels(self) -> int:
        """Targets that are never trained on: classes, or rows of values; 0 without a tensor."""
        return sum(_labels(targets) for _, targets in self.held)

    @property
    def classes(self) -> bool | None:
        """Whether the targets are classes: whole numbers, or nothing but zeros and ones.

        None where they are no tensor.
        """
        targets = self.held[0][1]
        if not isinstance(targets, Tensor):
            return None
        return not _values(targets) or bool(((targets == 0) | (targets == 1)).all())


def divided(batches: Sequence[Batch], length: int | None) -> Pool:
    """Hold out a quarter of the batches, or of each one's rows where they are few.

    Args:
        batches: at least one.
        length: how many a pass over the data has; None where the loader does not say.
    """
    targets = sum(_labels(y) for _, y in batches) * (length or 0) // len(batches)
    if len(batches) >= FEWEST_BATCHES:
        held = min(HELD, len(batches) // 4)
        return Pool(tuple(batches[held:]), tuple(batches[:held]), targets)
    parts = [_rows_held(batch) for batch in batches]
    return Pool(tuple(train for train, _ in parts), tuple(held for _, held in parts), targets)


def _rows_held(batch: Batch) -> tuple[Batch, Batch]:
    """A batch without a quarter of its rows, and those; twice the whole where it has no rows."""
    inputs, targets = batch
    if not (isinstance(inputs, Tensor) and isinstance(targets, Tensor)):
        return batch, batch
    rows = len(inputs) if inputs.dim() else 0
    if rows < LEAST_ROWS or not targets.dim() or len(targets) != rows:
        return batch, batch
    held = rows // 4
    return (inputs[held:], targets[held:]), (inputs[:held], targets[:held])


def _labels(targets: Any) -> int:
    """Targets in a batch: classes, or rows of values; 0 where they are no tensor."""
    if not isinstance(targets, Tensor) or not targets.dim():
        return 0
    return targets[..., 0].numel() if _values(targets) and targets.dim() > 1 else targets.numel()


def _values(targets: Tensor) -> bool:
    return targets.is_floating_point() or targets.is_complex()
