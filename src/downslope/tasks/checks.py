"""Whether the parts of a task can be what they are said to be: one clear error for each."""

from __future__ import annotations

from collections.abc import Callable, Sized
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.utils.data import Dataset, IterableDataset, TensorDataset, default_collate

from ..errors import InputError, InputTypeError, is_whole, told
from ..randomness import randomness_restored
from .metrics import LOSS, Metric
from .preparation import Preparation

if TYPE_CHECKING:
    from .task import Task

__all__ = ["check_parts", "check_together"]

_MODEL = "a function that makes a fresh model, such as lambda: MyModel()"
_LOSS = "a function (outputs, targets) -> scalar, such as torch.nn.functional.cross_entropy"
_DATA = "a map-style data set of (input, target) pairs, such as a torch TensorDataset"
_PROBED = 2  # rows that the parts are tried on together


def check_parts(task: Task) -> None:
    """Refuse a task with a field of another kind than it should be; nothing is called.

    Raises:
        InputError: a value that is not allowed.
        InputTypeError: a field of another type.
    """
    if not isinstance(task.name, str) or not task.name.strip():
        raise InputError(f"Task: name must be a word, got {task.name!r}.")
    where = f"Task {task.name!r}"
    _check_function(where, "model", task.model, _MODEL)
    _check_function(where, "loss", task.loss, _LOSS)
    for part in ("train", "validation"):
        _check_data(f"{where}: {part}", getattr(task, part))
    metrics = (task.metric, *_several(where, task.metrics))
    for metric in metrics:
        if not isinstance(metric, Metric):
            raise InputTypeError(
                f"{where}: a metric must be a downslope.Metric(name, function, higher_is_better), "
                f"got {told(metric)}."
            )
    names = [LOSS, *(metric.name for metric in metrics)]
    for name in names[1:]:
        if names.count(name) > 1:
            raise InputError(
                f"{where}: the metric name {name!r} is given twice, or is the mean loss's own. "
                "Give each metric a name of its own."
            )
    for field in ("batch_size", "epochs"):
        value = getattr(task, field)
        if not is_whole(value, 1):
            raise InputError(
                f"{where}: {field} must be a whole number of at least 1, got {value!r}."
            )
    if not isinstance(task.kind, str):
        raise InputTypeError(
            f"{where}: kind must be 'classification', 'regression' or a word of your own, got "
            f"{task.kind!r}."
        )
    if task.preparation is not None and not isinstance(task.preparation, Preparation):
        raise InputTypeError(
            f"{where}: preparation must be a downslope.tasks.Preparation, got "
            f"{told(task.preparation)}."
        )


@torch.no_grad()
def check_together(task: Task) -> None:
    """Try model, loss and metrics on two validation rows, so that training need not find out.

    Nothing is kept, and nothing is drawn from the global generators.

    Raises:
        InputError: one of them fails, or gives something else than it should.
        InputTypeError: the model is no module.
    """
    where = f"Task {task.name!r}"
    with randomness_restored():
        inputs, targets = _rows(where, task.validation)
        _rows(where, task.train)
        model = _called(f"{where}: model()", task.model)
        if not isinstance(model, nn.Module):
            raise InputTypeError(
                f"{where}: model() must give a torch module, got {told(model)}. It must be "
                f"{_MODEL}."
            )
        given = f"inputs of shape {tuple(inputs.shape)} and type {inputs.dtype}"
        outputs = _called(f"{where}: the model, on {given},", model.eval(), inputs)
        if not isinstance(outputs, Tensor):
            raise InputTypeError(f"{where}: the model must give one tensor, got {told(outputs)}.")
        shapes = f"outputs {tuple(outputs.shape)} and targets {tuple(targets.shape)}"
        loss = _called(f"{where}: loss, on {shapes},", task.loss, outputs, targets)
        if not isinstance(loss, Tensor) or loss.numel() != 1:
            raise InputTypeError(
                f"{where}: loss must give one number as a tensor, the mean over the batch, got "
                f"{told(loss)}. It must be {_LOSS}."
            )
        for metric in (task.metric, *task.metrics):
            what = f"{where}: metric {metric.name!r}, on {shapes},"
            value = _called(what, metric.function, outputs.float(), targets)
            try:
                float(value)
            except (TypeError, ValueError, RuntimeError):
                raise InputTypeError(f"{what} must give one number, got {told(value)}.") from None


def _check_function(where: str, field: str, value: Any, wanted: str) -> None:
    if field == "model" and isinstance(value, nn.Module):
        raise InputTypeError(
            f"{where}: model must be {wanted}: each run begins with fresh weights; got a "
            f"{type(value).__name__} itself."
        )
    if field == "loss" and isinstance(value, type):
        raise InputTypeError(
            f"{where}: loss must be {wanted}; got the class {value.__name__}: write "
            f"{value.__name__}()."
        )
    if not callable(value):
        raise InputTypeError(f"{where}: {field} must be {wanted}, got {told(value)}.")


def _check_data(where: str, data: Any) -> None:
    iterable, tensor = isinstance(data, IterableDataset), isinstance(data, Tensor)
    rows = isinstance(data, Sized) and hasattr(data, "__getitem__")
    if iterable or tensor or not rows:
        more = ", which has no rows to choose from" if iterable else ""
        raise InputTypeError(f"{where} must be {_DATA}, got {told(data)}{more}.")
    if isinstance(data, TensorDataset) and len(data.tensors) != 2:
        raise InputError(
            f"{where} must be {_DATA} of two tensors, inputs and targets, got {len(data.tensors)}."
        )
    if len(data) == 0:
        raise InputError(f"{where} has no rows. Give {_DATA} with at least one.")


def _several(where: str, metrics: Any) -> tuple[Any, ...]:
    if not isinstance(metrics, tuple):
        raise InputTypeError(f"{where}: metrics must be a tuple of Metrics, got {told(metrics)}.")
    return metrics


def _rows(where: str, data: Dataset[Any]) -> tuple[Tensor, Tensor]:
    """The first rows of a data set, collated."""
    rows = range(min(_PROBED, len(data)))  # type: ignore[arg-type]  # check_parts saw a length
    read = _called(f"{where}: the first rows", lambda: default_collate([data[r] for r in rows]))
    pair = isinstance(read, (list, tuple)) and len(read) == 2
    if not pair or not all(isinstance(part, Tensor) for part in read):
        raise InputTypeError(
            f"{where}: a row must be an (input, target) pair of tensors or numbers, got "
            f"{told(data[0])}."
        )
    return read[0], read[1]


def _called(what: str, function: Callable[..., Any], *arguments: Any) -> Any:
    try:
        return function(*arguments)
    except (InputError, InputTypeError):
        raise
    except Exception as error:
        raise InputError(f"{what} failed: {type(error).__name__}: {error}") from error
