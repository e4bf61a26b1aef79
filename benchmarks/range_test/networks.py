"""Small networks of every kind that people train; each runs under ``torch.vmap`` too."""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

__all__ = ["Gru", "Transformer", "cnn", "mlp"]


def mlp(
    *sizes: int,
    activation: Callable[[], nn.Module] = nn.ReLU,
    norm: Callable[[int], nn.Module] | None = None,
) -> nn.Module:
    """Linear layers of these sizes, with a norm and an activation after each but the last."""
    layers: list[nn.Module] = []
    for before, after in pairwise(sizes[:-1]):
        layers.append(nn.Linear(before, after))
        layers += [norm(after)] if norm else []
        layers.append(activation())
    return nn.Sequential(*layers, nn.Linear(sizes[-2], sizes[-1]))


def cnn(channels: int, classes: int, *, width: int = 6, norm: bool = False) -> nn.Module:
    """Two convolutions on images of 8 x 8 pixels, the second at half the resolution."""
    first, second = width, 2 * width

    def block(before: int, after: int) -> list[nn.Module]:
        norms = [nn.BatchNorm2d(after)] if norm else []
        return [nn.Conv2d(before, after, 3, padding=1), *norms, nn.ReLU(), nn.MaxPool2d(2)]

    return nn.Sequential(
        *block(channels, first),
        *block(first, second),
        nn.Flatten(),
        nn.Linear(4 * second, classes),
    )


class Gru(nn.Module):
    """A gated recurrent unit over symbols or vectors, read out at every position.

    Cho et al., arXiv 1406.1078, in torch's variant. (``nn.GRU`` does not run under ``vmap``.)
    """

    def __init__(self, inputs: int, hidden: int, outputs: int, *, symbols: bool) -> None:
        super().__init__()
        self.embed = nn.Embedding(inputs, hidden) if symbols else nn.Linear(inputs, hidden)
        self.of_input = nn.Linear(hidden, 3 * hidden)
        self.of_state = nn.Linear(hidden, 3 * hidden)
        self.read = nn.Linear(hidden, outputs)

    def forward(self, x: Tensor) -> Tensor:
        given = self.of_input(self.embed(x))
        state = torch.zeros_like(given[:, 0].chunk(3, -1)[0])
        states = []
        for position in range(x.shape[1]):
            reset, update, new = given[:, position].chunk(3, -1)
            own_reset, own_update, own_new = self.of_state(state).chunk(3, -1)
            update = torch.sigmoid(update + own_update)
            new = torch.tanh(new + torch.sigmoid(reset + own_reset) * own_new)
            state = new + update * (state - new)
            states.append(state)
        return self.read(torch.stack(states, 1))


class Transformer(nn.Module):
    """A causal pre-norm Transformer over symbols: Vaswani et al., arXiv 1706.03762."""

    def __init__(
        self, symbols: int, length: int, *, width: int = 16, heads: int = 2, blocks: int = 1
    ) -> None:
        super().__init__()
        self.embed = nn.Embedding(symbols, width)
        self.place = nn.Parameter(0.02 * torch.randn(length, width))
        self.blocks = nn.ModuleList(_Block(width, heads) for _ in range(blocks))
        self.norm = nn.LayerNorm(width)
        self.read = nn.Linear(width, symbols)

    def forward(self, x: Tensor) -> Tensor:
        state = self.embed(x) + self.place
        for block in self.blocks:
            state = block(state)
        return self.read(self.norm(state))


class _Block(nn.Module):
    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.first, self.second = nn.LayerNorm(width), nn.LayerNorm(width)
        self.mix, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.feed = nn.Sequential(
            nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, width)
        )

    def forward(self, x: Tensor) -> Tensor:
        rows, length, width = x.shape
        mixed = self.mix(self.first(x)).view(rows, length, 3, self.heads, width // self.heads)
        query, key, value = mixed.permute(2, 0, 3, 1, 4)
        scores = query @ key.transpose(-1, -2) / math.sqrt(width // self.heads)
        later = torch.ones(length, length, dtype=torch.bool).triu(1)
        seen = F.softmax(scores.masked_fill(later, -math.inf), -1) @ value
        x = x + self.out(seen.transpose(1, 2).reshape(rows, length, width))
        return x + self.feed(self.second(x))
