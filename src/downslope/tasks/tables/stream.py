"""A table that is larger than memory as a task: two passes over the file, then rows of numbers.

The first pass sums the columns up, the second turns each row into the numbers that the model is
given and writes them into the user's cache folder (``row_cache.py``), the training part first. What
is in memory at a time are a chunk of the file and the sums. Training then reads the rows of a batch
(``row_file.py``), in the same shuffled order as those of a small table.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from ...errors import InputError
from ..preparation import restored
from ..split import VALIDATION_SHARE, mixed
from ..task import Task
from . import row_cache
from .file import Chunk, check_rows, read_chunks
from .moments import Moments
from .options import TableOptions
from .preparation import TablePreparation
from .row_cache import Rows
from .summary import TableSummary
from .table import chosen_columns, prepared, table_task
from .target import Target, TargetSummary, moments_of, regression

__all__ = ["streamed_table"]

SAMPLED = 100_000  # values of a column that its median is taken of

Progress = Callable[[str, float], None]


def streamed_table(
    path: Path,
    target: str | None,
    seed: int,
    options: TableOptions,
    on_progress: Progress | None = None,
) -> Task:
    """As :func:`~downslope.tasks.tables.table.table`, in memory that does not grow with the file.

    There are two differences. Each row goes to the validation part by itself, with a chance of a
    fifth that depends on its number and the seed alone; so the parts' shares of a class are equal
    but for chance. And the median that fills empty cells is that of 100,000 training rows, drawn at
    random.

    Args:
        path: the file.
        target: the column to predict.
        seed: of the split.
        options: what was declared.
        on_progress: told what is being done and how much of it is, from 0 to 1.

    Raises:
        InputError: as for other tables, or the rows cannot be written.
    """
    tell = on_progress or _nobody
    header = next(read_chunks(path, options.na)).frame.columns
    name, inputs = chosen_columns(path, header, target, options)
    declared = {"target": name, "seed": seed, **options.given()}
    entry, key = row_cache.name_of(path, declared), row_cache.key_of(path)
    with row_cache.alone(entry):
        found = row_cache.find(entry, key)
        if found is None:
            aim, preparation, counts = _summed_up(path, name, inputs, seed, options, tell)
            rows = _converted(path, aim, preparation, counts, seed, entry, key, tell)
            found = rows, row_cache.commit(entry, path, rows)
    rows, file = found
    stored = restored(rows.preparation)
    if not isinstance(stored, TablePreparation):
        raise InputError(f"{str(file)!r} holds no rows of a table. Remove it.")
    train, validation = rows.parts(file)
    return table_task(path, seed, options, stored, train=train, validation=validation)


def _summed_up(
    path: Path,
    name: str,
    inputs: list[str],
    seed: int,
    options: TableOptions,
    tell: Progress,
) -> tuple[Target, TablePreparation, tuple[int, int]]:
    """The first pass: how rows become numbers, and how many there are in the two parts."""
    import polars as pl

    seen = TargetSummary(path, name, words=name in options.categorical)
    summary = TableSummary(path, inputs, options, sampled=SAMPLED)
    moments = Moments(1)
    rows = trained = 0
    for chunk in read_chunks(path, options.na):
        training = _training(chunk, seed)
        cells = chunk.frame[name]
        seen.add(cells, chunk.first)
        if seen.numeric:
            moments_of(cells.filter(pl.Series(training)), moments)
        summary.add(chunk.frame, training, chunk.first)
        rows += len(training)
        trained += int(training.sum())
        tell("reading", chunk.share)
    check_rows(path, rows)
    classes = seen.classes()
    if min(trained, rows - trained) < 2:
        raise InputError(
            f"{str(path)!r} has {rows} rows, too few to be streamed: chance gave a part fewer than "
            "two of them. Leave streaming out."
        )
    aim = regression(seen, moments) if classes is None else Target(classes)
    return aim, prepared(name, aim, summary, options, trained), (trained, rows - trained)


def _converted(
    path: Path,
    aim: Target,
    preparation: TablePreparation,
    counts: tuple[int, int],
    seed: int,
    entry: str,
    key: str,
    tell: Progress,
) -> Rows:
    """The second pass: every row as numbers, into the file of its entry."""
    digests = [hashlib.blake2b(), hashlib.blake2b()]
    width = 1
    with row_cache.written(entry, key) as file:
        places = [0, 0]  # rows written of each part
        for chunk in read_chunks(path, preparation.na):
            inputs = preparation.inputs(path, chunk.frame, chunk.first).numpy()
            targets = aim.of(chunk.frame[preparation.target]).numpy().astype(np.float32)
            numbers = np.concatenate([inputs, targets[:, None]], axis=1)
            width = numbers.shape[1]
            training = _training(chunk, seed)
            for part, which in enumerate((training, ~training)):
                piece = numbers[which].tobytes()
                digests[part].update(piece)
                _write_at(file, 4 * width * (places[part] + part * counts[0]), piece)
                places[part] += int(which.sum())
            tell("converting", chunk.share)
        if tuple(places) != counts or row_cache.key_of(path) != key:
            raise InputError(f"{str(path)!r} was changed while it was read. Start again.")
    return Rows(
        *(key, width, aim.labels is not None, *counts),
        digests=(digests[0].hexdigest(), digests[1].hexdigest()),
        preparation=preparation.to_dict(),
    )


def _training(chunk: Chunk, seed: int) -> NDArray[np.bool_]:
    """Which rows belong to the training part."""
    numbers = np.arange(chunk.first, chunk.first + chunk.frame.height)
    return mixed(numbers, seed) >= np.uint64(VALIDATION_SHARE * 2**64)


def _write_at(file: BinaryIO, place: int, data: bytes) -> None:
    left = memoryview(data)
    while left:
        count = os.pwrite(file.fileno(), left, place)
        left, place = left[count:], place + count


def _nobody(doing: str, share: float) -> None:
    """Where nobody is told."""
