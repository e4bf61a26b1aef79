"""The learning-rate range test: which learning rate to train with, and the curve that says so.

Read ``_find.py`` for what it takes and gives, ``_run.py`` for how it goes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..lazy import importer

if TYPE_CHECKING:
    from ._find import find_lr
    from ._range_test import RangeTest

__all__ = ["RangeTest", "find_lr"]

__getattr__ = importer(__name__, {"RangeTest": "_range_test", "find_lr": "_find"})


def __dir__() -> list[str]:
    return __all__
