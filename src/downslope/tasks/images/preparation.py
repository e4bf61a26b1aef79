"""From images to inputs, and from outputs to classes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, ClassVar, Self

import torch
from numpy.typing import NDArray
from torch import Tensor

from ...errors import InputError
from ..answers import class_columns
from ..preparation import FileBatch, ModelSource, Preparation, spread
from .file import BRIGHTEST, ImageShape, decode, images_in

__all__ = ["ImagePreparation"]


@dataclass(frozen=True)
class ImagePreparation(Preparation):
    """How images become inputs: brought to one shape, then ``(x - mean) / deviation``.

    Args:
        model: how the model is made.
        shape: of every input.
        mean: of each channel in the training part, 1 being the brightest.
        deviation: its standard deviation; 0 where it is constant, which becomes zero everywhere.
        classes: the names of the folders.
    """

    kind: ClassVar[str] = "images"
    model: ModelSource
    shape: ImageShape
    mean: tuple[float, ...]
    deviation: tuple[float, ...]
    classes: tuple[str, ...]

    def read(self, path: Path, batch_size: int) -> Iterator[FileBatch]:
        """An image, or all images below a folder, in the order of their names."""
        images = images_in(path) if path.is_dir() else [path]
        if not images:
            raise InputError(f"{str(path)!r} holds no image.")
        for first in range(0, len(images), batch_size):
            some = images[first : first + batch_size]
            names = [str(p.relative_to(path)) if path.is_dir() else p.name for p in some]
            inputs = torch.stack([self.input(image) for image in some])
            yield FileBatch(inputs, (first + len(some)) / len(images), {"file": names})

    def input(self, image: Path) -> Tensor:
        """The model's input of an image, ``(channels, height, width)``."""
        return self.normalised(decode(image, self.shape))

    def normalised(self, pixels: Tensor) -> Tensor:
        """Float inputs of bytes ``(..., channels, height, width)``."""
        mean, deviation = (torch.tensor(v)[:, None, None] for v in (self.mean, self.deviation))
        deviation[deviation == 0] = torch.inf
        return (pixels.float() / BRIGHTEST - mean) / deviation

    def example(self, rows: int) -> Tensor:
        """Images of the shape."""
        return spread(rows, self.shape.channels, self.shape.height, self.shape.width)

    def answers(self, outputs: Tensor, inputs: Tensor) -> dict[str, NDArray[Any]]:
        """``predicted_class``, and ``probability_CLASS`` for each class."""
        return class_columns("class", self.classes, outputs)

    def settings(self) -> dict[str, Any]:
        """Plain data."""
        return {
            "shape": asdict(self.shape),
            "mean": list(self.mean),
            "deviation": list(self.deviation),
            "classes": list(self.classes),
        }

    @classmethod
    def from_settings(cls, model: ModelSource, settings: Mapping[str, Any]) -> Self:
        """The preparation of these settings."""
        numbers = {name: tuple(settings[name]) for name in ("mean", "deviation", "classes")}
        return cls(model, ImageShape(**settings["shape"]), **numbers)
