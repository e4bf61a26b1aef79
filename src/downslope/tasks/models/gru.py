"""A recurrent language model over symbols."""

from __future__ import annotations

from torch import Tensor, nn

__all__ = ["Gru"]


class Gru(nn.Module):
    """Gated recurrent units over symbols, read out at every position.

    Cho et al., arXiv 1406.1078, in torch's variant. What comes out at a position depends on the
    symbols up to there.

    Args:
        symbols: how many there are, 256 for bytes.
        width: of the embedding and of the state.
        layers: one above the other.
        dropout: between them, and before the output.

    >>> import torch
    >>> Gru(256, width=32)(torch.zeros(5, 16, dtype=torch.uint8)).shape
    torch.Size([5, 16, 256])
    """

    def __init__(
        self, symbols: int, *, width: int = 256, layers: int = 1, dropout: float = 0.0
    ) -> None:
        super().__init__()
        self.embed = nn.Embedding(symbols, width)
        self.mix = nn.GRU(
            width, width, layers, batch_first=True, dropout=dropout if layers > 1 else 0.0
        )
        self.dropout = nn.Dropout(dropout)
        self.read = nn.Linear(width, symbols)

    def forward(self, x: Tensor) -> Tensor:
        """Scores of the symbol after each position, ``(rows, length, symbols)``."""
        states, _ = self.mix(self.embed(x.long()))
        y: Tensor = self.read(self.dropout(states))
        return y
