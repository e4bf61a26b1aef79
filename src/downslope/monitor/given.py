"""What a loop gives its monitor: losses, rows, an optimizer."""

from __future__ import annotations

import contextlib
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor
from torch.optim import Optimizer

from ..errors import InputError, InputTypeError, told

__all__ = ["as_rows", "closed", "later", "number", "unwrapped"]


class _Unread:
    """A loss on an accelerator, not waited for: a number for what steps ask of it."""

    __slots__ = ("_loss",)

    def __init__(self, loss: Tensor) -> None:
        self._loss = loss.detach()

    def __float__(self) -> float:
        return float(self._loss)

    def __sub__(self, other: object) -> float:
        return 0.0


def later(loss: Any) -> Any:
    """A loss that may be on an accelerator."""
    on_device = isinstance(loss, Tensor) and not loss.is_cpu and loss.numel() == 1
    return _Unread(loss) if on_device else number("step: the loss", loss)


def number(what: str, value: Any) -> float:
    """A float, or an error that says what came in its place."""
    if not isinstance(value, Tensor) or value.numel() == 1:
        with contextlib.suppress(TypeError, ValueError):
            return float(value)
    raise InputTypeError(
        f"Monitor.{what} is {told(value)}, but it must be one number, a float or a tensor of one "
        "element: loss.mean(), say."
    )


def as_rows(inputs: Tensor | ArrayLike) -> Tensor:
    """Rows as a tensor."""
    if isinstance(inputs, Tensor) or hasattr(inputs, "__array__"):
        with contextlib.suppress(TypeError):  # of what torch has no numbers for
            found = inputs if isinstance(inputs, Tensor) else torch.as_tensor(np.asarray(inputs))
            if found.dim():
                return found
    raise InputTypeError(
        f"Monitor.data: got {told(inputs)}, but the inputs must be a tensor or an array with a row "
        "for each sample; of a dataset: torch.stack([x for x, _ in dataset])."
    )


def closed(*_: Any) -> Any:
    """Stand in for what reads losses."""
    raise InputError(
        "Monitor: told of something after close(), which let go of the model. Close it later, or "
        "make another one with done= the steps so far."
    )


def unwrapped(optimizer: Optimizer) -> Optimizer:
    """What steps in the end: wrappers such as Accelerate's have no hooks of their own."""
    inner = getattr(optimizer, "optimizer", None)
    hooked = "_optimizer_step_pre_hooks" in vars(optimizer)
    return optimizer if hooked or not isinstance(inner, Optimizer) else unwrapped(inner)
