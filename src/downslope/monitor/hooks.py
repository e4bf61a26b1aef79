"""Hooks that belong to one model: its copies and pickles get one that does nothing.

A copy of a model (an average of its weights, say) is not what is watched, and a model that is saved
whole must not take its monitor along.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import nn

__all__ = ["Batch", "Hook", "Noting"]

Batch = tuple[Any, Any]  #: a model's arguments, without and with names


def _nothing(*_: Any) -> None:
    """Stand in for a hook of the model that was copied."""


def _idle() -> Callable[..., None]:
    return _nothing


class Hook:
    """Calls a function, as long as it is the original.

    >>> import copy
    >>> hook = Hook(print)
    >>> hook("seen"), copy.deepcopy(hook)("seen")
    seen
    (None, None)
    """

    __slots__ = ("_function",)

    def __init__(self, function: Callable[..., Any]) -> None:
        self._function = function

    def __call__(self, *args: Any) -> Any:
        """Pass a call on."""
        return self._function(*args)

    def __deepcopy__(self, memo: Any) -> Callable[..., None]:
        return _nothing

    def __reduce__(self) -> Any:
        return _idle, ()


class Noting(Hook):
    """Keeps the arguments of a model's last two training passes.

    >>> noting, model = Noting(), nn.Linear(1, 1)
    >>> handle = model.register_forward_pre_hook(noting, with_kwargs=True)
    >>> _ = [model(torch.full((1, 1), float(k))) for k in range(3)]
    >>> [args[0].item() for args, _ in noting.batches]
    [1.0, 2.0]
    """

    __slots__ = ("_earlier", "_latest", "then")

    def __init__(self) -> None:
        #: Called with the arguments of a training pass as well, if there is one.
        self.then: Callable[[Any, Any], None] | None = None
        self._earlier: Batch | None = None
        self._latest: Batch | None = None

    def __call__(self, module: nn.Module, args: Any, kwargs: Any) -> None:
        """Note the arguments of a pass."""
        if module.training and torch.is_grad_enabled():
            self._earlier, self._latest = self._latest, (args, kwargs)
            if self.then is not None:
                self.then(args, kwargs)

    @property
    def batches(self) -> list[Batch]:
        """The earlier one first."""
        return [batch for batch in (self._earlier, self._latest) if batch is not None]
