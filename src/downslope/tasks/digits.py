"""Handwritten digits: 1797 images of 8 x 8 pixels that come with scikit-learn.

Alpaydin and Kaynak, Optical Recognition of Handwritten Digits, UCI repository, 1998.
"""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.data import TensorDataset

from ..errors import MissingExtraError
from .metrics import accuracy
from .preparation import ModelSource
from .split import split_rows
from .task import Metric, Task

__all__ = ["digits"]

CLASSES = 10
BRIGHTEST = 16.0
CHANNELS = 16


def digits(seed: int) -> Task:
    """A small convolutional network on images ``(1, 8, 8)`` with pixels between 0 and 1.

    Args:
        seed: of the stratified split.

    Raises:
        MissingExtraError: scikit-learn is not installed.
    """
    try:
        from sklearn.datasets import load_digits
    except ImportError:
        raise MissingExtraError("scikit-learn", "data", "The task 'digits'") from None
    bunch = load_digits()
    images = torch.from_numpy(bunch.images / BRIGHTEST).float().unsqueeze(1)
    targets = torch.from_numpy(bunch.target.astype(np.int64))
    train, validation = split_rows(len(targets), seed, classes=bunch.target)
    return Task(
        name="digits",
        model=ModelSource("digits"),
        loss=F.cross_entropy,
        train=TensorDataset(images[train], targets[train]),
        validation=TensorDataset(images[validation], targets[validation]),
        metric=Metric("accuracy", accuracy, higher_is_better=True),
        batch_size=64,
        epochs=20,
        kind="classification",
        train_rows=tuple(train.tolist()),
        validation_rows=tuple(validation.tolist()),
        source={"spec": "digits", "seed": seed},
    )


def convolutional_network() -> nn.Module:
    """Three convolutions, each with batch norm and ReLU, on 8 x 8, 8 x 8 and 4 x 4 pixels.

    >>> convolutional_network()(torch.zeros(5, 1, 8, 8)).shape
    torch.Size([5, 10])
    """
    return nn.Sequential(
        *_convolution(1, CHANNELS),
        *_convolution(CHANNELS, CHANNELS),
        nn.MaxPool2d(2),
        *_convolution(CHANNELS, 2 * CHANNELS),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Dropout(0.3),
        nn.Linear(2 * CHANNELS * 2 * 2, CLASSES),
    )


def _convolution(channels_in: int, channels_out: int) -> tuple[nn.Module, ...]:
    convolution = nn.Conv2d(channels_in, channels_out, kernel_size=3, padding=1, bias=False)
    return convolution, nn.BatchNorm2d(channels_out), nn.ReLU()
