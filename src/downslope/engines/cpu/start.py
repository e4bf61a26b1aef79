"""Start Numba, without what no kernel uses: half of the time of an optimizer's first step.

Numba's array functions import SciPy's linear algebra only to learn whether there is any; that it
is installed can be seen without importing it, and Numba asks again where it is used. And each full
garbage collection, of which so many imports set off several, searches all of torch.
"""

from __future__ import annotations

import gc
import importlib
import importlib.util
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

__all__ = ["start"]


def start() -> None:
    """Import all of Numba that the first compiled call would."""
    with _no_collection(), _no_linear_algebra():
        from numba.core.registry import cpu_target

        cpu_target.typing_context.refresh()
        cpu_target.target_context.refresh()


@contextmanager
def _no_collection() -> Iterator[None]:
    collects = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if not gc.get_freeze_count():
            # All that there is now counts as old: it is searched when much has been added to it,
            # not at once because so much is new.
            gc.freeze()
            gc.unfreeze()
        if collects:
            gc.enable()


@contextmanager
def _no_linear_algebra() -> Iterator[None]:
    arrays = "numba.np.arraymath"
    if arrays in sys.modules:
        yield
        return
    linalg: Any = importlib.import_module("numba.np.linalg")
    ask = linalg.ensure_blas

    def installed() -> None:
        if importlib.util.find_spec("scipy") is None:
            raise ImportError("SciPy is not installed")

    linalg.ensure_blas = installed
    try:
        module: Any = importlib.import_module(arrays)
        module.ensure_blas = ask
        yield
    finally:
        linalg.ensure_blas = ask
