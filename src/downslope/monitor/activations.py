"""What flows through a model in one forward pass: inputs, activations, outputs.

Nothing is hooked between two looks: :class:`Look` puts its hooks in before a forward pass and takes
them out after it, so the passes that nobody looks at run as fast as ever. Activation functions are
seen whether they are modules or calls (``torch.relu(x)``), by a
:class:`torch.overrides.TorchFunctionMode`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from .hooks import Hook
from .tensors import plain

__all__ = ["Look", "first_tensor", "input_facts", "output_facts"]

#: tanh'(x) and sigmoid'(x) are below 5% of their largest value beyond these outputs.
TANH_FLAT, SIGMOID_FLAT = 0.975, 0.0127
_RELU = frozenset({"relu", "relu_", "relu6", "threshold"})
_TANH = frozenset({"tanh", "tanh_"})
_SIGMOID = frozenset({"sigmoid", "sigmoid_"})
_WATCHED = _RELU | _TANH | _SIGMOID


def first_tensor(value: Any) -> Tensor | None:
    """The first tensor in nested tuples, lists and dicts, depth first."""
    return next(_tensors(value), None)


def _tensors(value: Any) -> Iterator[Tensor]:
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, dict):
        for item in value.values():
            yield from _tensors(item)
    elif isinstance(value, (tuple, list)):
        for item in value:
            yield from _tensors(item)


def _units(values: Tensor) -> Tensor:
    """Reshaped to [rows, units]: a unit is a channel of an image or volume, else a last index."""
    if values.dim() >= 4:
        values = values.movedim(1, -1)
    return values.reshape(-1, values.shape[-1]) if values.dim() > 1 else values.reshape(-1, 1)


def input_facts(value: Tensor) -> dict[str, Any]:
    """Rows, and for floating-point inputs the spread, middle and largest value of their features.

    ``std_ratio`` is the largest over the smallest standard deviation of the features that vary;
    ``mean_over_std`` the median distance of a feature's mean from zero, in its own deviations.
    ``checksum`` is the sum of the first row: it tells one batch from another, also where a batch
    is all the data in another order.
    """
    rows = value.shape[0] if value.dim() else 1
    first = value[:1] if value.dim() else value
    facts: dict[str, Any] = {"rows": rows, "checksum": plain(float(first.sum()))}
    if not value.is_floating_point():
        return facts
    units = _units(value.detach().float())
    largest = float(torch.linalg.vector_norm(units, math.inf)) if units.numel() else 0.0
    facts["largest"] = plain(largest)
    # Few numbers from here on, for which NumPy is several times as fast.
    var, mean = (v.cpu().numpy() for v in torch.var_mean(units, 0, correction=0))
    std = np.sqrt(var)
    varies = std > 1e-6 * largest
    if len(units) >= 4 and varies.any():
        std, mean = std[varies], mean[varies]
        low, high = float(std.min()), float(std.max())
        facts["std_max"], facts["std_min"] = high, low
        facts["std_ratio"] = high / low
        facts["mean_over_std"] = float(np.sort(np.abs(mean) / std)[(len(std) - 1) // 2])
    return facts


def output_facts(value: Tensor) -> dict[str, Any]:
    """Size of the outputs, and how much they differ between rows.

    ``spread`` is the root mean square over units of the deviation over rows; ``scale`` the root
    mean square of all outputs.
    """
    units = _units(value.detach().float())
    var, mean = torch.var_mean(units, 0, correction=0)
    noise, size = torch.stack([var.mean(), mean.square().mean()]).tolist()
    facts: dict[str, Any] = {"rows": len(units), "scale": plain(math.sqrt(noise + size))}
    return facts | ({"spread": plain(math.sqrt(noise))} if len(units) >= 2 else {})


def _activation_facts(kind: str, value: Tensor) -> dict[str, Any]:
    units = _units(value.detach())
    if kind in _RELU:
        alive = (units > 0).sum(0)
        dead, zero = (alive == 0).sum(), alive.sum()
        dead, zero = torch.stack([dead, zero]).tolist()
        count = max(1, len(alive))
        return {"kind": "relu", "dead": dead / count, "zero": 1 - zero / max(1, units.numel())}
    if kind in _TANH:
        return {"kind": "tanh", "saturated": _share(units.abs() > TANH_FLAT)}
    flat = (units < SIGMOID_FLAT) | (units > 1 - SIGMOID_FLAT)
    return {"kind": "sigmoid", "saturated": _share(flat)}


def _share(mask: Tensor) -> float:
    return int(mask.sum()) / max(1, mask.numel())


class _Activations(TorchFunctionMode):
    """Notes every activation function's result under the name of the module that called it."""

    def __init__(self, name: Callable[[], str]) -> None:
        super().__init__()
        self._name = name
        self.found: dict[str, dict[str, Any]] = {}
        self.results: dict[str, Tensor] = {}

    def __torch_function__(
        self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        result = func(*args, **(kwargs or {}))
        kind = getattr(func, "__name__", "")
        if kind in _WATCHED and isinstance(result, Tensor) and result.is_floating_point():
            name = self._name() or kind
            with torch.no_grad():
                facts = _activation_facts(kind, result)
            if name in self.found and self.found[name]["kind"] != facts["kind"]:
                name = f"{name}.{facts['kind']}"
            self._merge(self.found.setdefault(name, {**facts, "calls": 0}), facts)
            self.results[name] = result.detach()
        return result

    @staticmethod
    def _merge(kept: dict[str, Any], new: dict[str, Any]) -> None:
        """The mean over the calls, such as the steps of a recurrent network."""
        calls = kept["calls"] = kept["calls"] + 1
        for name, value in new.items():
            if name != "kind":
                kept[name] += (value - kept[name]) / calls


class Look:
    """One look at one forward pass of a model.

    Args:
        model: whose next forward pass in training mode is watched.
        before_backward: called when the backward pass of it begins, before any gradient changes.

    After the pass ``facts`` holds ``input``, ``output`` and ``activations``.
    """

    def __init__(self, model: nn.Module, before_backward: Callable[[], None]) -> None:
        self.facts: dict[str, Any] = {}
        self._model, self._before_backward = model, before_backward
        self._stack: list[str] = []
        self._mode = _Activations(lambda: self._stack[-1] if self._stack else "")
        self._handles: list[Any] = []
        self._watching = False

    def __enter__(self) -> Self:
        keep = self._handles.append
        for name, module in self._model.named_modules():
            if name:
                keep(
                    module.register_forward_pre_hook(Hook(lambda *_, n=name: self._stack.append(n)))
                )
                keep(module.register_forward_hook(Hook(lambda *_: self._leave()), always_call=True))
        keep(self._model.register_forward_pre_hook(Hook(self._begin), with_kwargs=True))
        keep(self._model.register_forward_hook(Hook(self._end), always_call=True))
        return self

    def __exit__(self, *_: object) -> None:
        for handle in self._handles:
            handle.remove()
        self._handles.clear()

    def _notice(self, gradient: Tensor) -> None:
        self._before_backward()

    def _leave(self) -> None:
        if self._stack:
            self._stack.pop()

    def _begin(self, module: nn.Module, args: Any, kwargs: Any) -> None:
        self._watching = module.training and torch.is_grad_enabled() and not self.facts
        if not self._watching:
            return
        tensor = first_tensor((args, kwargs))
        if tensor is not None:
            with torch.no_grad():
                self.facts["input"] = input_facts(tensor)
        self._stack.clear()
        self._mode.__enter__()  # type: ignore[no-untyped-call]  # torch has no type for it

    def _end(self, module: nn.Module, args: Any, output: Any) -> None:
        if not self._watching:
            return
        self._watching = False
        self._mode.__exit__(None, None, None)  # type: ignore[no-untyped-call]  # torch has no type for it
        tensor = first_tensor(output)
        self.facts["activations"] = self._mode.found
        if tensor is None:
            return
        if tensor.is_floating_point():
            with torch.no_grad():
                self.facts["output"] = output_facts(tensor)
            for name, result in self._mode.results.items():
                if result.data_ptr() == tensor.data_ptr():  # a last sigmoid may be as sure as it is
                    self._mode.found[name]["output"] = True
        self._mode.results.clear()
        if tensor.requires_grad:
            tensor.register_hook(self._notice)  # type: ignore[no-untyped-call]  # torch has no type for it
