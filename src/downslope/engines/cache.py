"""Generated kernels on disk: written once, under a name that is the hash of all that changes them.

A kernel is a real source file, so tracebacks, debuggers and Numba's own on-disk cache (which lies
beside it) work. Files appear by an atomic rename: any number of processes may generate at once.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
import re
import sys
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from types import ModuleType

from ..errors import EngineError
from ..files import cache_home

__all__ = ["Kernel", "clear", "folder", "kernels", "load"]

_PREFIX = "downslope_kernel_"
#: Every file of a kernel: its source, its bytecode, Numba's index and code, an unfinished source.
_OURS = re.compile(
    _PREFIX
    + r"(?P<hash>[0-9a-f]{24})(\.py|\.cpython-[\w.-]+\.pyc(\.\d+)?|\.[\w.-]+\.nb[ci](\.tmp\.\w+)?)"
)
_UNFINISHED = re.compile(_PREFIX + r"\w+\.tmp")
_TITLE = re.compile(r'"""(?P<rule>\w+)[^\n]*Generated from the formula')


@dataclass(frozen=True)
class Kernel:
    """One generated source file with what Python and Numba made of it.

    Args:
        path: the source.
        rule: the name of its formula; empty where the source is gone or says none.
        files: all files, the source among them.
        size: their bytes.
        made: when the newest of them was written, in seconds since the epoch.
    """

    path: Path
    rule: str
    files: tuple[Path, ...]
    size: int
    made: float


@lru_cache(maxsize=1)
def folder() -> Path:
    """Where kernels are kept: ``$DOWNSLOPE_CACHE``, else ``downslope`` in the user's cache folder.

    Code is loaded from it, so it must belong to this user alone; it is made with mode 700.
    """
    path = cache_home() / "kernels"
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
    name = _PREFIX + hashlib.sha256(f"{stamp}\0{text}".encode()).hexdigest()[:24]
    if name in sys.modules:
        return sys.modules[name]
    path = folder() / f"{name}.py"
    if not path.exists():
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=_PREFIX, suffix=".tmp")
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


def kernels() -> list[Kernel]:
    """Every kernel in :func:`folder`; files of other names are not looked at."""
    found: dict[str, list[Path]] = {}
    for path in _files():
        match = _OURS.fullmatch(path.name)
        if match:
            found.setdefault(match["hash"], []).append(path)
    return [kernel for name, files in sorted(found.items()) if (kernel := _kernel(name, files))]


def clear() -> int:
    """Remove every kernel, and nothing else; return the bytes that were freed.

    A process that has loaded a kernel goes on with it; the next one prints and compiles anew.
    """
    freed = 0
    for path in _files():
        if _OURS.fullmatch(path.name) or _UNFINISHED.fullmatch(path.name):
            with suppress(FileNotFoundError):  # another process was first
                size = path.lstat().st_size
                path.unlink()
                freed += size
    return freed


def _files() -> Iterator[Path]:
    for place in (folder(), folder() / "__pycache__"):
        if place.is_dir() and not place.is_symlink():
            yield from (path for path in place.iterdir() if path.is_file() or path.is_symlink())


def _kernel(name: str, files: list[Path]) -> Kernel | None:
    source = folder() / f"{_PREFIX}{name}.py"
    stats, rule = [], ""
    with suppress(FileNotFoundError):  # another process removes it
        with source.open(encoding="utf-8", errors="replace") as file:
            title = _TITLE.match(file.readline())
        rule = title["rule"] if title else ""
    for path in files:
        with suppress(FileNotFoundError):
            stats.append(path.lstat())
    if not stats:
        return None
    made = max(s.st_mtime for s in stats)
    return Kernel(source, rule, tuple(files), sum(s.st_size for s in stats), made)
