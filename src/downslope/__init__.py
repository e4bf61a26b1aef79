"""Downslope: PyTorch optimizers at the speed of memory, and the way from a model to a trained run.

Names are imported when they are first used, so ``import downslope`` costs next to nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from .errors import DownslopeError
from .lazy import importer

if TYPE_CHECKING:
    from . import optim, schedules
    from .doctor import Advice, Doctor, Finding, advise, diagnose
    from .finder import RangeTest, find_lr
    from .monitor import Monitor
    from .report import write_report
    from .tasks import Metric, Task, load_task
    from .training import Recipe, Run, export, fit, predict, write_predictions
    from .tuning import Comparison, Study, compare, tune

__version__ = "0.1.0"

_HOME = {
    "optim": "optim",
    "schedules": "schedules",
    "Advice": "doctor",
    "advise": "doctor",
    "diagnose": "doctor",
    "Doctor": "doctor",
    "Finding": "doctor",
    "find_lr": "finder",
    "Monitor": "monitor",
    "RangeTest": "finder",
    "Task": "tasks",
    "Metric": "tasks",
    "load_task": "tasks",
    "Recipe": "training",
    "Run": "training",
    "fit": "training",
    "export": "training",
    "predict": "training",
    "write_predictions": "training",
    "write_report": "report",
    "compare": "tuning",
    "Comparison": "tuning",
    "Study": "tuning",
    "tune": "tuning",
}

__all__ = [
    "Advice",
    "Comparison",
    "Doctor",
    "DownslopeError",
    "Finding",
    "Metric",
    "Monitor",
    "RangeTest",
    "Recipe",
    "Run",
    "Study",
    "Task",
    "__version__",
    "advise",
    "compare",
    "diagnose",
    "export",
    "find_lr",
    "fit",
    "load_task",
    "optim",
    "predict",
    "schedules",
    "tune",
    "write_predictions",
    "write_report",
]


__getattr__ = importer(__name__, _HOME)


def __dir__() -> list[str]:
    return __all__
