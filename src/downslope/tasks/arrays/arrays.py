"""Arrays of inputs and targets as a task."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import TensorDataset

from ...errors import InputError
from ..length import epochs_for
from ..metrics import Metric, accuracy, rmse
from ..preparation import ModelSource
from ..split import VALIDATION_SHARE, Rows, split_rows
from ..tables.model import EPOCHS, HIDDEN_PRIOR, ROWS_A_UNIT, batch_size_for, power_of_two
from ..tables.target import MAX_NUMBERED_CLASSES, ROWS_A_CLASS
from ..task import Task
from .file import find_pair, numbers, read_arrays
from .preparation import ArrayPreparation

__all__ = ["arrays"]

MIN_ROWS = 10
MOST_DROPOUT = 0.5
WIDTH = (32, 256)  # fewest and most units of a hidden layer

Array = NDArray[Any]
Floats = NDArray[np.float64]


def arrays(path: Path, target: str | None, seed: int) -> Task:
    """A task from a ``.npy``, ``.npz`` or ``.safetensors`` file: an MLP on inputs of any shape.

    A file of several arrays has one of inputs and one of targets, by their usual names (``x`` and
    ``y``, ``inputs`` and ``targets``...) or by ``target``. A file of a single array is a table of
    numbers; ``target`` is the column's number, -1 the last. Whole numbers in it are classes where
    those of a CSV file would be.

    The targets' type decides what is trained: text, whole numbers and booleans are classes, floats
    are values of a regression, one or several a row. A fifth of the rows is the validation part,
    drawn by ``seed`` and, for classes, stratified. Inputs are standardised by the training part:
    each column of a matrix, all numbers alike where inputs have more dimensions.

    Raises:
        InputError: the file or an array in it cannot be used; the message names the place.
        MissingExtraError: scikit-learn or safetensors is not installed.
    """
    found = read_arrays(path)
    column: int | None = None
    if set(found) == {""}:
        inputs, targets, column = _from_one(path, found[""], target)
        input_name = target_name = ""
    else:
        input_name, target_name = find_pair(path, found, target)
        inputs, targets = found[input_name], found[target_name]
    _check_rows(path, inputs, targets)
    values = numbers(path, input_name, inputs)
    goal = _goal(path, target_name, targets)
    train, validation = split_rows(len(inputs), seed, classes=goal.classes)
    goal = goal.standardised(path, train)
    axis = 0 if inputs.ndim == 2 else None
    mean, deviation = _moments(values[train], axis)
    arguments = {
        "features": math.prod(inputs.shape[1:]),
        "outputs": goal.outputs,
        "width": power_of_two(len(train) / ROWS_A_UNIT, *WIDTH),
        "dropout": min(MOST_DROPOUT, HIDDEN_PRIOR / (len(train) + HIDDEN_PRIOR)),
    }
    preparation = ArrayPreparation(
        ModelSource("mlp", arguments),
        shape=inputs.shape[1:],
        column=column,
        target=target_name or f"column_{column}",
        mean=mean,
        deviation=deviation,
        classes=goal.words,
        target_mean=goal.mean,
        target_deviation=goal.deviation,
    )
    x, y = preparation.inputs(path, input_name, inputs), goal.targets
    batch_size = batch_size_for(len(train))
    return Task(
        name=path.stem,
        model=preparation.model,
        loss=F.mse_loss if goal.words is None else F.cross_entropy,
        train=TensorDataset(x[train], y[train]),
        validation=TensorDataset(x[validation], y[validation]),
        metric=goal.metric,
        batch_size=batch_size,
        epochs=epochs_for(len(train), batch_size, fewest=EPOCHS),
        kind="regression" if goal.words is None else "classification",
        train_rows=tuple(train.tolist()),
        validation_rows=tuple(validation.tolist()),
        source={"spec": str(path.resolve()), "target": target, "seed": seed},
        preparation=preparation,
    )


@dataclass(frozen=True)
class _Goal:
    """What the targets make of the task: classes with their words, or values."""

    name: str
    values: Floats | None = None
    classes: Rows | None = None
    words: tuple[str, ...] | None = None
    mean: tuple[float, ...] = ()
    deviation: tuple[float, ...] = ()

    @property
    def outputs(self) -> int:
        """Of the model."""
        return len(self.words) if self.words is not None else len(self.mean)

    @property
    def targets(self) -> Tensor:
        """As the loss takes them."""
        if self.values is None:
            return torch.from_numpy(self.classes)
        return torch.from_numpy(((self.values - self.mean) / self.deviation).astype(np.float32))

    @property
    def metric(self) -> Metric:
        """Accuracy; or the RMSE, in the target's unit where it is one value."""
        if self.values is None:
            return Metric("accuracy", accuracy, higher_is_better=True)
        unit = self.deviation[0] if len(self.deviation) == 1 else 1.0
        return Metric("rmse", partial(rmse, unit=unit), higher_is_better=False)

    def standardised(self, path: Path, train: Rows) -> _Goal:
        """With mean and deviation of the training part."""
        if self.values is None:
            return self
        mean, deviation = _moments(self.values[train], axis=0)
        if min(deviation) == 0:
            raise InputError(
                f"{str(path)!r}: a target in {self.name!r} is constant, {mean[deviation.index(0)]} "
                "in every row: there is nothing to predict."
            )
        return _Goal(self.name, self.values, None, None, mean, deviation)


def _from_one(path: Path, array: Array, target: str | None) -> tuple[Array, Array, int]:
    """Inputs, targets and the column of a single array."""
    if array.ndim != 2 or array.shape[1] < 2:
        raise InputError(
            f"{str(path)!r} holds one array of shape {array.shape}: a table of rows and columns is "
            "wanted, or a .npz file of inputs and targets."
        )
    last = array.shape[1] - 1
    try:
        column = range(last + 1)[int(target or "")]
    except (ValueError, IndexError):
        raise InputError(
            f"{str(path)!r} holds one array of {last + 1} columns: say which one is the target by "
            f"its number, from 0 to {last}, or -1 for the last (--target -1), got {target!r}."
        ) from None
    targets = numbers(path, "", array[:, column])
    whole = bool((targets == np.floor(targets)).all())
    few = len(np.unique(targets)) <= min(MAX_NUMBERED_CLASSES, len(targets) / ROWS_A_CLASS)
    inputs = np.delete(array, column, axis=1)
    return inputs, targets.astype(np.int64) if whole and few else targets, column


def _check_rows(path: Path, inputs: Array, targets: Array) -> None:
    if len(inputs) < MIN_ROWS:
        raise InputError(
            f"{str(path)!r} has {len(inputs)} rows: too few. At least {MIN_ROWS} are needed to "
            "train and to validate."
        )
    if inputs.ndim < 2 or 0 in inputs.shape:
        raise InputError(
            f"{str(path)!r}: inputs need a row for each target and a column for each feature, got "
            f"the shape {inputs.shape}."
        )


def _goal(path: Path, name: str, targets: Array) -> _Goal:
    """Classes, where the targets are text or whole; values otherwise."""
    flat = targets[:, 0] if targets.ndim == 2 and targets.shape[1] == 1 else targets
    if flat.dtype.kind == "f":
        if flat.ndim > 2:
            raise InputError(
                f"{str(path)!r}, array {name!r}: targets of a regression are one value a row, or "
                f"several, got the shape {targets.shape}."
            )
        return _Goal(name, values=numbers(path, name, flat.reshape(len(flat), -1)))
    if flat.ndim != 1 or flat.dtype.kind not in "iubUS":
        raise InputError(
            f"{str(path)!r}, array {name!r}: targets must be classes, one a row, or floats, got "
            f"the type {targets.dtype} and the shape {targets.shape}."
        )
    different, classes, counts = np.unique(flat, return_inverse=True, return_counts=True)
    if len(different) < 2:
        raise InputError(
            f"{str(path)!r}, array {name!r}: every row has the class {different[0]}: there is "
            "nothing to predict."
        )
    if counts.min() < 2 or len(different) > VALIDATION_SHARE * len(flat):
        raise InputError(
            f"{str(path)!r}, array {name!r}: too few rows: {len(flat)} for {len(different)} "
            f"classes, and {counts.min()} of the class {different[counts.argmin()]}. Give more, or "
            "floats for a regression."
        )
    words = tuple(w.decode() if isinstance(w, bytes) else str(w) for w in different.tolist())
    return _Goal(name, classes=classes.astype(np.int64), words=words)


def _moments(values: Floats, axis: int | None) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and standard deviation, which is exactly 0 where all are equal, as plain numbers."""
    unit = 2.0 ** np.frexp(np.abs(values).max())[1]  # or squares of 1e200 would overflow
    scaled = values / unit
    mean = np.atleast_1d(scaled.mean(axis=axis) * unit)
    deviation = np.where(np.ptp(scaled, axis=axis) == 0, 0.0, scaled.std(axis=axis) * unit)
    return tuple(mean.tolist()), tuple(np.atleast_1d(deviation).tolist())
