"""Small networks of every kind that people train; each runs under ``torch.vmap`` too."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from downslope.tasks import models
from downslope.tasks.models import mlp

__all__ = ["Gru", "Transformer", "cnn", "mlp"]


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


class Transformer(models.Transformer):
    """The package's, small, with an attention that runs under ``vmap``."""

    def __init__(self, symbols: int, length: int, *, width: int = 16, blocks: int = 1) -> None:
        super().__init__(symbols, length, width=width, heads=2, blocks=blocks, expansion=2)

    def forward(self, x: Tensor) -> Tensor:
        with sdpa_kernel(SDPBackend.MATH):
            return super().forward(x)
