"""Text as a task: which byte comes next?"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from torch.utils.data import TensorDataset

from ...errors import InputError, unknown
from ..length import epochs_for
from ..metrics import Metric, bits, symbol_loss
from ..preparation import ModelSource
from ..split import VALIDATION_SHARE, Rows
from ..task import Task
from .file import read_bytes, text_files
from .preparation import TextPreparation

__all__ = ["MODELS", "text"]

SYMBOLS = 256
LENGTH = 128  # bytes that a window shows the model
FEWEST = 10  # windows
PIECES = 100  # that a text is cut into; a fifth of them is held out
BATCH_SIZE = 32
FEWEST_EPOCHS = 1

#: Model -> its arguments. The first is what is trained where nobody chose.
MODELS: dict[str, dict[str, Any]] = {
    "gru": {"symbols": SYMBOLS, "width": 256},
    "transformer": {"symbols": SYMBOLS, "length": LENGTH, "width": 128, "heads": 4, "blocks": 2},
}


def text(path: Path, seed: int, *, model: str | None = None) -> Task:
    """A task from a text file, or from the text files below a folder: the next byte.

    The text is cut into windows of 128 bytes; at each byte the model is to score the one after it.
    For the validation part the text is cut into about a hundred pieces, and of every five in a row
    one is drawn, so that both parts are of all of it and have no window in common. The metric is
    bits per byte.

    Args:
        path: a file or a folder; its binary and hidden files are left out.
        seed: of the draw.
        model: ``"gru"``, which needs less computing to begin to learn, or ``"transformer"``;
            ``None`` is the first.

    Raises:
        InputError: no text, too short a text, or another model.
    """
    name = model or next(iter(MODELS))
    if name not in MODELS:
        raise unknown("model for text", name, MODELS)
    content = read_bytes(text_files(path))
    windows = (len(content) - 1) // LENGTH
    if windows < FEWEST:
        raise InputError(
            f"{str(path)!r} is too short: {len(content)} bytes of text, and at least "
            f"{FEWEST * LENGTH + 1} are needed. Give a longer text, or a folder of texts."
        )
    used = windows * LENGTH
    seen, following = content[:used].view(windows, LENGTH), content[1 : used + 1].view(-1, LENGTH)
    train, validation = split_along(windows, seed)
    preparation = TextPreparation(ModelSource(name, MODELS[name]), LENGTH)
    return Task(
        name=path.resolve().stem,
        model=preparation.model,
        loss=symbol_loss,
        train=TensorDataset(seen[train], following[train]),
        validation=TensorDataset(seen[validation], following[validation]),
        metric=Metric("bits_per_byte", bits, higher_is_better=False, mean=True),
        batch_size=BATCH_SIZE,
        epochs=epochs_for(len(train), BATCH_SIZE, fewest=FEWEST_EPOCHS),
        kind="language model",
        train_rows=tuple(train.tolist()),
        validation_rows=tuple(validation.tolist()),
        source={"spec": str(path.resolve()), "seed": seed, "model": name},
        preparation=preparation,
    )


def split_along(rows: int, seed: int) -> tuple[Rows, Rows]:
    """Rows of the training part and of the validation part, where neighbours belong together.

    Args:
        rows: of a sequence, which is cut into pieces.
        seed: of the draw of one of every five pieces in a row.

    >>> train, validation = split_along(10, seed=0)
    >>> len(train), (validation // 5).tolist()
    (8, [0, 1])
    """
    every = round(1 / VALIDATION_SHARE)
    pieces = np.array_split(np.arange(rows), min(PIECES, rows) // every * every)
    drawn = np.random.default_rng(seed).integers(every, size=len(pieces) // every)
    held = {every * group + int(one) for group, one in enumerate(drawn)}
    parts: tuple[list[Rows], list[Rows]] = [], []
    for number, piece in enumerate(pieces):
        parts[number in held].append(piece)
    return np.concatenate(parts[0]), np.concatenate(parts[1])
