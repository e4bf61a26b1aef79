"""What the figures were measured on, and how fast its memory is."""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numba
import torch

__all__ = ["bandwidth", "describe", "seconds"]


def describe() -> dict[str, Any]:
    """The processor, its caches, the memory and the versions; no names of hosts or users."""
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text(encoding="utf-8").splitlines() if cpuinfo.exists() else []
    models = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    pages = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return {
        "processor": models[0] if models else platform.processor(),
        "cores": os.cpu_count(),
        "vectors": torch.backends.cpu.get_cpu_capability(),
        "memory_gb": round(pages / 1e9),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "torch": torch.__version__,
        "numba": numba.__version__,
    }


def seconds(act: Callable[[], object], times: int = 1) -> float:
    """The mean time of one call among ``times``."""
    begun = time.perf_counter()
    for _ in range(times):
        act()
    return (time.perf_counter() - begun) / times


def bandwidth(megabytes: int = 256, samples: int = 9) -> dict[str, float]:
    """Bytes a second of torch's ``c = a``, ``c = a + 3 b`` and ``a = a + 3 b``, on its threads.

    The last writes only what it has read, as an optimizer's step does. The others also fetch each
    line of ``c`` before they overwrite it, which is not counted, so they look slower.

    Args:
        megabytes: the size of each array, far above any cache.
        samples: how many are taken; the fastest counts, as in STREAM.
    """
    a = torch.ones(megabytes * 2**20 // 4)
    b, c = torch.ones_like(a), torch.empty_like(a)
    kinds: dict[str, tuple[int, Callable[[], object]]] = {
        "copy": (2, lambda: c.copy_(a)),
        "triad": (3, lambda: torch.add(a, b, alpha=3, out=c)),
        "update": (3, lambda: a.add_(b, alpha=3)),
    }
    measured = {}
    for name, (arrays, act) in kinds.items():
        act()
        measured[name] = arrays * a.nbytes / min(seconds(act) for _ in range(samples))
    return measured
