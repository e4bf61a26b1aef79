"""Hooks, and what costs less, that belong to one model: its copies and pickles are without them.

A copy of a model (an average of its weights, say) is not what is watched, and a model that is saved
whole must not take its monitor along.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable
from typing import Any

import torch
from torch import is_grad_enabled, nn
from torch.utils.hooks import RemovableHandle

__all__ = ["After", "Batch", "Hook", "Noting", "Tap"]

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


class After(Hook):
    """A hook after a module's calls that is given only what they return."""

    __slots__ = ()

    def __call__(self, module: nn.Module, args: Any, output: Any) -> None:
        """Pass the output on."""
        self._function(output)


class Tap:
    """Stands around a module's calls, where :meth:`torch.nn.Module.compile` puts what it compiled.

    What is put there is called instead of ``_call_impl``, and is not copied or pickled with the
    module. A hook sends every call the long way through ``_call_impl``, which takes three times as
    long. But code that torch compiles goes past a tap.

    Args:
        module: whose calls they are.
        after: called with what a call returned.

    >>> layer = nn.ReLU()
    >>> tap = Tap(layer, print)
    >>> tap.put(), layer(torch.ones(2))
    tensor([1., 1.])
    (True, tensor([1., 1.]))
    """

    __slots__ = ("_call", "_module", "after")

    def __init__(self, module: nn.Module, after: Callable[[Any], None] | None = None) -> None:
        self._module: Callable[[], Any] = weakref.ref(module)
        self._call: Any = None  # what a call is passed on to while it is in
        #: Called with what a call returned, if there is one.
        self.after = after

    def put(self) -> bool:
        """Put it in, unless the place is taken. While it is in, it keeps its module alive.

        Not on accelerators: what ``nn.DataParallel`` copies to others there would take it along.
        """
        module = self._module()
        tensors = *module.parameters(), *module.buffers()
        fits = module._compiled_call_impl is None and all(t.is_cpu for t in tensors)
        if fits and type(module).__call__ is nn.Module.__call__:
            module._compiled_call_impl = self
            self._call = module._call_impl  # not weak: that takes .3 us a call
            return True
        return False

    def remove(self) -> None:
        """Take it out if it is in."""
        module = self._module()
        if module is not None and module._compiled_call_impl is self:
            del module._compiled_call_impl

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Pass a call on."""
        output = self._call(*args, **kwargs)
        if self.after is not None:
            self.after(output)
        return output

    def __deepcopy__(self, memo: Any) -> None:
        return None

    def __reduce__(self) -> Any:
        return type(None), ()


class Noting(Tap):
    """Keeps the arguments of a model's last two passes with gradients.

    Whether it was in training mode is only asked where that matters: a module's attributes are
    slow.

    By a hook as long as it is not known whether the model is called or compiled, then by a tap.

    >>> model = nn.Linear(1, 1)
    >>> noting = Noting(model)
    >>> _ = [model(torch.full((1, 1), float(k))) for k in range(3)]
    >>> [args[0].item() for args, _ in noting.batches]
    [1.0, 2.0]
    """

    __slots__ = ("_called", "_compiled", "_earlier", "_hook", "_latest", "then")

    def __init__(self, module: nn.Module) -> None:
        super().__init__(module)
        #: Called with the arguments of a pass in training mode as well, if there is one.
        self.then: Callable[[Any, Any], None] | None = None
        self._earlier: Batch | None = None
        self._latest: Batch | None = None
        self._hook: RemovableHandle | None = None
        self.ask()

    @property
    def batches(self) -> list[Batch]:
        """The earlier one first."""
        return [batch for batch in (self._earlier, self._latest) if batch is not None]

    def ask(self) -> None:
        """Find out anew how the model is called."""
        self.remove()
        self._called = self._compiled = False
        hook = Hook(self._see)
        self._hook = self._module().register_forward_pre_hook(hook, with_kwargs=True)

    @property
    def tapped(self) -> bool:
        """Whether the tap is what sees the passes."""
        return self._hook is None

    def settle(self) -> None:
        """Take the tap if the model was called and not compiled."""
        if self._hook is not None and self._called and not self._compiled and self.put():
            self._hook.remove()
            self._hook = None

    def remove(self) -> None:
        """Take out whatever is in."""
        super().remove()
        self.after = None
        if self._hook is not None:
            self._hook.remove()
            self._hook = None

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Note what a call is given, and pass it on."""
        if is_grad_enabled():  # as in _see: a call would cost as much
            self._earlier, self._latest = self._latest, (args, kwargs)
            if self.then is not None and self._module().training:
                self.then(args, kwargs)
        if self.after is None:
            return self._call(*args, **kwargs)
        output = self._call(*args, **kwargs)
        self.after(output)
        return output

    def _see(self, module: nn.Module, args: Any, kwargs: Any) -> None:
        self._called = True
        self._compiled = self._compiled or torch.compiler.is_compiling()
        if is_grad_enabled():
            self._earlier, self._latest = self._latest, (args, kwargs)
            if self.then is not None and module.training:
                self.then(args, kwargs)
