"""What is trained: a model factory, a loss, data and a metric.

Read ``task.py`` for the record itself and ``load.py`` for how a name becomes one.
"""

from .batches import batches, permutation, size
from .load import load_task
from .metrics import accuracy, rmse
from .task import Metric, Task

__all__ = [
    "Metric",
    "Task",
    "accuracy",
    "batches",
    "load_task",
    "permutation",
    "rmse",
    "size",
]
