"""Versions and machine, for the report and for whoever repeats a run."""

from __future__ import annotations

import os
import platform
from importlib.metadata import version
from typing import Any

import torch

__all__ = ["environment"]

_PACKAGES = ("downslope", "torch", "numpy", "numba")


def environment(device: torch.device) -> dict[str, Any]:
    """What a run's numbers and speed depend on, besides the recipe.

    >>> sorted(environment(torch.device("cpu")))
    ['cores', 'device', 'packages', 'platform', 'processor', 'python', 'threads']
    """
    cuda = device.type == "cuda"
    return {
        "python": platform.python_version(),
        "packages": {name: version(name) for name in _PACKAGES},
        "platform": f"{platform.system()} {platform.release()}",
        "processor": platform.processor() or platform.machine(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "device": torch.cuda.get_device_name(device) if cuda else device.type,
    }
