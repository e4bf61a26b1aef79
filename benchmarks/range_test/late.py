"""Problems drawn at random whose loss stays on a plateau before it falls: what a short race misses.

Fast waves, spirals and boards for deep networks, signs of products, values remembered from earlier
in a sequence, textures that are told apart by nothing but their grain.
"""

from __future__ import annotations

import math
from functools import cache, partial

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import nn

from .networks import Gru, cnn, mlp
from .problems import Data, Problem, classification, split

__all__ = ["LATE", "draw"]

FIRST_SEED, COUNT = 7000, 48
MORE_SEED, MORE_COUNT = 8000, 16  # drawn later, to judge by at first
KINDS = ("waves", "waves", "spirals", "signs", "products", "waves", "textures", "memory")
ACTIVATIONS = (nn.ReLU, nn.Tanh, nn.GELU, nn.SiLU)
LENGTH = 8  # of a sequence

Array = NDArray[np.float64]


def _values(rng: np.random.Generator, kind: str, rows: int) -> Data:
    """Values: waves of one or two numbers, products of a few."""
    if kind == "waves":
        x = rng.uniform(-1, 1, (rows, int(rng.choice([1, 1, 2]))))
        along = x @ rng.normal(size=(x.shape[1], 2))
        bent = along + rng.uniform(0, 1) * along * np.abs(along)
        y = np.sin(bent * rng.uniform(3, 12) + rng.uniform(0, 6, 2)).sum(1, keepdims=True)
    else:
        x = rng.normal(size=(rows, int(rng.integers(3, 9))))
        y = x[:, : int(rng.integers(2, 4))].prod(1, keepdims=True).clip(-4, 4)
    y = y / y.std() * rng.choice([0.5, 1, 1, 2])
    y = y + rng.choice([0, 0, 0, 0.1]) * rng.normal(size=y.shape)
    return split(torch.tensor(x).float(), torch.tensor(y).float())


def _labels(rng: np.random.Generator, kind: str, rows: int) -> Data:
    """Classes: arms of a spiral or squares of a board, or the sign of a product."""
    if kind == "signs":
        x = rng.choice([-1.0, 1.0], (rows, int(rng.integers(4, 11))))
        labels = (x[:, : int(rng.integers(2, 4))].prod(1) > 0).astype(int)
        x = x + 0.1 * rng.normal(size=x.shape)
    elif rng.random() < 0.7:
        arms, turns = int(rng.integers(2, 5)), rng.uniform(0.6, 1.6)
        far = rng.uniform(0.1, 1, rows)
        labels = rng.integers(0, arms, rows)
        angle = 2 * math.pi * (turns * far + labels / arms)
        x = rng.uniform(0.7, 2) * far[:, None] * np.stack([np.cos(angle), np.sin(angle)], 1)
        x = x + 0.03 * rng.normal(size=x.shape)
    else:
        x = rng.uniform(-1, 1, (rows, 2))
        labels = np.floor(x * rng.uniform(1.5, 3)).sum(1).astype(int) % 2
    return split(torch.tensor(x).float(), torch.tensor(labels))


def _textures(rng: np.random.Generator, rows: int) -> Data:
    """Images of two or three grains, of any brightness and colour."""
    classes = int(rng.integers(2, 4))
    labels = rng.integers(0, classes, rows)
    mixing = rng.normal(size=(classes, 3, 3)) * 10 ** rng.uniform(-1.2, -0.5, (classes, 1, 1))
    x = rng.normal(size=(rows, 3, 8, 8))
    rough = rng.integers(0, 3, classes)
    for label in range(classes):
        grain = x[labels == label]
        for _ in range(rough[label]):
            grain = (grain + np.roll(grain, 1, 2) + np.roll(grain, 1, 3)) / math.sqrt(3)
        x[labels == label] = np.einsum("cd,ndhw->nchw", mixing[label], grain)
    x = x + rng.uniform(-0.3, 0.3, (rows, 1, 1, 1)) + 0.1 * rng.normal(size=(rows, 3, 1, 1))
    return split(torch.tensor(x.clip(-0.5, 0.5)).float(), torch.tensor(labels))


def _memory(rng: np.random.Generator, rows: int) -> Data:
    """At every position, what stood there some positions ago, times its sign now."""
    x = rng.normal(size=(rows, LENGTH, 2))
    back = int(rng.integers(1, 4))
    y = np.roll(x[..., :1], back, 1) * np.sign(x[..., 1:])
    y[:, :back] = 0
    return split(torch.tensor(x).float(), torch.tensor(y).float())


@cache
def _data(seed: int) -> Data:
    rng, kind = np.random.default_rng((seed, 8)), KINDS[seed % len(KINDS)]
    rows = round(10 ** rng.uniform(2.1, 2.6 if kind == "waves" else 3.1))
    if kind == "textures":
        return _textures(rng, rows)
    if kind == "memory":
        return _memory(rng, rows)
    return (_values if kind in ("waves", "products") else _labels)(rng, kind, rows)


def draw(seed: int) -> Problem:
    """A problem that depends on the seed alone."""
    rng, data, kind = np.random.default_rng((seed, 9)), _data(seed), KINDS[seed % len(KINDS)]
    values, rows = data.targets.is_floating_point(), len(data.inputs)
    outputs = data.targets.shape[-1] if values else int(data.targets.max()) + 1
    model: partial[nn.Module]
    if kind == "textures":
        model = partial(cnn, 3, outputs, width=int(rng.choice([4, 6, 8])))
    elif kind == "memory":
        model = partial(Gru, 2, int(rng.choice([8, 12, 16])), 1, symbols=False)
    else:
        width, depth = int(rng.choice([16, 32, 48])), int(rng.integers(1, 5))
        sizes = (data.inputs.shape[1], *[width] * depth, outputs)
        model = partial(mlp, *sizes, activation=ACTIVATIONS[rng.integers(4)])
    sequences = kind in ("textures", "memory")
    batch = int(rng.choice([8, 16, 32] if sequences else [16, 32, 64, min(rows, 128)]))
    loss = F.mse_loss if values else classification
    return Problem(f"late {seed}", partial(_data, seed), model, loss, (batch, batch))


LATE = tuple(
    draw(seed)
    for first, count in ((FIRST_SEED, COUNT), (MORE_SEED, MORE_COUNT))
    for seed in range(first, first + count)
)
