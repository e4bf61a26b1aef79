"""The learning-rate range test: which learning rate to train with, and the curve that says so."""

from __future__ import annotations

from ._find import find_lr
from ._range_test import RangeTest

__all__ = ["RangeTest", "find_lr"]
