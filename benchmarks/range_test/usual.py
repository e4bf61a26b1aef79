"""Problems of the kinds that people begin with: bundled tables, functions, series, text, shapes.

Drawn at random like those of ``wide.py``, but the data are what tutorials take, so that rules are
not fitted on generated tables alone. Nothing of the test cases' data sets is among them.
"""

from __future__ import annotations

import importlib
import math
from functools import cache, partial
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import nn

from .networks import Gru, Transformer, cnn, mlp
from .problems import Data, Problem, classification, split

__all__ = ["USUAL", "draw"]

FIRST_SEED, COUNT = 9000, 60
KINDS = (
    *("cancer", "digits", "function", "made classes", "text", "diabetes"),
    *("images", "made values", "series", "surface", "halves", "steps"),
    *("column", "shapes", "function", "made classes", "text", "parity"),
    *("images", "diabetes classes"),
)
TEXTS = ("typing", "turtle", "statistics", "decimal", "tarfile", "difflib")
SYMBOLS, WINDOW = 40, 12
ACTIVATIONS = (nn.ReLU, nn.ReLU, nn.Tanh, nn.GELU, nn.SiLU)
NORMS = (None, None, None, nn.BatchNorm1d, nn.LayerNorm)
LENGTH = 8  # of a sequence of numbers

Array = NDArray[np.float64]


def _few(rng: np.random.Generator, x: Array, y: Array) -> tuple[Array, Array]:
    """All rows, or as few as a small table has."""
    most = min(len(x), int(rng.choice([120, 240, 600, len(x)])))
    kept = rng.permutation(len(x))[:most]
    return x[kept], y[kept]


def _standard(x: Array) -> Array:
    return np.asarray((x - x.mean(0)) / (x.std(0) + 1e-9))


def _table(rng: np.random.Generator, kind: str) -> tuple[Array, Array]:
    """Rows of scikit-learn's tables, columns standardised."""
    from sklearn import datasets

    if kind in ("diabetes", "diabetes classes"):
        x, y = datasets.load_diabetes(return_X_y=True)
        y = (y > np.median(y)).astype(int) if kind == "diabetes classes" else _standard(y)
    elif kind in ("cancer", "column"):
        x, y = datasets.load_breast_cancer(return_X_y=True)
        if kind == "column":  # one measure from the nine others of its kind
            x = x[:, 10 * (k := int(rng.integers(3))) : 10 * k + 10]
            at = int(rng.integers(10))
            x, y = np.delete(x, at, 1), _standard(x[:, at])
    else:
        x, y = datasets.load_digits(return_X_y=True)
        if kind == "parity":
            y = y % 2
        elif kind == "halves":  # the lower half of a digit from the upper one
            return _few(rng, x[:, :32] / 16, x[:, 32:] / 16)
        return _few(rng, x / 16, y)
    return _few(rng, _standard(x), y)


def _made(rng: np.random.Generator, kind: str) -> tuple[Array, Array]:
    """What scikit-learn makes."""
    from sklearn import datasets

    rows, seed = round(10 ** rng.uniform(2.1, 3.1)), int(rng.integers(1000))
    noise = float(rng.choice([0.02, 0.1, 0.3]))
    if kind == "made classes":
        which = rng.integers(5)
        if which == 0:
            return datasets.make_circles(rows, noise=noise / 2, factor=0.5, random_state=seed)
        if which == 1:
            return datasets.make_blobs(rows, 4, centers=5, cluster_std=4.0, random_state=seed)[:2]
        if which == 2:
            return datasets.make_gaussian_quantiles(
                n_samples=rows, n_features=5, n_classes=3, random_state=seed
            )
        if which == 3:
            x, y = datasets.make_hastie_10_2(rows, random_state=seed)
            return x, (y > 0).astype(int)
        return datasets.make_classification(
            rows, 20, n_informative=8, n_classes=3, flip_y=noise / 3, random_state=seed
        )
    which = rng.integers(5)
    if which == 0:
        x, y = datasets.make_regression(rows, 20, n_informative=6, noise=20, random_state=seed)
    elif which == 1:
        x, y = datasets.make_sparse_uncorrelated(rows, 10, random_state=seed)
    elif which == 2:
        x, y = datasets.make_friedman2(rows, noise=50, random_state=seed)
    elif which == 3:
        x, y = datasets.make_s_curve(rows, noise=noise, random_state=seed)
    else:
        x, y = datasets.make_swiss_roll(rows, noise=noise, random_state=seed)
    return _standard(x), _standard(y)


def _function(rng: np.random.Generator, kind: str) -> tuple[Array, Array]:
    """Curves and surfaces of the textbooks, often with noise."""
    rows = round(10 ** rng.uniform(1.9, 2.9))
    noise = float(rng.choice([0, 0.05, 0.2]))
    if kind == "function":
        x = rng.uniform(-1, 1, (rows, 1))
        y = (
            np.sinc(4 * x),
            1 / (1 + 25 * x**2),
            np.sin(2 * math.pi * x) * np.exp(-2 * x**2),
            np.abs(x),
            x**3 - x / 2,
            np.sin(5 * x) + x,
            (x > 0.2).astype(float),
        )[rng.integers(7)]
    else:
        x = rng.uniform(-1, 1, (rows, 2))
        a, b = 2 * x[:, :1], 2 * x[:, 1:]
        y = (
            np.sin(3 * np.hypot(a, b)),
            a * np.exp(-(a**2) - b**2),
            np.log1p((1 - a) ** 2 + 100 * (b - a**2) ** 2),
            a * b,
            np.sin(2 * a) * np.cos(2 * b),
        )[rng.integers(5)]
    return x, _standard(y) + noise * rng.normal(size=y.shape)


def _series(rng: np.random.Generator) -> tuple[Array, Array]:
    """The next value at every position of a series' windows."""
    count = round(10 ** rng.uniform(2.1, 3.0))
    long, which = count * LENGTH + 1, rng.integers(4)
    z = np.empty(long)
    if which == 0:  # the logistic map
        z[0] = 0.3
        for k in range(1, long):
            z[k] = 3.8 * z[k - 1] * (1 - z[k - 1])
    elif which == 1:  # Mackey and Glass
        z[:18] = 1.2 + 0.1 * rng.normal(size=18)
        for k in range(18, long):
            z[k] = 0.9 * z[k - 1] + 0.2 * z[k - 18] / (1 + z[k - 18] ** 10)
    elif which == 2:  # a noisy wave
        z = np.sin(np.arange(long) * 0.4) + 0.1 * rng.normal(size=long)
    else:  # autoregressive
        z[:2] = 0
        for k in range(2, long):
            z[k] = 1.6 * z[k - 1] - 0.8 * z[k - 2] + rng.normal()
    z = _standard(z)
    windows = np.lib.stride_tricks.sliding_window_view(z, LENGTH + 1)[::LENGTH]
    return windows[:, :-1, None].copy(), windows[:, 1:, None].copy()


def _steps(rng: np.random.Generator) -> tuple[Array, Array]:
    """Exercises for a recurrent net: a running maximum, what stood before, the last one marked."""
    rows = round(10 ** rng.uniform(2.3, 3.1))
    x, which = rng.normal(size=(rows, LENGTH, 2)), rng.integers(3)
    if which == 0:
        y = np.maximum.accumulate(x[..., :1], 1)
    elif which == 1:
        y = np.roll(x[..., :1], 1, 1)
        y[:, :1] = 0
    else:
        x[..., 1] = x[..., 1] > 0.3
        last = np.maximum.accumulate(np.where(x[..., 1] > 0, np.arange(LENGTH), -1), 1)
        y = np.take_along_axis(x[..., 0], last.clip(0), 1)[..., None] * (last >= 0)[..., None]
    return x, y / y.std()


def _shapes(rng: np.random.Generator) -> tuple[Array, Array]:
    """A disc, a square or a cross of any size and place, under noise."""
    rows = round(10 ** rng.uniform(2.3, 3.1))
    labels = rng.integers(0, 3, rows)
    place = rng.uniform(2.5, 4.5, (2, rows, 1, 1))
    size = rng.uniform(1.5, 3, (rows, 1, 1))
    down, across = np.abs(np.mgrid[:8, :8][:, None] - place)
    drawn = (
        np.hypot(down, across) < size,
        np.maximum(down, across) < size * 0.9,
        (np.minimum(down, across) < 0.7) & (np.maximum(down, across) < size),
    )
    x = np.choose(labels[:, None, None], drawn).astype(float)
    return (x + rng.choice([0.1, 0.4]) * rng.normal(size=x.shape))[:, None], labels


def _text(rng: np.random.Generator) -> Data:
    """Windows of a module's source over its most frequent bytes, and the byte after each."""
    file = importlib.import_module(str(rng.choice(TEXTS))).__file__ or ""
    size = int(rng.choice([4_000, 12_000, 24_000]))
    text = np.frombuffer(Path(file).read_bytes().lower()[:size], dtype=np.uint8)
    frequent = np.argsort(-np.bincount(text, minlength=256), kind="stable")[: SYMBOLS - 1]
    code = np.full(256, SYMBOLS - 1)  # whatever is rare
    code[frequent] = np.arange(SYMBOLS - 1)
    windows = torch.tensor(code[text]).unfold(0, WINDOW + 1, WINDOW)
    kept = round(0.8 * len(windows))
    train, held = windows[:kept], windows[kept:]
    return Data(train[:, :-1], train[:, 1:], held[:, :-1], held[:, 1:])


@cache
def _data(seed: int) -> Data:
    rng, kind = np.random.default_rng((seed, 10)), KINDS[seed % len(KINDS)]
    if kind == "text":
        return _text(rng)
    if kind == "images":
        x, y = _table(rng, "digits")
        x = x.reshape(-1, 1, 8, 8)
    elif kind in ("made classes", "made values"):
        x, y = _made(rng, kind)
    elif kind in ("function", "surface"):
        x, y = _function(rng, kind)
    elif kind in ("series", "steps", "shapes"):
        x, y = {"series": _series, "steps": _steps, "shapes": _shapes}[kind](rng)
    else:
        x, y = _table(rng, kind)
    if np.issubdtype(y.dtype, np.integer):
        return split(torch.tensor(x).float(), torch.tensor(y).long())
    return split(torch.tensor(x).float(), torch.tensor(y).float().view(len(y), *x.shape[1:-1], -1))


def draw(seed: int) -> Problem:
    """A problem that depends on the seed alone."""
    rng, data, kind = np.random.default_rng((seed, 11)), _data(seed), KINDS[seed % len(KINDS)]
    values, rows = data.targets.is_floating_point(), len(data.inputs)
    outputs = data.targets.shape[-1] if values else int(data.targets.max()) + 1
    sizes: tuple[int, ...] = (8, 16, 32)
    model: partial[nn.Module]
    if kind == "text":
        outputs = SYMBOLS
        sizes = (4, 8, 16)
        if rng.random() < 0.5:
            model = partial(Gru, SYMBOLS, int(rng.choice([12, 16, 24])), SYMBOLS, symbols=True)
        else:
            wide, blocks = int(rng.choice([12, 16, 24])), int(rng.integers(1, 3))
            model = partial(Transformer, SYMBOLS, WINDOW, width=wide, blocks=blocks)
    elif kind in ("series", "steps"):
        model = partial(Gru, data.inputs.shape[-1], int(rng.choice([8, 12, 16])), 1, symbols=False)
    elif kind in ("images", "shapes"):
        wide = int(rng.choice([4, 6, 8]))
        norm = kind == "shapes" and bool(rng.random() < 0.5)  # digits with it are a test case
        model = partial(cnn, 1, outputs, width=wide, norm=norm)
    else:
        sizes = (16, 32, 64, min(rows, 128))
        wide, depth = int(rng.choice([16, 32, 48, 64])), int(rng.choice([1, 2, 2, 3, 4]))
        activation, norms = ACTIVATIONS[rng.integers(5)], NORMS[rng.integers(5)]
        shape = (data.inputs.shape[1], *[wide] * depth, outputs)
        model = partial(mlp, *shape, activation=activation, norm=norms)
    batch = int(rng.choice([size for size in sizes if size <= rows]))
    loss = F.mse_loss if values else classification
    return Problem(f"usual {seed}", partial(_data, seed), model, loss, (batch, batch))


USUAL = tuple(draw(seed) for seed in range(FIRST_SEED, FIRST_SEED + COUNT))
