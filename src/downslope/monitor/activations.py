"""What the tensors of a forward pass are like: inputs, activations, outputs.

Where a CPU tensor lies in one piece, one compiled call reads it (``compiled_pass.py``); torch's
operations measure the same of all others.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from functools import cache
from types import ModuleType
from typing import Any

import numpy as np
import torch
from torch import Tensor

from .forms import Part

__all__ = [
    "FACTS",
    "INPUT",
    "KINDS",
    "LEAST_ROWS",
    "OUTPUT",
    "RANGES",
    "Facts",
    "activation_facts",
    "first_tensor",
    "input_facts",
    "output_facts",
]

Facts = tuple[Part, tuple[float, ...]]  #: the numbers may not be finite

#: tanh'(x) and sigmoid'(x) are below 5% of their largest value beyond these outputs.
TANH_FLAT, SIGMOID_FLAT = 0.975, 0.0127
#: The outputs between which a kind of activation is not saturated.
RANGES = {"tanh": (-TANH_FLAT, TANH_FLAT), "sigmoid": (SIGMOID_FLAT, 1 - SIGMOID_FLAT)}
#: What is known of each kind of activation.
FACTS = {"relu": ("dead", "zero"), "tanh": ("saturated",), "sigmoid": ("saturated",)}
#: The kind of each of torch's functions.
KINDS = {
    **dict.fromkeys(("relu", "relu_", "relu6", "threshold"), "relu"),
    **dict.fromkeys(("tanh", "tanh_"), "tanh"),
    **dict.fromkeys(("sigmoid", "sigmoid_"), "sigmoid"),
}

_SPREAD = ("rows", "checksum", "largest", "std_max", "std_min", "std_ratio", "mean_over_std")
_ROWS, _SIZE, INPUT = (Part(("input",), _SPREAD[:count]) for count in (2, 3, 7))
_SCALE = Part(("output",), ("rows", "scale"))
OUTPUT = Part(("output",), ("rows", "scale", "spread"))
LEAST_ROWS = 4  # for deviations of features


def first_tensor(value: Any) -> Tensor | None:
    """The first tensor in nested tuples, lists and dicts, depth first."""
    return value if type(value) is Tensor else next(tensors(value), None)


def tensors(value: Any) -> Iterator[Tensor]:
    """All tensors in nested tuples, lists and dicts, depth first."""
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, dict):
        for item in value.values():
            yield from tensors(item)
    elif isinstance(value, (tuple, list)):
        for item in value:
            yield from tensors(item)


@cache
def _compiled() -> ModuleType:
    from . import compiled_pass  # imports Numba

    return compiled_pass


def _units(values: Tensor) -> Tensor:
    """Reshaped to [rows, units]: a unit is a channel of an image or volume, else a last index."""
    if values.dim() >= 4:
        values = values.movedim(1, -1)
    return values.reshape(-1, values.shape[-1]) if values.dim() > 1 else values.reshape(-1, 1)


def input_facts(value: Tensor) -> Facts:
    """Rows, and for floating-point inputs the spread, middle and largest value of their features.

    ``std_ratio`` is the largest over the smallest standard deviation of the features that vary;
    ``mean_over_std`` the median distance of a feature's mean from zero, in its own deviations.
    ``checksum`` is the sum of the first row: it tells one batch from another, also where a batch
    is all the data in another order.
    """
    rows = value.shape[0] if value.dim() else 1
    found = _compiled().inputs(value) if value.is_cpu else None
    if found is None:
        return _input_facts(value, rows)
    count, checksum, largest, high, low, away = found
    if count < LEAST_ROWS or math.isnan(low):
        return _SIZE, (rows, checksum, largest)
    return INPUT, (rows, checksum, largest, high, low, high / low, away)


@torch.no_grad()
def _input_facts(value: Tensor, rows: int) -> Facts:
    first = value[:1] if value.dim() else value
    checksum = float(first.sum())
    if not value.is_floating_point():
        return _ROWS, (rows, checksum)
    units = _units(value.detach().float())
    largest = float(torch.linalg.vector_norm(units, math.inf)) if units.numel() else 0.0
    # Few numbers from here on, for which NumPy is several times as fast.
    var, mean = (v.cpu().numpy() for v in torch.var_mean(units, 0, correction=0))
    std = np.sqrt(var)
    varies = std > 1e-6 * largest
    if len(units) < LEAST_ROWS or not varies.any():
        return _SIZE, (rows, checksum, largest)
    std, mean = std[varies], mean[varies]
    high, low = float(std.max()), float(std.min())
    away = float(np.sort(np.abs(mean) / std)[(len(std) - 1) // 2])
    return INPUT, (rows, checksum, largest, high, low, high / low, away)


def output_facts(value: Tensor) -> Facts:
    """Size of the outputs, and how much they differ between rows.

    ``spread`` is the root mean square over units of the deviation over rows; ``scale`` the root
    mean square of all outputs.
    """
    found = _compiled().moments(value) if value.is_cpu else None
    rows, noise, size = _moments(value) if found is None else found
    if rows < 2:
        return _SCALE, (rows, math.sqrt(noise + size))
    return OUTPUT, (rows, math.sqrt(noise + size), math.sqrt(noise))


@torch.no_grad()
def _moments(value: Tensor) -> tuple[int, float, float]:
    """Rows; means over units of their variances and squared means."""
    units = _units(value.detach().float())
    var, mean = torch.var_mean(units, 0, correction=0)
    noise, size = torch.stack([var.mean(), mean.square().mean()]).tolist()
    return len(units), noise, size


def activation_facts(kind: str, value: Tensor) -> tuple[float, ...]:
    """The shares that :data:`FACTS` names, of units or numbers."""
    found: tuple[float, ...] | None = None
    if value.is_cpu:
        if kind == "relu":
            found = _compiled().relu(value)
        else:
            found = _compiled().saturated(value, *RANGES[kind])
    return _activation_facts(kind, value) if found is None else found


@torch.no_grad()
def _activation_facts(kind: str, value: Tensor) -> tuple[float, ...]:
    # A limit would be rounded to 16 bits as well.
    units = _units(value.detach() if value.element_size() > 2 else value.detach().float())
    count = max(1, units.numel())
    if kind == "relu":
        alive = (units > 0).sum(0)
        dead, positive = torch.stack([(alive == 0).sum(), alive.sum()]).tolist()
        return dead / max(1, len(alive)), 1 - positive / count
    low, high = RANGES[kind]
    return (int(((units < low) | (units > high)).sum()) / count,)
