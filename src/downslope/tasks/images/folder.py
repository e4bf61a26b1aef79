"""A folder of images by class as a task."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset, TensorDataset

from ...errors import InputError
from ..batches import size as rows_of
from ..fingerprint import fingerprint
from ..length import epochs_for
from ..metrics import Metric, accuracy
from ..preparation import ModelSource
from ..split import VALIDATION_SHARE, split_rows
from ..task import Task
from .file import BRIGHTEST, FEWEST_PIXELS, ImageShape, by_class, decode, shape_of
from .preparation import ImagePreparation

__all__ = ["AUGMENTATIONS", "Augmented", "ImageFiles", "image_folder", "unaugmented"]

AUGMENTATIONS = ("shift", "flip")
SHIFT = 8  # an image is moved by up to this part of its side
MOST_ASKED = 1024  # pixels of a side
MOST_CACHED = 2**29  # bytes of inputs in memory; more are decoded when they are read
MEASURED = 2000  # images of the training part from which mean and deviation are taken
BATCH_SIZE = 64
FEWEST_EPOCHS = 10

Pair = tuple[Tensor, ...]


def image_folder(
    folder: Path, seed: int, *, image_size: int | None = None, augment: str | None = None
) -> Task:
    """A task from ``FOLDER/class/*.png``: classification by the convolutional network.

    Images are brought to one size and number of channels (``file.shape_of``), less each
    channel's mean over its standard deviation in the training part. A fifth of each class is the
    validation part. What fits into half a gigabyte is decoded once and kept in memory, the rest
    whenever it is read (a recipe's ``workers`` read ahead).

    Args:
        folder: with a folder for each class.
        seed: of the stratified split.
        image_size: side in pixels; ``None``: the images' own, at most 64.
        augment: ``"shift"`` moves training images by up to an eighth, ``"flip"`` mirrors half of
            them too; ``None``: they stay as they are.

    Raises:
        InputError: too few classes or images, or an image that cannot be read, named.
        MissingExtraError: pillow or scikit-learn is not installed.
    """
    if augment not in (None, *AUGMENTATIONS):
        raise InputError(f"augment must be one of {', '.join(AUGMENTATIONS)}, got {augment!r}.")
    whole = isinstance(image_size, int) and FEWEST_PIXELS <= image_size <= MOST_ASKED
    if image_size is not None and not whole:
        raise InputError(
            f"image_size must be from {FEWEST_PIXELS} to {MOST_ASKED} pixels, got {image_size!r}."
        )
    classes = by_class(folder)
    labels = _labels(folder, {name: len(images) for name, images in classes.items()})
    files = [path for images in classes.values() for path in images]
    shape = shape_of(files, image_size)
    parts = split_rows(len(files), seed, classes=labels)
    preparation = _preparation([files[row] for row in parts[0]], shape, tuple(classes))
    cached = 4 * len(files) * shape.channels * shape.height * shape.width <= MOST_CACHED
    train, validation = (
        ImageFiles([files[r] for r in rows], torch.from_numpy(labels[rows]), preparation)
        for rows in parts
    )
    data: list[Dataset[Pair]] = [p.in_memory() if cached else p for p in (train, validation)]
    if augment is not None:
        data[0] = Augmented(data[0], flip=augment == "flip")
    return Task(
        name=folder.resolve().name,
        model=preparation.model,
        loss=F.cross_entropy,
        train=data[0],
        validation=data[1],
        metric=Metric("accuracy", accuracy, higher_is_better=True),
        batch_size=BATCH_SIZE,
        epochs=epochs_for(len(parts[0]), BATCH_SIZE, fewest=FEWEST_EPOCHS),
        kind="classification",
        train_rows=tuple(parts[0].tolist()),
        validation_rows=tuple(parts[1].tolist()),
        source={
            "spec": str(folder.resolve()),
            "seed": seed,
            "image_size": image_size,
            "augment": augment,
        },
        preparation=preparation,
    )


class ImageFiles(Dataset[Pair]):
    """Images that are decoded when they are read.

    Args:
        files: one for each row.
        targets: ``(rows,)``, their classes.
        preparation: makes inputs of them.
    """

    def __init__(
        self, files: Sequence[Path], targets: Tensor, preparation: ImagePreparation
    ) -> None:
        self._files, self._targets, self._preparation = files, targets, preparation

    def __len__(self) -> int:
        return len(self._files)

    def __getitem__(self, row: int) -> Pair:
        return self._preparation.input(self._files[row]), self._targets[row]

    def in_memory(self) -> TensorDataset:
        """All of them, decoded now."""
        inputs = [self._preparation.input(path) for path in self._files]
        return TensorDataset(torch.stack(inputs), self._targets)

    def fingerprint(self) -> bytes:
        """Of names, sizes and classes; reading all images would take as long as an epoch."""
        told = [f"{p.parent.name}/{p.name} {p.stat().st_size}" for p in self._files]
        return hashlib.sha256("\n".join(told).encode()).digest()


class Augmented(Dataset[Pair]):
    """Images moved by up to an eighth of their sides, what comes into view being mirrored.

    Args:
        data: of ``(image, target)`` pairs.
        flip: whether half of them are mirrored from left to right as well.
    """

    def __init__(self, data: Dataset[Pair], *, flip: bool) -> None:
        self.plain, self._flip = data, flip

    def __len__(self) -> int:
        return rows_of(self.plain)

    def __getitem__(self, row: int) -> Pair:
        image, target = self.plain[row]
        height, width = image.shape[-2:]
        most = height // SHIFT, width // SHIFT
        framed = F.pad(image, (most[1], most[1], most[0], most[0]), mode="reflect")
        top, left = (int(torch.randint(2 * m + 1, ()).item()) for m in most)
        moved = framed[..., top : top + height, left : left + width]
        if self._flip and torch.rand(()) < 0.5:
            moved = moved.flip(-1)
        return moved, target

    def fingerprint(self) -> bytes:
        """That of the images as they are."""
        return fingerprint(self.plain).encode()


def unaugmented(data: Dataset[Pair]) -> Dataset[Pair]:
    """The images as they are, where they are augmented: to judge by, not to train on."""
    return data.plain if isinstance(data, Augmented) else data


def _labels(folder: Path, counts: dict[str, int]) -> NDArray[np.int64]:
    """The class of each image, in the order of the classes; all have enough images."""
    rows = sum(counts.values())
    if len(counts) < 2:
        raise InputError(
            f"{str(folder)!r} holds {len(counts)} class: two folders with images are needed to "
            "tell classes apart."
        )
    few = [name for name, count in counts.items() if count < 2]
    if few:
        raise InputError(
            f"{str(folder / few[0])!r} holds one image, and each class needs one to train on and "
            "one to validate on. Add images, or remove the class."
        )
    if len(counts) > VALIDATION_SHARE * rows:
        raise InputError(
            f"{str(folder)!r}: too few images: {rows} for {len(counts)} classes; the validation "
            "part, a fifth, must have room for every class. Add images."
        )
    return np.repeat(np.arange(len(counts)), list(counts.values()))


def _preparation(
    train: Sequence[Path], shape: ImageShape, classes: tuple[str, ...]
) -> ImagePreparation:
    """With the statistics of some images of the training part, spread over it."""
    every = -(-len(train) // MEASURED)
    pixels = torch.stack([decode(path, shape) for path in train[::every]]).double() / BRIGHTEST
    deviation, mean = torch.std_mean(pixels, dim=(0, 2, 3), correction=0)
    arguments = {
        "channels": shape.channels,
        "height": shape.height,
        "width": shape.width,
        "outputs": len(classes),
    }
    return ImagePreparation(
        ModelSource("cnn", arguments),
        shape,
        mean=tuple(mean.tolist()),
        deviation=tuple(deviation.tolist()),
        classes=classes,
    )
