"""A table with a target column as a task."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import TensorDataset

from ..errors import InputError, unknown
from .length import epochs_for
from .metrics import accuracy, rmse
from .preparation import ModelSource
from .split import VALIDATION_SHARE, split_rows
from .table_file import bad_cell, parse, read_table, to_numbers
from .table_model import EPOCHS, batch_size_for
from .table_preparation import NumberColumn, TablePreparation
from .task import Metric, Task

if TYPE_CHECKING:
    import polars as pl

__all__ = ["moments", "table"]

MAX_NUMBERED_CLASSES = 20
ROWS_A_CLASS = 5

Floats = NDArray[np.float64]
Indices = NDArray[np.int64]


def table(path: Path, target: str | None, seed: int) -> Task:
    """A task from a CSV file with a header line; every column but the target must be numeric.

    The target's type decides what is trained:

    - text: classification, a class for each different text;
    - whole numbers (``3`` or ``3.0``), at most 20 different ones with 5 rows each on average:
      classification;
    - other numbers: regression. The target is standardised for training; the metric, RMSE, is in
      its own units.

    A fifth of the rows is the validation part, drawn by ``seed`` and, for classes, stratified.
    Columns are standardised by the mean and the standard deviation of the training part; a column
    that is constant there counts for nothing.

    Raises:
        InputError: the file, the target or a cell cannot be used; the message names the place.
        MissingExtraError: polars or scikit-learn is not installed.
    """
    frame = read_table(path)
    name = _target_name(path, frame.columns, target)
    labels = _labels(path, frame[name])
    names = [column for column in frame.columns if column != name]
    numbers = {column: to_numbers(path, frame[column]) for column in names}
    classes = _classes(path, name, labels)
    train, validation = split_rows(frame.height, seed, classes=classes)
    goal = _regression(path, name, labels, train) if classes is None else _classification(classes)
    words = None if classes is None else tuple(map(_word, np.unique(labels)))
    outputs = 1 if words is None else len(words)
    preparation = TablePreparation(
        ModelSource("table", {"features": len(names), "outputs": outputs, "rows": len(train)}),
        target=name,
        columns=tuple(NumberColumn(c, *moments(numbers[c][train])) for c in names),
        classes=words,
        mean=goal.mean,
        deviation=goal.deviation,
    )
    x, y = preparation.inputs(path, frame), goal.targets
    batch_size = batch_size_for(len(train))
    return Task(
        name=path.stem,
        model=preparation.model,
        loss=goal.loss,
        train=TensorDataset(x[train], y[train]),
        validation=TensorDataset(x[validation], y[validation]),
        metric=goal.metric,
        batch_size=batch_size,
        epochs=epochs_for(len(train), batch_size, fewest=EPOCHS),
        kind=goal.kind,
        train_rows=tuple(train.tolist()),
        validation_rows=tuple(validation.tolist()),
        source={"spec": str(path.resolve()), "target": name, "seed": seed},
        preparation=preparation,
    )


def moments(values: Floats) -> tuple[float, float]:
    """Mean and standard deviation, which is exactly 0 where all values are equal.

    >>> moments(np.array([1.0, 3.0])), moments(np.array([0.1, 0.1, 0.1]))
    ((2.0, 1.0), (0.1, 0.0))
    """
    if np.ptp(values) == 0:
        return float(values[0]), 0.0
    unit = 2.0 ** np.frexp(np.abs(values).max())[1]  # or squares of 1e200 would overflow
    scaled = values / unit
    return float(scaled.mean() * unit), float(scaled.std() * unit)


@dataclass(frozen=True)
class _Goal:
    """What the target column makes of the task."""

    kind: str
    targets: Tensor
    loss: Any
    metric: Metric
    mean: float = 0.0
    deviation: float = 1.0


def _classification(classes: Indices) -> _Goal:
    return _Goal(
        kind="classification",
        targets=torch.from_numpy(classes),
        loss=F.cross_entropy,
        metric=Metric("accuracy", accuracy, higher_is_better=True),
    )


def _regression(path: Path, name: str, values: Floats, train: Indices) -> _Goal:
    if np.ptp(values[train]) == 0:
        raise _constant(path, name, values[train][0])
    mean, deviation = moments(values[train])
    return _Goal(
        kind="regression",
        targets=torch.from_numpy((values - mean) / deviation).float(),
        loss=F.mse_loss,
        metric=Metric("rmse", partial(rmse, unit=deviation), higher_is_better=False),
        mean=mean,
        deviation=deviation,
    )


def _word(label: Any) -> str:
    """A class as the file calls it; whole numbers without their decimals."""
    return str(label) if isinstance(label, str) else str(int(label))


def _target_name(path: Path, columns: list[str], target: str | None) -> str:
    if target is None:
        raise InputError(
            f"{str(path)!r} is a table: name its target column (--target COLUMN, or target=...). "
            f"Columns: {', '.join(columns)}."
        )
    if target not in columns:
        raise unknown(f"column of {path.name}", target, columns)
    if len(columns) == 1:
        raise InputError(
            f"{str(path)!r} has the target column {target!r} alone: there is nothing to predict it "
            "from. Are the cells separated by commas?"
        )
    return target


def _labels(path: Path, cells: pl.Series) -> NDArray[Any]:
    """The target as numbers, or as text where no cell is a number; never constant."""
    numbers, text = parse(cells)
    missing = ~text & ~np.isfinite(numbers)
    if missing.any():
        raise bad_cell(path, cells, missing, "no target value")
    if text.any() and not text.all():
        raise bad_cell(path, cells, text, "text in a target column of numbers")
    labels = cells.to_numpy() if text.any() else numbers
    if (labels == labels[0]).all():
        raise _constant(path, cells.name, labels[0])
    return labels


def _classes(path: Path, name: str, labels: NDArray[Any]) -> Indices | None:
    """The class of each row; ``None`` where the labels are values of a regression."""
    different, classes, counts = np.unique(labels, return_inverse=True, return_counts=True)
    if labels.dtype.kind == "f":
        whole = bool((labels == np.floor(labels)).all())
        few = len(different) <= min(MAX_NUMBERED_CLASSES, len(labels) / ROWS_A_CLASS)
        if not (whole and few):
            return None
    if counts.min() < 2:
        raise InputError(
            f"{str(path)!r}: too few rows: the class {different[counts.argmin()]} of the target "
            f"{name!r} has one row, and each class needs one to train on and one to validate on. "
            "Add rows, or remove the class."
        )
    if len(different) > VALIDATION_SHARE * len(labels):
        raise InputError(
            f"{str(path)!r}: too few rows: {len(labels)} for {len(different)} classes of the "
            f"target {name!r}; the validation part, a fifth, must have room for every class. "
            "Add rows, or choose another target."
        )
    return classes.astype(np.int64)


def _constant(path: Path, name: str, value: Any) -> InputError:
    return InputError(
        f"{str(path)!r}: the target column {name!r} is constant, {value} in every row: one class "
        "only, or nothing to predict. Choose another column, or add rows."
    )
