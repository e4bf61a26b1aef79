"""Choosing by experiment: comparisons of optimizers, and searches over recipes.

Read ``_compare.py`` first: the phases of a comparison in their order. Decisions are pure functions
(``plan.py``, ``statistics.py``); ``work.py`` is what a worker does, ``comparison.py`` the result.
A search begins in ``_tune.py``; Optuna's part of it is ``search.py``.
"""

from typing import TYPE_CHECKING

from ..lazy import importer

if TYPE_CHECKING:
    from ._compare import compare
    from ._tune import tune
    from .comparison import Comparison
    from .space import Dimension, space_of
    from .study import Study, Verdict

_HOME = {
    "Comparison": "comparison",
    "compare": "_compare",
    "Dimension": "space",
    "space_of": "space",
    "Study": "study",
    "tune": "_tune",
    "Verdict": "study",
}

__all__ = ["Comparison", "Dimension", "Study", "Verdict", "compare", "space_of", "tune"]

__getattr__ = importer(__name__, _HOME)


def __dir__() -> list[str]:
    return __all__
