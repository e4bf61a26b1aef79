"""Everything that a trial step may change, taken before and put back after.

Tensors are put back in place, so whoever holds one (another optimizer, a compiled graph, a tied
module) sees the old values too. Optimizer state and gradients are set aside, not copied back: the
trial runs on clones, so the very same objects return.
"""

from __future__ import annotations

import copy
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy
from torch.optim import Optimizer

from ..errors import InputError
from ..randomness import randomness_restored

__all__ = ["restored"]


@contextmanager
def restored(
    modules: list[nn.Module], optimizer: Optimizer, generators: list[torch.Generator]
) -> Iterator[list[Tensor]]:
    """Run the body without gradients left from before, then put everything back in any case.

    Args:
        modules: whose parameters, buffers, gradients and train/eval modes are restored.
        optimizer: whose state and groups are restored; its parameters too.
        generators: random generators restored beside the global ones.

    Yields:
        every parameter, once.
    """
    parameters = _parameters(modules, optimizer)
    stack = ExitStack()  # each is put back even where another fails
    try:
        with _interrupts_wait():
            stack.enter_context(randomness_restored(generators))
            stack.callback(_state(optimizer))
            for group in optimizer.param_groups:
                stack.callback(_group(group))
            for p in parameters:
                stack.callback(_parameter(p))
            for module in (m for root in modules for m in root.modules()):
                stack.callback(_module(module))
        yield parameters
    finally:
        with _interrupts_wait():
            stack.close()


@contextmanager
def _interrupts_wait() -> Iterator[None]:
    """Let Ctrl-C wait until the body is done, so that nothing is taken or put back by half."""
    before = signal.getsignal(signal.SIGINT)
    if threading.current_thread() is not threading.main_thread() or before is None:
        yield  # signals arrive in the main thread only; None: not Python's handler
        return
    came = []
    signal.signal(signal.SIGINT, lambda *caught: came.append(caught))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
        if came:
            signal.raise_signal(signal.SIGINT)


Undo = Callable[[], None]


def _parameters(modules: list[nn.Module], optimizer: Optimizer) -> list[Tensor]:
    found: dict[int, Tensor] = {}
    for module in modules:
        for name, p in module.named_parameters():
            if is_lazy(p):
                raise InputError(
                    f"the model's parameter {name!r} has no shape yet: run one batch through the "
                    "model before the range test and before building the optimizer"
                )
            found[id(p)] = p
    for group in optimizer.param_groups:
        found.update((id(p), p) for p in group["params"])
    return list(found.values())


def _parameter(p: Tensor) -> Undo:
    value, grad, requires_grad = p.detach().clone(), p.grad, p.requires_grad
    p.grad = None

    def undo() -> None:
        with torch.no_grad():
            p.copy_(value)
        p.requires_grad_(requires_grad)
        p.grad = grad

    return undo


def _module(module: nn.Module) -> Undo:
    training = module.training
    buffers = {
        name: (b, None if b is None else b.detach().clone()) for name, b in module._buffers.items()
    }

    def undo() -> None:
        module.training = training
        module._buffers.clear()
        for name, (buffer, value) in buffers.items():
            module._buffers[name] = buffer
            if buffer is not None and value is not None:
                with torch.no_grad():
                    buffer.copy_(value)

    return undo


def _group(group: dict[str, Any]) -> Undo:
    kept = dict(group)
    tensors = {key: v.detach().clone() for key, v in group.items() if isinstance(v, Tensor)}

    def undo() -> None:
        group.clear()
        group.update(kept)
        with torch.no_grad():
            for key, value in tensors.items():
                group[key].copy_(value)

    return undo


def _state(optimizer: Optimizer) -> Undo:
    kept = dict(optimizer.state)
    for p, values in kept.items():
        optimizer.state[p] = {key: _clone(value) for key, value in values.items()}

    def undo() -> None:
        optimizer.state.clear()
        optimizer.state.update(kept)

    return undo


def _clone(value: Any) -> Any:
    return value.detach().clone() if isinstance(value, Tensor) else copy.deepcopy(value)
