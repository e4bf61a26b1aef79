"""What is trained: a model factory, a loss, data and a metric.

Read ``task.py`` for the record itself and ``load.py`` for how a name becomes one.
"""

from .batches import BatchDataset, batches, permutation, size, steps, steps_in, subset
from .fingerprint import Fingerprinted, fingerprint
from .load import load_task
from .metrics import LOSS, Metric, accuracy, bits, rmse
from .preparation import FileBatch, ModelSource, Preparation, restored
from .task import Task

__all__ = [
    "LOSS",
    "BatchDataset",
    "FileBatch",
    "Fingerprinted",
    "Metric",
    "ModelSource",
    "Preparation",
    "Task",
    "accuracy",
    "batches",
    "bits",
    "fingerprint",
    "load_task",
    "permutation",
    "restored",
    "rmse",
    "size",
    "steps",
    "steps_in",
    "subset",
]
