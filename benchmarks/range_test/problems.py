"""What is trained: bundled data and generated data, each with a small network.

The problems are split before anything is tuned: rules are fitted on ``TUNING`` and judged on
``TEST``, which has other data sets, or other architectures on them.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .networks import Gru, Transformer, cnn, mlp

__all__ = ["PROBLEMS", "TEST", "TUNING", "Data", "Problem", "classification", "split"]

LENGTH = 12  # symbols a window of text
SYMBOLS = 40
DATA_SEED = 20261121


@dataclass(frozen=True)
class Data:
    """Rows to train on and rows to judge by."""

    inputs: Tensor
    targets: Tensor
    validation_inputs: Tensor
    validation_targets: Tensor


@dataclass(frozen=True)
class Problem:
    """Data, a network, a loss, and the two batch sizes that are tried."""

    name: str
    data: Callable[[], Data]
    model: Callable[[], nn.Module]
    loss: Callable[[Tensor, Tensor], Tensor]
    batch_sizes: tuple[int, int] = (16, 64)


def classification(outputs: Tensor, targets: Tensor) -> Tensor:
    """Cross-entropy over the last axis, also of sequences."""
    return F.cross_entropy(outputs.flatten(0, -2), targets.flatten())


def split(inputs: Tensor, targets: Tensor, share: float = 0.25) -> Data:
    order = torch.randperm(len(inputs), generator=torch.Generator().manual_seed(DATA_SEED))
    count = round(share * len(inputs))
    held, kept = order[:count], order[count:]
    return Data(inputs[kept], targets[kept], inputs[held], targets[held])


@cache
def _table(name: str) -> Data:
    from sklearn import datasets

    bunch = getattr(datasets, f"load_{name}")()
    x = torch.tensor(bunch.data, dtype=torch.float32)
    values = name == "diabetes"
    y = torch.tensor(bunch.target, dtype=torch.float32 if values else torch.long)
    data = split(x, y[:, None] if values else y)
    centre, spread = data.inputs.mean(0), data.inputs.std(0).clamp_min(1e-6)
    middle, unit = (data.targets.mean(), data.targets.std()) if values else (0, 1)
    return Data(
        (data.inputs - centre) / spread,
        (data.targets - middle) / unit if values else data.targets,
        (data.validation_inputs - centre) / spread,
        (data.validation_targets - middle) / unit if values else data.validation_targets,
    )


@cache
def _digits(*, flat: bool) -> Data:
    from sklearn.datasets import load_digits

    bunch = load_digits()
    x = torch.tensor(bunch.images / 16, dtype=torch.float32)
    return split(x.flatten(1) if flat else x[:, None], torch.tensor(bunch.target))


@cache
def _patches() -> Data:
    """Pieces of 8 x 8 pixels of scikit-learn's two photographs: which one is it from?"""
    from sklearn.datasets import load_sample_images

    pieces, labels = [], []
    for label, image in enumerate(load_sample_images().images):
        pixels = torch.tensor(np.ascontiguousarray(image), dtype=torch.float32) / 255 - 0.5
        tiles = pixels.unfold(0, 8, 24).unfold(1, 8, 24).flatten(0, 1)
        pieces.append(tiles)
        labels.append(torch.full((len(tiles),), label))
    return split(torch.cat(pieces), torch.cat(labels))


@cache
def _text(source: str) -> Data:
    """Windows of a text over its most frequent bytes, and the byte after each."""
    if source == "code":
        raw = Path(argparse.__file__).read_bytes()
    else:
        import sklearn.datasets

        folder = Path(sklearn.datasets.__file__).parent / "descr"
        raw = b"".join(file.read_bytes() for file in sorted(folder.glob("*.rst")))
    text = np.frombuffer(raw.lower()[:24_000], dtype=np.uint8)
    frequent = np.argsort(-np.bincount(text, minlength=256), kind="stable")[: SYMBOLS - 1]
    code = np.full(256, SYMBOLS - 1)  # whatever is rare
    code[frequent] = np.arange(SYMBOLS - 1)
    windows = torch.tensor(code[text]).unfold(0, LENGTH + 1, LENGTH)
    kept = round(0.8 * len(windows))  # the end of the text is held out, not rows among the others
    train, held = windows[:kept], windows[kept:]
    return Data(train[:, :-1], train[:, 1:], held[:, :-1], held[:, 1:])


@cache
def _generated(kind: str) -> Data:
    rng = np.random.default_rng(DATA_SEED)
    if kind in ("sine", "chirp"):  # smooth, without noise, and few rows
        x = rng.uniform(-1, 1, (160, 1))
        y = np.sin(math.pi * 2 * x) if kind == "sine" else np.sin(3 * x + 4 * x * np.abs(x))
    elif kind == "teacher":
        x = rng.normal(size=(1200, 12))
        y = np.tanh(x @ rng.normal(size=(12, 6)) / 2) @ rng.normal(size=(6, 1))
        y = y + 0.3 * rng.normal(size=y.shape)
    elif kind == "friedman":
        from sklearn.datasets import make_friedman1

        x, y = make_friedman1(900, n_features=8, noise=1.0, random_state=DATA_SEED)
        x, y = 2 * x - 1, ((y - y.mean()) / y.std())[:, None]
    elif kind == "moons":
        from sklearn.datasets import make_moons

        x, y = make_moons(800, noise=0.25, random_state=DATA_SEED)
    elif kind == "spirals":
        turn = rng.uniform(0.2, 1.6, 900)
        y = rng.integers(0, 3, 900)
        angle = 2 * math.pi * (turn + y / 3)
        x = turn[:, None] * np.stack([np.cos(angle), np.sin(angle)], 1)
        x = x + 0.04 * rng.normal(size=x.shape)
    elif kind == "sums":  # the sign-weighted running mean of a sequence
        x = rng.normal(size=(1000, 8, 2))
        y = np.cumsum(x[..., :1] * np.sign(x[..., 1:]), 1) / np.sqrt(np.arange(1, 9))[:, None]
    else:
        raise ValueError(kind)
    whole = np.issubdtype(np.asarray(y).dtype, np.integer)
    return split(
        torch.tensor(x, dtype=torch.float32),
        torch.tensor(y, dtype=torch.long if whole else torch.float32),
    )


TUNING = (
    Problem(
        "breast_cancer mlp",
        partial(_table, "breast_cancer"),
        partial(mlp, 30, 32, 32, 2),
        classification,
    ),
    Problem("diabetes mlp", partial(_table, "diabetes"), partial(mlp, 10, 32, 32, 1), F.mse_loss),
    Problem(
        "breast_cancer bn-mlp",
        partial(_table, "breast_cancer"),
        partial(mlp, 30, 32, 32, 2, norm=nn.BatchNorm1d),
        classification,
    ),
    Problem("digits mlp", partial(_digits, flat=True), partial(mlp, 64, 32, 10), classification),
    Problem(
        "digits cnn", partial(_digits, flat=False), partial(cnn, 1, 10), classification, (8, 32)
    ),
    Problem(
        "sine tanh",
        partial(_generated, "sine"),
        partial(mlp, 1, 32, 32, 1, activation=nn.Tanh),
        F.mse_loss,
        (30, 120),
    ),
    Problem(
        "moons bn-mlp",
        partial(_generated, "moons"),
        partial(mlp, 2, 32, 32, 2, norm=nn.BatchNorm1d),
        classification,
    ),
    Problem(
        "teacher deep mlp",
        partial(_generated, "teacher"),
        partial(mlp, 12, 24, 24, 24, 1),
        F.mse_loss,
    ),
    Problem(
        "code gru",
        partial(_text, "code"),
        partial(Gru, SYMBOLS, 16, SYMBOLS, symbols=True),
        classification,
        (4, 16),
    ),
    Problem(
        "code transformer",
        partial(_text, "code"),
        partial(Transformer, SYMBOLS, LENGTH),
        classification,
        (4, 16),
    ),
)
TEST = (
    Problem(
        "wine gelu",
        partial(_table, "wine"),
        partial(mlp, 13, 48, 3, activation=nn.GELU),
        classification,
    ),
    Problem(
        "iris tanh",
        partial(_table, "iris"),
        partial(mlp, 4, 16, 16, 3, activation=nn.Tanh),
        classification,
    ),
    Problem(
        "digits bn-cnn",
        partial(_digits, flat=False),
        partial(cnn, 1, 10, norm=True),
        classification,
        (8, 32),
    ),
    Problem("patches cnn", _patches, partial(cnn, 3, 2), classification, (8, 32)),
    Problem(
        "friedman layernorm",
        partial(_generated, "friedman"),
        partial(mlp, 8, 32, 32, 1, norm=nn.LayerNorm),
        F.mse_loss,
    ),
    Problem(
        "spirals deep tanh",
        partial(_generated, "spirals"),
        partial(mlp, 2, 24, 24, 24, 24, 3, activation=nn.Tanh),
        classification,
    ),
    Problem(
        "chirp silu",
        partial(_generated, "chirp"),
        partial(mlp, 1, 32, 32, 1, activation=nn.SiLU),
        F.mse_loss,
        (30, 120),
    ),
    Problem(
        "sums gru",
        partial(_generated, "sums"),
        partial(Gru, 2, 12, 1, symbols=False),
        F.mse_loss,
        (8, 32),
    ),
    Problem(
        "prose gru",
        partial(_text, "prose"),
        partial(Gru, SYMBOLS, 16, SYMBOLS, symbols=True),
        classification,
        (4, 16),
    ),
    Problem(
        "prose transformer",
        partial(_text, "prose"),
        partial(Transformer, SYMBOLS, LENGTH, blocks=2),
        classification,
        (4, 16),
    ),
)
PROBLEMS = {problem.name: problem for problem in (*TUNING, *TEST)}
