"""Small problems drawn at random: functions to fit, tables of about a hundred rows, regions.

The kinds of which ``drawn.py`` and ``wide.py`` have too few: losses that stay on a plateau for a
while and then fall without end, and tables whose validation rows are unlike any row held out.
"""

from __future__ import annotations

import math
from functools import cache, partial

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import nn

from .networks import mlp
from .problems import Data, Problem, classification, split

__all__ = ["SMALL", "draw"]

FIRST_SEED, COUNT = 5000, 60
MORE_SEED, MORE_COUNT = 6000, 14  # drawn later, to judge by at first
KINDS = ("function", "function", "function", "table", "table", "regions")
ACTIVATIONS = (nn.ReLU, nn.Tanh, nn.GELU, nn.SiLU)

Array = NDArray[np.float64]


def _function(rng: np.random.Generator, x: Array) -> Array:
    """A function of one or two numbers: waves, bumps, kinks, steps, polynomials."""
    along = x @ rng.normal(size=(x.shape[1], 3)) / math.sqrt(x.shape[1])
    shape = rng.integers(5)
    if shape == 0:
        y = np.sin(along * 10 ** rng.uniform(0.2, 1.1) + rng.uniform(0, 6, 3))
    elif shape == 1:
        y = np.exp(-((along - rng.uniform(-0.7, 0.7, 3)) ** 2) * 10 ** rng.uniform(0, 1.5, 3))
    elif shape == 2:
        y = np.abs(along - rng.uniform(-0.7, 0.7, 3))
    elif shape == 3:
        y = np.tanh((along - rng.uniform(-0.7, 0.7, 3)) * 10 ** rng.uniform(0, 1, 3))
    else:
        y = np.cos(rng.integers(2, 8, 3) * np.arccos(np.clip(along, -1, 1)))  # Chebyshev's
    return np.asarray(y @ rng.normal(size=(3, 1)))


def _regions(rng: np.random.Generator, x: Array) -> Array:
    """Which ring, which square of a board, or which side of a wave a point of the plane is in."""
    shape, count = rng.integers(3), int(rng.integers(2, 5))
    if shape == 0:
        place = np.hypot(x[:, 0], x[:, 1]) * rng.uniform(1.5, 4)
    elif shape == 1:
        place = np.floor(x * rng.uniform(0.8, 2)).sum(1)
    else:
        place = 2 * x[:, 1] + np.sin(x[:, 0] * rng.uniform(2, 6))
    return np.asarray(np.floor(place) % count)


@cache
def _data(seed: int) -> Data:
    rng, kind = np.random.default_rng((seed, 6)), _kind(seed)
    rows = round(10 ** rng.uniform(1.9, 2.6 if kind != "regions" else 3.0))
    if kind == "function":
        x = rng.uniform(-1, 1, (rows, int(rng.choice([1, 1, 2]))))
        y = _function(rng, x)
        y = (y - y.mean()) / y.std() + rng.choice([0, 0, 0, 0.1, 0.3]) * rng.normal(size=y.shape)
        y, x = y * rng.choice([0.3, 1, 1, 3]), x * 10 ** rng.uniform(-0.2, 0.6)
        return split(torch.tensor(x).float(), torch.tensor(y).float())
    if kind == "regions":
        x = rng.normal(size=(rows, 2))
        labels = _regions(rng, x)
    else:  # a cloud for each class, of another shape each
        classes, width = int(rng.integers(2, 6)), int(rng.integers(3, 16))
        labels = rng.integers(0, classes, rows)
        shapes = rng.normal(size=(classes, width, width)) / math.sqrt(width)
        centres = rng.normal(size=(classes, width)) * 10 ** rng.uniform(-0.5, 0.4)
        x = np.einsum("nij,nj->ni", shapes[labels], rng.normal(size=(rows, width)))
        x = x + centres[labels]
        x = (x - x.mean(0)) / x.std(0)
    wrong = rng.random(rows) < rng.choice([0, 0, 0.03, 0.1])
    labels = np.where(wrong, rng.permutation(labels), labels)
    return split(torch.tensor(x).float(), torch.tensor(labels).long())


def _kind(seed: int) -> str:
    return KINDS[seed % len(KINDS)]


def draw(seed: int) -> Problem:
    """A problem that depends on the seed alone."""
    rng, data = np.random.default_rng((seed, 7)), _data(seed)
    values, rows = data.targets.is_floating_point(), len(data.inputs)
    outputs = 1 if values else int(data.targets.max()) + 1
    width, depth = int(rng.choice([16, 32, 64])), int(rng.integers(1, 5))
    sizes = (data.inputs.shape[1], *[width] * depth, outputs)
    model = partial(mlp, *sizes, activation=ACTIVATIONS[rng.integers(4)])
    batch = int(rng.choice([*(b for b in (8, 16, 32, 64) if b <= rows // 2), rows]))
    loss = F.mse_loss if values else classification
    return Problem(f"small {seed}", partial(_data, seed), model, loss, (batch, batch))


SMALL = tuple(
    draw(seed)
    for first, count in ((FIRST_SEED, COUNT), (MORE_SEED, MORE_COUNT))
    for seed in range(first, first + count)
)
