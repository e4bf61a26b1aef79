"""Problems of every kind, drawn at random: rows, images, symbols and series, easy and hard.

They are wider than those of ``drawn.py``: down to 80 rows, tails and outliers, columns of different
spread, waves too fast to be learnt, up to five layers, convolutions, recurrence, attention.
"""

from __future__ import annotations

import math
from functools import cache, partial

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import nn

from .networks import Gru, Transformer, cnn, mlp
from .problems import Data, Problem, classification, split

__all__ = ["WIDE", "draw"]

FIRST_SEED, COUNT = 3000, 96
MORE_SEED, MORE_COUNT = 4000, 14  # drawn later, to judge by at first
KINDS = (
    *("teacher", "teacher", "classes", "classes", "classes", "smooth", "smooth"),
    *("regions", "images", "symbols", "series"),
)
NOISE = (0.0, 0.1, 0.3, 1.0)
LENGTH = 8  # of a sequence
ACTIVATIONS = (nn.ReLU, nn.Tanh, nn.GELU, nn.SiLU)
NORMS = (None, None, None, nn.BatchNorm1d, nn.LayerNorm)

Array = NDArray[np.float64]


def _images(rng: np.random.Generator, rows: int, noise: float) -> Data:
    """Which of a few rough patterns, shifted by a pixel or two, under noise."""
    classes, channels = int(rng.integers(2, 7)), int(rng.choice([1, 3]))
    patterns = rng.normal(size=(classes, channels, 4, 4)).repeat(2, 2).repeat(2, 3)
    labels = rng.integers(0, classes, rows)
    by = rng.integers(0, 3, (rows, 2))
    shifted = [
        np.roll(patterns[label], tuple(turn), (1, 2))
        for label, turn in zip(labels, by, strict=True)
    ]
    x = np.stack(shifted)
    x = x + (0.5 + noise) * rng.normal(size=x.shape)
    return split(torch.tensor(0.5 * x).float(), torch.tensor(labels))


def _symbols(rng: np.random.Generator, rows: int) -> Data:
    """Which symbol comes next in a Markov chain of the second order."""
    symbols = int(rng.integers(5, 25))
    table = rng.dirichlet(np.full(symbols, 10 ** rng.uniform(-1.5, 0)), (symbols, symbols))
    text = np.zeros((rows, LENGTH + 1), dtype=int)
    text[:, :2] = rng.integers(0, symbols, (rows, 2))
    for k in range(2, LENGTH + 1):
        chances = table[text[:, k - 2], text[:, k - 1]].cumsum(-1)
        text[:, k] = (rng.random((rows, 1)) > chances[:, :-1]).sum(-1)
    windows = torch.tensor(text)
    return split(windows[:, :-1], windows[:, 1:])


def _series(rng: np.random.Generator, rows: int, noise: float, *, signed: bool) -> Data:
    """A running sum that forgets, bent, at every position."""
    x = rng.normal(size=(rows, LENGTH, int(rng.integers(1, 4))))
    state, values = np.zeros((rows, x.shape[2])), []
    keep = rng.uniform(0.3, 0.95)
    for k in range(LENGTH):
        sign = np.sign(np.roll(x[:, k], 1, -1)) if signed else 1.0
        state = keep * state + x[:, k] * sign
        values.append(np.tanh(state).sum(-1, keepdims=True))
    y = np.stack(values, 1)
    y = (y - y.mean()) / y.std() + noise * rng.normal(size=y.shape)
    return split(torch.tensor(x).float(), torch.tensor(y).float())


def _table(rng: np.random.Generator, kind: str, rows: int, *, tails: bool) -> tuple[Array, Array]:
    """Inputs, and values or one score a class."""
    if kind == "smooth":  # sums of waves in one to three dimensions
        x = rng.uniform(-1, 1, (rows, rng.integers(1, 4)))
        waves = rng.normal(size=(x.shape[1], 4)) * 10 ** rng.uniform(0, 1.2)
        return x, np.sin(x @ waves + rng.uniform(0, 6, 4)) @ rng.normal(size=(4, 1))
    x = rng.normal(size=(rows, round(10 ** rng.uniform(0.3, 1.7))))
    if tails:
        x = rng.standard_t(2.5, size=x.shape) / 1.5
    if rng.random() < 0.3:  # columns of different spread
        x = x * 10 ** rng.uniform(-1, 0.5, x.shape[1])
    hidden = np.tanh(x @ rng.normal(size=(x.shape[1], 8)) / math.sqrt(x.shape[1]) * 2)
    y = hidden @ rng.normal(size=(8, int(rng.integers(2, 8)) if kind == "classes" else 1))
    if kind == "regions":  # classes that lie in bands around each other
        x = x[:, : max(2, min(3, x.shape[1]))]
        far = np.sqrt((x**2).sum(1)) * rng.uniform(1, 5) + np.arctan2(x[:, 0], x[:, -1])
        y = np.stack([np.cos(far + 2 * math.pi * k / 3) for k in range(3)], 1)
    return x, y


@cache
def _data(seed: int) -> Data:
    rng, kind = np.random.default_rng((seed, 3)), _kind(seed)
    rows = round(10 ** rng.uniform(1.9, 3.3))
    tails = bool(rng.random() < 0.3)
    noise = float(rng.choice(NOISE))
    if kind == "images":
        return _images(rng, rows, noise)
    if kind == "symbols":
        return _symbols(rng, rows)
    if kind == "series":
        return _series(rng, rows, noise, signed=seed % 2 == 1)
    x, y = _table(rng, kind, rows, tails=tails)
    if kind in ("teacher", "smooth"):
        y = (y - y.mean()) / y.std()
        y = y + noise * rng.normal(size=y.shape)
        return split(torch.tensor(x).float(), torch.tensor(y).float())
    wrong = rng.random(rows) < 0.3 * noise
    labels = np.where(wrong, rng.integers(0, y.shape[1], rows), y.argmax(1))
    return split(torch.tensor(x).float(), torch.tensor(labels))


def _kind(seed: int) -> str:
    return str(np.random.default_rng((seed, 4)).choice(KINDS))


def _model(
    rng: np.random.Generator, kind: str, inputs: torch.Tensor, outputs: int
) -> partial[nn.Module]:
    if kind == "images":
        norm, width = bool(rng.random() < 0.5), int(rng.choice([3, 6, 10]))
        return partial(cnn, inputs.shape[1], outputs, width=width, norm=norm)
    if kind == "series" or (kind == "symbols" and rng.random() < 0.5):
        first = outputs if kind == "symbols" else inputs.shape[-1]
        hidden = int(rng.choice([8, 16, 24]))
        return partial(Gru, first, hidden, outputs, symbols=kind == "symbols")
    if kind == "symbols":
        return partial(Transformer, outputs, LENGTH, width=int(rng.choice([8, 16, 32])))
    width, depth = int(rng.choice([8, 16, 32, 64])), int(rng.integers(1, 6))
    activation, norms = ACTIVATIONS[rng.integers(4)], NORMS[rng.integers(5)]
    sizes = (inputs.shape[1], *[width] * depth, outputs)
    return partial(mlp, *sizes, activation=activation, norm=norms)


def draw(seed: int) -> Problem:
    """A problem that depends on the seed alone."""
    rng, data = np.random.default_rng((seed, 5)), _data(seed)
    values, rows = data.targets.is_floating_point(), len(data.inputs)
    outputs = data.targets.shape[-1] if values else int(data.targets.max()) + 1
    model = _model(rng, _kind(seed), data.inputs, outputs)
    batch = int(rng.choice([b for b in (4, 8, 16, 32, 64) if b <= rows // 2]))
    if rng.random() < 0.15 and rows <= 120:
        batch = rows  # full batch
    loss = F.mse_loss if values else classification
    return Problem(f"wide {seed}", partial(_data, seed), model, loss, (batch, batch))


WIDE = tuple(
    draw(seed)
    for first, count in ((FIRST_SEED, COUNT), (MORE_SEED, MORE_COUNT))
    for seed in range(first, first + count)
)
