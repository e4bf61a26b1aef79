"""The optimizers that torch does not have, or has apart: a file holds a few with their oracles.

An oracle is the paper's formula once more, naively, in NumPy; see ``oracles.py``. Every
:class:`Entry` of a module here is collected.
"""

from __future__ import annotations

import importlib
import pkgutil

from ..entry import Entry

__all__ = ["ENTRIES"]

ENTRIES: tuple[Entry, ...] = tuple(
    value
    for module in pkgutil.iter_modules(__path__)
    for value in vars(importlib.import_module(f"{__name__}.{module.name}")).values()
    if isinstance(value, Entry)
)
