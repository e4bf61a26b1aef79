"""What is trained: a model factory, a loss, data and a metric, as one record."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from torch import Tensor, nn
from torch.utils.data import Dataset

__all__ = ["Metric", "Task"]


@dataclass(frozen=True)
class Metric:
    """A number that says how good the outputs on the whole validation part are.

    Args:
        name: shown in records, curves and the report, such as ``"accuracy"``.
        function: ``(outputs, targets) -> float``, called once with all rows of the validation
            part on the CPU.
        higher_is_better: whether a larger value is the better one.

    >>> from downslope.tasks import accuracy
    >>> Metric("accuracy", accuracy, higher_is_better=True).better(0.9, than=0.8)
    True
    """

    name: str
    function: Callable[[Tensor, Tensor], float]
    higher_is_better: bool

    def better(self, value: float, *, than: float | None) -> bool:
        """Whether ``value`` is strictly better than the best so far (``None``: nothing yet)."""
        if than is None:
            return True
        return value > than if self.higher_is_better else value < than


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
        metric: what ``best`` means.
        batch_size: used where the recipe names none.
        epochs: used where the recipe names none.
        kind: ``"classification"``, ``"regression"`` or a word of your own.
        train_rows: where the training rows stood in the source, in the order of ``train``.
        validation_rows: the same for ``validation``.
        source: the arguments of :func:`~downslope.tasks.load_task` that make this task again;
            empty for a task built in Python.

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
    train_rows: tuple[int, ...] = ()
    validation_rows: tuple[int, ...] = ()
    source: Mapping[str, str | int | None] = field(default_factory=lambda: MappingProxyType({}))
