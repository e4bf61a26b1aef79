"""How a file becomes a model's inputs, and its outputs answers: what predictions need but weights.

A :class:`Preparation` holds what was learnt from the training part (means, levels, the words of the
classes) and how the model is made again. It is plain data, kept in every checkpoint, so that
predictions need neither the training data nor its file. A new kind of file is a subclass, and a
line in :data:`KINDS`.
"""

from __future__ import annotations

import importlib
import math
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Self

import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from ..errors import InputError, InputTypeError, told, unknown
from .functions import FORM, called, found, is_function

__all__ = ["FileBatch", "ModelSource", "Preparation", "restored", "spread"]

#: Kind -> the class that reads files of it, imported when it is needed.
KINDS = {
    "table": f"{__package__}.tables.preparation:TablePreparation",
    "images": f"{__package__}.images.preparation:ImagePreparation",
    "text": f"{__package__}.text.preparation:TextPreparation",
    "arrays": f"{__package__}.arrays.preparation:ArrayPreparation",
}

#: Built-in model -> the class or function that makes it.
MODELS = {
    "table": f"{__package__}.tables.model:TableModel",
    "digits": f"{__package__}.digits:convolutional_network",
    "mlp": f"{__package__}.models:flat_mlp",
    "cnn": f"{__package__}.models:Cnn",
    "gru": f"{__package__}.models:Gru",
    "transformer": f"{__package__}.models:Transformer",
}


@dataclass(frozen=True)
class ModelSource:
    """A model factory that can be written down: what it is called and its arguments.

    Args:
        name: of a built-in model, or ``"package.module:function"`` for one of your own, which must
            be importable wherever the model is made again. It takes no arguments: a file that came
            from elsewhere shall not say what is called with what.
        arguments: of a built-in model, by name; plain data.

    >>> make = ModelSource("table", {"features": 3, "outputs": 2, "rows": 400})
    >>> ModelSource(**make.to_dict())() is not make()
    True
    """

    name: str
    arguments: Mapping[str, int | float | str | bool | None] = field(default_factory=dict)

    def __call__(self) -> nn.Module:
        """A fresh model.

        Raises:
            InputError: there is no such model, or making it fails.
        InputTypeError: what was called made something else.
        """
        if self.name in MODELS:
            made: nn.Module = _builtin(MODELS[self.name])(**self.arguments)
            return made
        if not is_function(self.name):
            raise unknown("model", self.name, [*MODELS, FORM])
        if self.arguments:
            raise InputError(
                f"The model {self.name!r} is made without arguments, got {dict(self.arguments)}. "
                "Write a function that needs none."
            )
        own = called(self.name)
        if not isinstance(own, nn.Module):
            raise InputTypeError(f"{self.name!r} must return a torch.nn.Module, got {told(own)}.")
        return own

    def to_dict(self) -> dict[str, Any]:
        """Plain data: the arguments of this class."""
        return {"name": self.name, "arguments": dict(self.arguments)}


@dataclass(frozen=True)
class FileBatch:
    """Some rows of a file, ready for the model.

    Args:
        inputs: what the model takes.
        share: of the file that has been read with this batch, between 0 and 1.
        keys: columns that say which rows these are (a file's name), where their order does not.
    """

    inputs: Tensor
    share: float
    keys: Mapping[str, Sequence[Any]] = field(default_factory=dict)


class Preparation(ABC):
    """From a file to inputs, and from outputs to answers.

    Subclasses have a ``kind``, by which :func:`restored` finds them, and a ``model``.
    """

    kind: ClassVar[str]
    model: ModelSource

    @abstractmethod
    def read(self, path: Path, batch_size: int) -> Iterator[FileBatch]:
        """The rows of a file in their order, of which never more than a few are in memory.

        Args:
            path: the file.
            batch_size: rows a batch, about.

        Raises:
            InputError: the file cannot be used; one line that names the place.
        """

    @abstractmethod
    def example(self, rows: int) -> Tensor:
        """Inputs of the right shape and type, without meaning, to trace the model on.

        Args:
            rows: how many.
        """

    @abstractmethod
    def answers(self, outputs: Tensor, inputs: Tensor) -> dict[str, NDArray[Any]]:
        """What the model's outputs say, as named columns with one value for each row.

        Args:
            outputs: of the model for some rows, on the CPU.
            inputs: that it was given.
        """

    @abstractmethod
    def settings(self) -> dict[str, Any]:
        """Plain data from which :meth:`from_settings` makes this again; without the model."""

    @classmethod
    @abstractmethod
    def from_settings(cls, model: ModelSource, settings: Mapping[str, Any]) -> Self:
        """The preparation of these settings."""

    def to_dict(self) -> dict[str, Any]:
        """Plain data for :func:`restored`."""
        return {"kind": self.kind, "model": self.model.to_dict(), "settings": self.settings()}


def restored(data: Mapping[str, Any]) -> Preparation:
    """The preparation that :meth:`Preparation.to_dict` described.

    Raises:
        InputError: its kind is not known here.
        InputTypeError: a kind of one's own is no preparation.
    """
    kind = data["kind"]
    if kind not in KINDS and not is_function(kind):
        raise unknown("kind of preparation", kind, [*KINDS, "package.module:Class"])
    cls = _builtin(KINDS[kind]) if kind in KINDS else found(kind)
    if not (isinstance(cls, type) and issubclass(cls, Preparation)):
        raise InputTypeError(f"{kind!r} must be a subclass of downslope.tasks.Preparation.")
    return cls.from_settings(ModelSource(**data["model"]), data["settings"])


def spread(*shape: int) -> Tensor:
    """Numbers of that shape, evenly from -1 to 1."""
    return torch.linspace(-1, 1, math.prod(shape)).view(shape)


def _builtin(reference: str) -> Any:
    """What ``module:name`` names inside this package."""
    module, _, name = reference.partition(":")
    return getattr(importlib.import_module(module), name)
