"""A causal Transformer over symbols."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

__all__ = ["CausalSelfAttention", "Transformer"]

FIRST_PLACES = 0.02  # standard deviation of the places' embedding at the start


class Transformer(nn.Module):
    """A decoder-only, pre-norm Transformer that scores the next symbol at every position.

    Vaswani et al., arXiv 1706.03762; the norm before each layer, Xiong et al., arXiv 2002.04745.
    What comes out at a position depends on the symbols up to there.

    Args:
        symbols: how many there are, 256 for bytes.
        length: of the longest window.
        width: of the residual stream.
        heads: of the attention; they divide ``width``.
        blocks: attention and feed-forward layers.
        expansion: of the feed-forward layer, times ``width``.
        dropout: of what each layer adds.

    >>> Transformer(256, length=16, width=32)(torch.zeros(5, 16, dtype=torch.uint8)).shape
    torch.Size([5, 16, 256])
    """

    def __init__(
        self,
        symbols: int,
        length: int,
        *,
        width: int = 128,
        heads: int = 4,
        blocks: int = 2,
        expansion: int = 4,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.embed = nn.Embedding(symbols, width)
        self.place = nn.Parameter(FIRST_PLACES * torch.randn(length, width))
        self.blocks = nn.ModuleList(_Block(width, heads, expansion, dropout) for _ in range(blocks))
        self.norm = nn.LayerNorm(width)
        self.read = nn.Linear(width, symbols)

    def forward(self, x: Tensor) -> Tensor:
        """Scores of the symbol after each position, ``(rows, length, symbols)``."""
        state = self.embed(x.long()) + self.place[: x.shape[1]]
        for block in self.blocks:
            state = block(state)
        y: Tensor = self.read(self.norm(state))
        return y


class CausalSelfAttention(nn.Module):
    """Every position attends to itself and to those before it.

    Args:
        width: of the input and of the output.
        heads: that divide it.
    """

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.mix, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        """``(rows, length, width)`` to the same shape."""
        rows, length, width = x.shape
        mixed = self.mix(x).view(rows, length, 3, self.heads, width // self.heads)
        query, key, value = mixed.permute(2, 0, 3, 1, 4).unbind()
        seen = F.scaled_dot_product_attention(query, key, value, is_causal=True)
        y: Tensor = self.out(seen.transpose(1, 2).reshape(rows, length, width))
        return y


class _Block(nn.Module):
    def __init__(self, width: int, heads: int, expansion: int, dropout: float) -> None:
        super().__init__()
        self.first, self.second = nn.LayerNorm(width), nn.LayerNorm(width)
        self.attention = CausalSelfAttention(width, heads)
        self.feed = nn.Sequential(
            nn.Linear(width, expansion * width), nn.GELU(), nn.Linear(expansion * width, width)
        )
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.dropout(self.attention(self.first(x)))
        y: Tensor = x + self.dropout(self.feed(self.second(x)))
        return y
