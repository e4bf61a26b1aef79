"""A table with a target column as a task."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from torch import Tensor
from torch.utils.data import Dataset, TensorDataset

from ...errors import InputError
from ..batches import BatchDataset, size
from ..length import epochs_for
from ..preparation import ModelSource
from ..split import split_rows
from ..task import Task
from .file import check_rows, read_chunks
from .model import EPOCHS, batch_size_for
from .options import TableOptions
from .preparation import TablePreparation
from .summary import TableSummary
from .target import (
    Goal,
    Target,
    TargetSummary,
    moments_of,
    regression,
    target_name,
)

__all__ = ["table"]


def table(path: Path, target: str | None, seed: int, options: TableOptions) -> Task:
    """A task from a table; every column but the target and those to be ignored is an input.

    The target decides what is trained:

    - text, or declared categorical: classification, a class for each different text;
    - whole numbers (``3`` or ``3.0``), at most 20 different ones with 5 rows each on average:
      classification;
    - other numbers: regression. The target is standardised for training; the metric, RMSE, is in
      its own units.

    A fifth of the rows is the validation part, drawn by ``seed`` and, for classes, stratified.
    What inputs are made of columns is in ``columns.py``; all that it depends on is learnt
    from the training part.

    Raises:
        InputError: the file, the target or a cell cannot be used; the message names the place.
        MissingExtraError: polars or scikit-learn is not installed.
    """
    frames = [chunk.frame for chunk in read_chunks(path, options.na)]
    import polars as pl

    frame = pl.concat(frames)
    check_rows(path, frame.height)
    name, inputs = chosen_columns(path, frame.columns, target, options)
    seen = TargetSummary(path, name, words=name in options.categorical)
    seen.add(frame[name], 0)
    classes = seen.classes()
    if classes is None:
        train, validation = split_rows(frame.height, seed)
        aim = regression(seen, moments_of(frame[name].gather(train)))
    else:
        aim = Target(classes)
        of_rows = aim.of(frame[name]).numpy()
        train, validation = split_rows(frame.height, seed, classes=of_rows)
    training = np.zeros(frame.height, bool)
    training[train] = True
    summary = TableSummary(path, inputs, options)
    summary.add(frame, training, 0)
    preparation = prepared(name, aim, summary, options, len(train))
    x, y = preparation.inputs(path, frame), aim.of(frame[name])
    return table_task(
        *(path, seed, options, preparation),
        train=TensorDataset(x[train], y[train]),
        validation=TensorDataset(x[validation], y[validation]),
        rows=(tuple(train.tolist()), tuple(validation.tolist())),
    )


def chosen_columns(
    path: Path, columns: list[str], target: str | None, options: TableOptions
) -> tuple[str, list[str]]:
    """The target, and the inputs.

    Raises:
        InputError: a name is not one of a column, or nothing is left to predict from.
    """
    name = target_name(path, columns, target)
    options.check(path, columns, name)
    inputs = [c for c in columns if c != name and c not in options.ignore]
    if not inputs:
        raise InputError(
            f"{str(path)!r}: every column but the target {name!r} is ignored: there is nothing to "
            "predict it from."
        )
    return name, inputs


def prepared(
    target: str, goal: Target, summary: TableSummary, options: TableOptions, rows: int
) -> TablePreparation:
    """How rows become inputs and outputs answers, after so many training rows were summed up."""
    columns = summary.columns()
    features = sum(len(column.means) for column in columns)
    outputs = Goal.of(goal.words, goal.deviation).outputs
    return TablePreparation(
        ModelSource("table", {"features": features, "outputs": outputs, "rows": rows}),
        target=target,
        columns=columns,
        classes=goal.words,
        mean=goal.mean,
        deviation=goal.deviation,
        na=options.na,
    )


def table_task(
    path: Path,
    seed: int,
    options: TableOptions,
    preparation: TablePreparation,
    *,
    train: Dataset[tuple[Tensor, ...]],
    validation: Dataset[tuple[Tensor, ...]],
    rows: tuple[tuple[int, ...], tuple[int, ...]] = ((), ()),
) -> Task:
    """The task of a table whose rows are ready to be trained on."""
    source = {"spec": str(path.resolve()), "target": preparation.target, "seed": seed}
    source["stream"] = isinstance(train, BatchDataset)
    batch_size = batch_size_for(size(train))
    goal = Goal.of(preparation.classes, preparation.deviation)
    return Task(
        name=path.stem,
        model=preparation.model,
        loss=goal.loss,
        train=train,
        validation=validation,
        metric=goal.metric,
        batch_size=batch_size,
        epochs=epochs_for(size(train), batch_size, fewest=EPOCHS),
        kind=goal.kind,
        train_rows=rows[0],
        validation_rows=rows[1],
        source={**source, **options.given()},
        preparation=preparation,
    )
