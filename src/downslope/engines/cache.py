"""Generated kernels on disk: written once, under a name that is the hash of all that changes them.

A kernel is a real source file, so tracebacks, debuggers and Numba's own on-disk cache (which lies
beside it) work. Files appear by an atomic rename: any number of processes may generate at once.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
import sys
import tempfile
from functools import lru_cache
from pathlib import Path
from types import ModuleType

from ..errors import EngineError

__all__ = ["folder", "load"]


@lru_cache(maxsize=1)
def folder() -> Path:
    """Where kernels are kept: ``$DOWNSLOPE_CACHE``, else ``downslope`` in the user's cache folder.

    Code is loaded from it, so it must belong to this user alone; it is made with mode 700.
    """
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    path = Path(os.environ.get("DOWNSLOPE_CACHE") or Path(base) / "downslope") / "kernels"
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        writable = os.access(path, os.W_OK)
    except OSError:
        writable = False
    if not writable:
        raise EngineError(
            f"Compiled kernels are kept in {path}, which cannot be written. "
            "Set DOWNSLOPE_CACHE to a folder of yours that can be."
        )
    if hasattr(os, "getuid") and path.stat().st_uid != os.getuid():
        raise EngineError(
            f"Compiled kernels are loaded from {path}, which belongs to another user. "
            "Set DOWNSLOPE_CACHE to a folder of yours."
        )
    return path


def load(text: str, stamp: str) -> ModuleType:
    """Import generated source.

    Args:
        text: the module.
        stamp: everything else that changes what it compiles to: library text, versions.
    """
    name = "downslope_kernel_" + hashlib.sha256(f"{stamp}\0{text}".encode()).hexdigest()[:24]
    if name in sys.modules:
        return sys.modules[name]
    path = folder() / f"{name}.py"
    if not path.exists():
        handle, temporary = tempfile.mkstemp(dir=path.parent, suffix=".tmp")
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)
        Path(temporary).replace(path)
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise EngineError(f"The generated kernel {path} cannot be imported; remove it.")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    sys.modules[name] = module
    return module
