"""What is trained: a model factory, a loss, data and a metric, as one record."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from torch import Tensor, nn
from torch.utils.data import Dataset

from ..errors import InputTypeError, told, unknown
from .checks import check_parts
from .metrics import LOSS, Metric
from .preparation import Preparation

__all__ = ["LOSS", "Metric", "Task", "check_task"]


@dataclass(frozen=True, eq=False)
class Task:
    """Everything a training run needs to know about *what* is trained.

    Args:
        name: short name, used in records and in the run's directory.
        model: makes a fresh model; the caller seeds torch's global generator before the call.
        loss: ``(outputs, targets) -> scalar``, the mean over the batch.
        train: map-style data set of ``(input, target)``. A
            :class:`~torch.utils.data.TensorDataset` is read a batch at a time, in one indexing
            call; anything else goes through torch's usual collation.
        validation: as ``train``; never trained on.
        metric: what ``best`` means, unless the recipe says otherwise.
        metrics: further ones, measured and recorded at each validation.
        batch_size: used where the recipe names none.
        epochs: used where the recipe names none.
        kind: ``"classification"``, ``"regression"`` or a word of your own.
        train_rows: where the training rows stood in the source, in the order of ``train``.
        validation_rows: the same for ``validation``.
        source: the arguments of :func:`~downslope.tasks.load_task` that make this task again;
            empty for a task built in Python.
        preparation: how files become inputs and outputs answers, for predictions; its model is
            this task's. ``None``: nobody can predict without this task.

    Raises:
        InputError: a field whose value is not allowed.
        InputTypeError: a field of another type.

    >>> import torch
    >>> from torch.utils.data import TensorDataset
    >>> from downslope.tasks import rmse
    >>> x = torch.linspace(-1, 1, 8)[:, None]
    >>> line = TensorDataset(x, 2 * x)
    >>> task = Task(
    ...     name="line", model=lambda: torch.nn.Linear(1, 1), loss=torch.nn.functional.mse_loss,
    ...     train=line, validation=line, metric=Metric("rmse", rmse, higher_is_better=False),
    ...     batch_size=4, epochs=2, kind="regression",
    ... )
    >>> task.model()(x).shape
    torch.Size([8, 1])
    """

    name: str
    model: Callable[[], nn.Module]
    loss: Callable[[Tensor, Tensor], Tensor]
    train: Dataset[tuple[Tensor, ...]]
    validation: Dataset[tuple[Tensor, ...]]
    metric: Metric
    batch_size: int
    epochs: int
    kind: str
    metrics: tuple[Metric, ...] = ()
    train_rows: tuple[int, ...] = ()
    validation_rows: tuple[int, ...] = ()
    source: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))
    preparation: Preparation | None = None

    def __post_init__(self) -> None:
        check_parts(self)

    def judge(self, name: str | None = None) -> Metric:
        """The metric of that name, or ``"loss"``; the task's own without a name.

        Raises:
            InputError: there is none of that name.
        """
        metrics = {m.name: m for m in (self.metric, *self.metrics)}
        if name is None:
            return self.metric
        if name == LOSS:
            return Metric(LOSS, _no_function, higher_is_better=False)
        if name not in metrics:
            raise unknown(f"metric of {self.name!r}", name, [*metrics, LOSS])
        return metrics[name]


def _no_function(outputs: Tensor, targets: Tensor) -> float:
    """Stand where the value is not made from outputs: the mean loss is known already."""
    raise NotImplementedError("the validation loss is the mean of the batches' losses")


def check_task(task: object) -> None:
    """Raise for what is no task; where it is a name, say how a task is made of it.

    >>> check_task("digits")
    Traceback (most recent call last):
    downslope.errors.InputTypeError: The task must be a downslope.Task, got str 'digits'. ...
    """
    if not isinstance(task, Task):
        name = repr(task) if isinstance(task, str) else '"digits"'
        raise InputTypeError(
            f"The task must be a downslope.Task, got {told(task)}. Make one, such as "
            f"downslope.load_task({name}), or downslope.Task(...) of your own parts."
        )
