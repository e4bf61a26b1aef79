"""A convolutional network for images of any size."""

from __future__ import annotations

import math

from torch import Tensor, nn

__all__ = ["Cnn"]

SMALLEST = 2  # pixels of a side that are read out, and of the last stage's, about
STAGES = (1, 4)  # fewest and most
DROPOUT = 0.2


class Cnn(nn.Module):
    """Stages of two convolutions with batch norm, each at half the resolution of the one before.

    As many stages as bring the shorter side to about 2 pixels, channels doubling from stage to
    stage; then the means of the four quarters and a linear layer, so that images of other sizes go
    through as well (Simonyan and Zisserman, arXiv 1409.1556; He et al., arXiv 1406.4729).

    Args:
        channels: of an image: 1 or 3.
        height: of the images it is meant for.
        width: of them too.
        outputs: classes; the output has the shape ``(rows, outputs)``.
        features: channels of the first stage.

    >>> import torch
    >>> Cnn(3, 32, 32, outputs=10)(torch.zeros(5, 3, 32, 32)).shape
    torch.Size([5, 10])
    """

    def __init__(
        self, channels: int, height: int, width: int, outputs: int, *, features: int = 32
    ) -> None:
        super().__init__()
        halvings = round(math.log2(max(1, min(height, width) / SMALLEST)))
        stages = min(max(halvings, STAGES[0]), STAGES[1])
        sizes = [features * 2**stage for stage in range(stages)]
        self.stages = nn.Sequential(
            *(
                _stage(before, after)
                for before, after in zip([channels, *sizes], sizes, strict=False)
            )
        )
        self.read = nn.Sequential(
            nn.AdaptiveAvgPool2d(SMALLEST),
            nn.Flatten(),
            nn.Dropout(DROPOUT),
            nn.Linear(sizes[-1] * SMALLEST**2, outputs),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Scores ``(rows, outputs)`` of images ``(rows, channels, height, width)``."""
        y: Tensor = self.read(self.stages(x))
        return y


def _stage(before: int, after: int) -> nn.Sequential:
    def convolution(channels: int) -> tuple[nn.Module, ...]:
        return (
            nn.Conv2d(channels, after, kernel_size=3, padding=1, bias=False),
            nn.BatchNorm2d(after),
            nn.ReLU(),
        )

    pool = nn.MaxPool2d(2, ceil_mode=True)  # of a side of 1 remains 1
    return nn.Sequential(*convolution(before), *convolution(after), pool)
