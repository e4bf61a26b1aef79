"""Loops as people write them, and the data they are run on."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from downslope.monitor import Monitor, constant_loss

CHECKS = 12
Data = tuple[Tensor, Tensor, Tensor, Tensor]


@dataclass
class Loop:
    """A loop of somebody's own: one call a step, which returns its loss."""

    model: nn.Module
    optimizer: torch.optim.Optimizer
    step: Callable[[int], Any]
    validate: Callable[[], float] | None = None
    steps: int = 400
    constant: float | None = None


@dataclass(frozen=True)
class Case:
    """A run, and what names its fault rightly."""

    name: str
    causes: tuple[str, ...]  # of a sound run: none
    build: Callable[[], Loop]


CASES: list[Case] = []


def sound(build: Callable[[], Loop]) -> Callable[[], Loop]:
    """A run that is well."""
    CASES.append(Case(build.__name__, (), build))
    return build


def faulty(*causes: str) -> Callable[[Callable[[], Loop]], Callable[[], Loop]]:
    """A run with a fault, which any of these causes names rightly."""

    def keep(build: Callable[[], Loop]) -> Callable[[], Loop]:
        CASES.append(Case(build.__name__, causes, build))
        return build

    return keep


def watched(loop: Loop) -> list[dict[str, Any]]:
    """The events of the run, with a monitor as it is by default."""
    events: list[dict[str, Any]] = []
    with Monitor(
        loop.model,
        loop.optimizer,
        total_steps=loop.steps,
        constant_loss=loop.constant,
        on_event=[events.append],
    ) as watch:

        def check() -> None:
            if loop.validate is not None:
                was = loop.model.training
                loop.model.eval()
                with torch.no_grad():
                    value = loop.validate()
                loop.model.train(was)
                watch.validation(float(value))

        check()
        for k in range(loop.steps):
            loss = float(torch.as_tensor(loop.step(k)).detach())
            watch.step(loss)
            if not math.isfinite(loss):
                break
            if (k + 1) % max(1, loop.steps // CHECKS) == 0:
                check()
    return events


def epochs(count: int, size: int, seed: int = 0) -> Iterator[Tensor]:
    """Batches of row numbers, for ever."""
    g = torch.Generator().manual_seed(seed)
    while True:
        yield from torch.randperm(count, generator=g).split(size)


def supervised(
    model: nn.Module,
    data: Data,
    loss: Callable[..., Tensor],
    optimizer: torch.optim.Optimizer,
    *,
    batch: int = 32,
    steps: int = 400,
    schedule: Any = None,
    clip: float | None = None,
    accumulate: int = 1,
    clear: bool = True,
    mixed: torch.dtype | None = None,
    prepare: Callable[[Tensor, Tensor], tuple[Tensor, Tensor]] | None = None,
    judged: Callable[..., Tensor] | None = None,
    told: bool = True,
) -> Loop:
    x, y, vx, vy = data
    rows = epochs(len(x), batch)

    def step(k: int) -> Tensor:
        if clear:
            optimizer.zero_grad()
        total = torch.zeros(())
        for _ in range(accumulate):
            at = next(rows)
            a, b = x[at], y[at]
            if prepare:
                a, b = prepare(a, b)
            with torch.autocast("cpu", mixed or torch.bfloat16, enabled=mixed is not None):
                out = model(a)
            value = loss(out.float() if mixed else out, b) / accumulate
            value.backward()
            total += value.detach()
        if clip:
            nn.utils.clip_grad_norm_(model.parameters(), clip)
        optimizer.step()
        if schedule is not None:
            schedule.step()
        return total

    def validate() -> float:
        return float((judged or loss)(model(vx), vy))

    constant = None
    if told:
        with torch.no_grad():
            out = model.eval()(x[:128])
        model.train()
        constant = constant_loss(loss, out, y[:128])
    return Loop(model, optimizer, step, validate, steps, constant)


def cut(x: Tensor, y: Tensor, share: float = 0.25) -> Data:
    order = torch.randperm(len(x), generator=torch.Generator().manual_seed(5))
    held = int(share * len(x))
    a, b = order[held:], order[:held]
    return x[a], y[a], x[b], y[b]


@cache
def digits() -> Data:
    from sklearn.datasets import load_digits

    bunch = load_digits()
    return cut(
        torch.tensor(bunch.images, dtype=torch.float32)[:, None] / 16, torch.tensor(bunch.target)
    )


def flat(data: Data) -> Data:
    return data[0].flatten(1), data[1], data[2].flatten(1), data[3]


@cache
def table(name: str, values: bool = False) -> Data:
    from sklearn import datasets

    bunch = getattr(datasets, f"load_{name}")()
    x = torch.tensor(bunch.data, dtype=torch.float32)
    y = torch.tensor(bunch.target, dtype=torch.float32 if values else torch.long)
    x = (x - x.mean(0)) / x.std(0)
    return cut(x, y[:, None] if values else y)


@cache
def prices(rows: int = 1200) -> Data:
    """Eight features, a price of some hundred thousand."""
    g = torch.Generator().manual_seed(2)
    x = torch.randn(rows, 8, generator=g)
    y = 2e5 + 6e4 * x[:, 0] + 3e4 * x[:, 1] * x[:, 2] + 2e4 * x[:, 3].relu()
    y = y + 1e4 * torch.randn(rows, generator=g)
    return cut(x, y[:, None])


@cache
def text(length: int = 32) -> tuple[Data, int]:
    words = (Path(__file__).parents[3] / "LICENSE").read_text()
    symbols = sorted(set(words))
    codes = torch.tensor([symbols.index(c) for c in words])
    windows = codes.unfold(0, length + 1, 5)
    held = len(windows) // 5
    a, b = windows[:-held], windows[-held:]
    return (a[:, :-1], a[:, 1:], b[:, :-1], b[:, 1:]), len(symbols)


@cache
def series(length: int = 24) -> Data:
    g = torch.Generator().manual_seed(4)
    t = torch.arange(1500.0)
    s = (t / 7).sin() + 0.5 * (t / 23).sin() + 0.1 * torch.randn(1500, generator=g)
    w = s.unfold(0, length + 1, 1)
    return w[:1100, :-1, None], w[:1100, -1:], w[1100:, :-1, None], w[1100:, -1:]


def each_symbol(out: Tensor, y: Tensor) -> Tensor:
    return F.cross_entropy(out.flatten(0, 1), y.flatten())


def mlp(
    *sizes: int, act: Callable[[], nn.Module] = nn.ReLU, drop: float = 0.0, norm: bool = False
) -> nn.Sequential:
    layers: list[nn.Module] = []
    for a, b in pairwise(sizes[:-1]):
        layers += [nn.Linear(a, b)]
        layers += [nn.BatchNorm1d(b)] * norm + [act()] + [nn.Dropout(drop)] * bool(drop)
    return nn.Sequential(*layers, nn.Linear(*sizes[-2:]))


class Res(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(width, width, 3, padding=1, bias=False),
            nn.BatchNorm2d(width),
            nn.ReLU(),
            nn.Conv2d(width, width, 3, padding=1, bias=False),
            nn.BatchNorm2d(width),
        )

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(x + self.body(x))


def resnet(width: int = 16) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(1, width, 3, padding=1, bias=False),
        nn.BatchNorm2d(width),
        nn.ReLU(),
        Res(width),
        Res(width),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(width, 10),
    )


def convnet(width: int = 12, act: Callable[[], nn.Module] = nn.ReLU) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(1, width, 3, padding=1),
        act(),
        nn.MaxPool2d(2),
        nn.Conv2d(width, 2 * width, 3, padding=1),
        act(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(8 * width, 10),
    )


class Decoder(nn.Module):
    """A small language model of pre-norm (or post-norm) blocks."""

    def __init__(
        self, symbols: int, width: int = 48, layers: int = 2, length: int = 32, before: bool = True
    ) -> None:
        super().__init__()
        self.tokens, self.places = nn.Embedding(symbols, width), nn.Embedding(length, width)
        block = nn.TransformerEncoderLayer(
            width, 4, 4 * width, dropout=0.0, batch_first=True, norm_first=before
        )
        self.blocks = nn.TransformerEncoder(block, layers, enable_nested_tensor=False)
        self.norm, self.head = nn.LayerNorm(width), nn.Linear(width, symbols)

    def forward(self, x: Tensor) -> Tensor:
        n = x.shape[1]
        mask = nn.Transformer.generate_square_subsequent_mask(n)
        h = self.tokens(x) + self.places(torch.arange(n))
        return self.head(self.norm(self.blocks(h, mask=mask, is_causal=True)))


class Recurrent(nn.Module):
    """Symbols or values through a recurrent layer."""

    def __init__(
        self,
        kind: type[nn.RNNBase],
        inputs: int,
        outputs: int,
        width: int = 48,
        symbols: bool = False,
        last: bool = False,
    ) -> None:
        super().__init__()
        self.embed = nn.Embedding(inputs, width) if symbols else None
        self.rnn = kind(width if symbols else inputs, width, batch_first=True)
        self.head, self.last = nn.Linear(width, outputs), last

    def forward(self, x: Tensor) -> Tensor:
        h, _ = self.rnn(self.embed(x) if self.embed is not None else x)
        return self.head(h[:, -1] if self.last else h)
