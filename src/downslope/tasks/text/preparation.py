"""From text to windows of bytes, and from scores to bits."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..preparation import FileBatch, ModelSource, Preparation
from .file import read_bytes, text_files

__all__ = ["TextPreparation"]


@dataclass(frozen=True)
class TextPreparation(Preparation):
    """How text becomes inputs: windows of bytes.

    Args:
        model: how the model is made.
        length: bytes a window.
    """

    kind: ClassVar[str] = "text"
    model: ModelSource
    length: int

    def read(self, path: Path, batch_size: int) -> Iterator[FileBatch]:
        """Windows of a file, or of every text file below a folder.

        A window begins with the last byte of the one before, so each byte of a file but the first
        is scored once.
        """
        files = text_files(path)
        for number, file in enumerate(files):
            content = read_bytes([file])
            name = str(file.relative_to(path)) if path.is_dir() else file.name
            offsets = range(0, max(1, len(content) - 1), self.length - 1)
            whole = [at for at in offsets if at + self.length <= len(content)]
            runs = [whole[k : k + batch_size] for k in range(0, len(whole), batch_size)]
            runs += [[at] for at in offsets[len(whole) :] if len(content) > 1]
            for run in runs:
                windows = torch.stack([content[at : at + self.length] for at in run])
                done = (number + (run[-1] + self.length) / max(1, len(content))) / len(files)
                yield FileBatch(windows, min(1.0, done), {"file": [name] * len(run), "offset": run})

    def example(self, rows: int) -> Tensor:
        """Windows of bytes."""
        return torch.arange(rows * self.length).remainder(256).byte().view(rows, self.length)

    def answers(self, outputs: Tensor, inputs: Tensor) -> dict[str, NDArray[Any]]:
        """``bytes`` that were scored, their ``bits_per_byte``, and what is likely to follow.

        ``next_byte`` is the most probable one after the window, as its number, and
        ``probability`` its probability.
        """
        shares = outputs.double().log_softmax(-1)
        rows, length = inputs.shape
        came = shares[:, :-1].gather(2, inputs[:, 1:, None].long())[..., 0]
        best, most = shares[:, -1].max(-1)
        return {
            "bytes": np.full(rows, length - 1),
            "bits_per_byte": (-came.mean(1) / math.log(2)).numpy(),
            "next_byte": most.numpy(),
            "probability": best.exp().numpy(),
        }

    def settings(self) -> dict[str, Any]:
        """Plain data."""
        return {"length": self.length}

    @classmethod
    def from_settings(cls, model: ModelSource, settings: Mapping[str, Any]) -> Self:
        """The preparation of these settings."""
        return cls(model, **settings)
