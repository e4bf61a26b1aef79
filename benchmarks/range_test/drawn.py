"""Problems drawn at random, to tune on: generated tables of every difficulty, with random networks.

Twenty problems of people's choosing say too little about how the best learning rate depends on the
rows, the noise, the network and the length of the run. These are cheap and as many as wanted.
"""

from __future__ import annotations

import math
from functools import cache, partial

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from .networks import mlp
from .problems import Data, Problem, classification, split

__all__ = ["DRAWN", "FRESH", "MORE", "draw"]

FIRST_SEED, COUNT = 1000, 36
FRESH_SEED, FRESH_COUNT = 3000, 16
MORE_SEED, MORE_COUNT = 2100, 12


@cache
def _data(seed: int) -> Data:
    rng = np.random.default_rng((seed, 1))
    kind = rng.choice(["teacher", "classes", "mixture", "smooth"])
    rows = round(10 ** rng.uniform(2.0, 3.4))
    if kind == "smooth":  # sums of waves in one to three dimensions
        x = rng.uniform(-1, 1, (rows, rng.integers(1, 4)))
        waves = rng.normal(size=(x.shape[1], 4)) * rng.uniform(1, 5)
        y = np.sin(x @ waves + rng.uniform(0, 6, 4)) @ rng.normal(size=(4, 1))
    else:
        x = rng.normal(size=(rows, round(10 ** rng.uniform(0.5, 1.6))))
        hidden = np.tanh(x @ rng.normal(size=(x.shape[1], 8)) / math.sqrt(x.shape[1]) * 1.5)
        y = hidden @ rng.normal(size=(8, 1 if kind == "teacher" else int(rng.integers(2, 6))))
    noise = rng.choice([0.0, 0.1, 0.3, 1.0])
    if kind in ("teacher", "smooth"):
        y = (y - y.mean()) / y.std()
        y = y + noise * rng.normal(size=y.shape)
        return split(torch.tensor(x).float(), torch.tensor(y).float())
    labels = y.argmax(1)
    if kind == "mixture":  # each class a cloud of points
        centres = rng.normal(size=(y.shape[1], x.shape[1])) * rng.uniform(0.5, 2)
        x = x + centres[labels]
    wrong = rng.random(rows) < 0.3 * noise
    labels = np.where(wrong, rng.integers(0, y.shape[1], rows), labels)
    return split(torch.tensor(x).float(), torch.tensor(labels))


def draw(seed: int) -> Problem:
    """A problem that depends on the seed alone."""
    rng = np.random.default_rng((seed, 2))
    data = _data(seed)
    values = data.targets.is_floating_point()
    outputs = 1 if values else int(data.targets.max()) + 1
    width, depth = int(rng.choice([12, 24, 48])), int(rng.integers(1, 4))
    activation = [nn.ReLU, nn.Tanh, nn.GELU, nn.SiLU][rng.integers(4)]
    norm = [None, None, nn.BatchNorm1d, nn.LayerNorm][rng.integers(4)]
    rows = len(data.inputs)
    batch = int(rng.choice([b for b in (8, 16, 32, 64) if b <= rows // 2]))
    if rng.random() < 0.2 and rows <= 200:
        batch = rows  # full batch
    model = partial(
        mlp,
        data.inputs.shape[1],
        *[width] * depth,
        outputs,
        activation=activation,
        norm=norm,
    )
    loss = F.mse_loss if values else classification
    return Problem(f"drawn {seed}", partial(_data, seed), model, loss, (batch, batch))


DRAWN = tuple(draw(seed) for seed in range(FIRST_SEED, FIRST_SEED + COUNT))
#: Nothing was ever fitted or tuned on these. (On seeds 2000 to 2015 it was, after a first look.)
FRESH = tuple(draw(seed) for seed in range(FRESH_SEED, FRESH_SEED + FRESH_COUNT))
#: Drawn later, to judge by at first.
MORE = tuple(draw(seed) for seed in range(MORE_SEED, MORE_SEED + MORE_COUNT))
