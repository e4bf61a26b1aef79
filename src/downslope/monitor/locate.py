"""Where the first number that is not finite comes from: the input, a weight, a module, the loss."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from ..randomness import randomness_restored
from .activations import first_tensor, tensors
from .hooks import Batch

__all__ = ["Origin", "locate", "locate_backward", "origin"]


@dataclass(frozen=True)
class Origin:
    """Where it began.

    Args:
        kind: ``"input"``, ``"weights"``, ``"forward"``, ``"backward"`` or ``"loss"``.
        name: of the parameter or module; for inputs the rows that are not finite.
    """

    kind: str
    name: str


def origin(
    model: nn.Module,
    batches: Sequence[Batch],
    kept: Sequence[Tensor],
    step: int,
    *,
    stepped: bool = False,
) -> tuple[int, Origin]:
    """Where the first number that is not finite came from, and in which step.

    Args:
        model: whose last step went wrong.
        batches: the arguments of its last passes, one or two.
        kept: weights that were finite, one a trained parameter, if any were kept.
        step: the step of the last batch.
        stepped: the last batch was seen with the kept weights, and a step was made of it since.
    """
    if stepped:
        with _weights(model, kept) as fits:
            if fits:
                return origin(model, batches, kept, step)
    try:
        found = locate(model, *batches[-1])
        if found.kind == "loss":  # or its gradient: forward is finite
            return step, locate_backward(model, *batches[-1]) or found
        if found.kind == "weights":  # this step's doing, or the one before's
            return _with_earlier_weights(model, batches, kept, step) or (step, found)
    except RuntimeError as error:  # the pass cannot be run again, by its own nature
        return step, Origin("unknown", f"running the batch again failed: {error}")
    return step, found


def _with_earlier_weights(
    model: nn.Module, batches: Sequence[Batch], kept: Sequence[Tensor], step: int
) -> tuple[int, Origin] | None:
    """Try the last two batches with the last weights that were finite."""
    with _weights(model, kept) as fits:
        for back in range(len(batches) - 1, -1, -1) if fits else ():
            batch = batches[-1 - back]
            found = locate(model, *batch)
            if found.kind in ("forward", "input"):
                return step - back, found
            if back and (backward := locate_backward(model, *batch)) is not None:
                return step - back, backward
    return None


@contextmanager
def _weights(model: nn.Module, kept: Sequence[Tensor]) -> Iterator[bool]:
    """Put kept weights in for a while; False, and nothing is done, if they are others'."""
    params: list[Tensor] = [p for p in model.parameters() if p.requires_grad]
    if len(params) != len(kept):
        yield False
        return
    now = [p.detach().clone() for p in params]
    try:
        with torch.no_grad():
            torch._foreach_copy_(params, list(kept))
        yield True
    finally:
        with torch.no_grad():
            torch._foreach_copy_(params, now)


def locate(model: nn.Module, args: Any, kwargs: Any) -> Origin:
    """Run a forward pass again and find the first thing in it that is not finite.

    Parameters, buffers, modes and random numbers are as before afterwards.
    """
    for tensor in tensors((args, kwargs)):
        if bad := _bad_rows(tensor):
            return Origin(
                "input", f"rows {', '.join(map(str, bad[:5]))}" + ", ..." * (len(bad) > 5)
            )
    bad_weights = [name for name, p in model.named_parameters() if _nonfinite(p)]
    bad_weights += [name for name, b in model.named_buffers() if _nonfinite(b)]
    if bad_weights:  # backward goes from the last module to the first: the last is the nearest
        return Origin("weights", bad_weights[-1])
    found: list[str] = []

    def check(name: str, output: Any) -> None:
        if not found and any(_nonfinite(t) for t in tensors(output)):
            found.append(name)

    with _watched(model, check), torch.no_grad():
        model(*args, **kwargs)
    return Origin("forward", found[0]) if found else Origin("loss", "the loss function")


def locate_backward(model: nn.Module, args: Any, kwargs: Any) -> Origin | None:
    """Run forward and backward again; the module whose backward gives the first bad gradient.

    The loss is not known here; the sum of squared outputs stands in for it. None: its gradients
    are all finite.
    """
    found: list[str] = []

    def watch(name: str, output: Any) -> None:
        for tensor in tensors(output):
            if tensor.requires_grad and tensor.is_floating_point():
                note = partial(_note, found, name)
                tensor.register_hook(note)  # type: ignore[no-untyped-call]  # torch has no type for it

    with _watched(model, watch), torch.enable_grad():
        output = first_tensor(model(*args, **kwargs))
        if output is None or not output.requires_grad:
            return None
        params = {n: p for n, p in model.named_parameters() if p.requires_grad}
        surrogate = output.float().square().sum()
        grads = torch.autograd.grad(surrogate, list(params.values()), allow_unused=True)
    bad = [n for n, g in zip(params, grads, strict=True) if g is not None and _nonfinite(g)]
    if not found:
        return Origin("backward", bad[-1].rpartition(".")[0] or bad[-1]) if bad else None
    order = [name for name, module in model.named_modules() if name and not any(module.children())]
    after = order.index(found[0]) + 1 if found[0] in order else len(order)
    # The gradient of this module's output is bad, so whatever reads that output made it so.
    return Origin("backward", order[after] if after < len(order) else found[0])


def _note(found: list[str], name: str, gradient: Tensor) -> None:
    if not found and _nonfinite(gradient):
        found.append(name)


@contextmanager
def _watched(model: nn.Module, see: Callable[[str, Any], None]) -> Iterator[None]:
    """Show every leaf module's output; buffers and random numbers are put back at the end."""
    buffers = {name: b.detach().clone() for name, b in model.named_buffers()}
    handles = [
        module.register_forward_hook(lambda m, a, output, n=name or "the model": see(n, output))
        for name, module in model.named_modules()
        if not any(module.children()) or not name
    ]
    try:
        with randomness_restored():
            yield
    finally:
        for handle in handles:
            handle.remove()
        with torch.no_grad():
            for name, b in model.named_buffers():
                b.copy_(buffers[name])


def _nonfinite(tensor: Tensor) -> bool:
    return tensor.is_floating_point() and not bool(torch.isfinite(tensor.detach()).all())


def _bad_rows(tensor: Tensor) -> list[int]:
    if not _nonfinite(tensor):
        return []
    rows = tensor.detach().reshape(tensor.shape[0] if tensor.dim() else 1, -1)
    return (~torch.isfinite(rows)).any(1).nonzero().flatten().tolist()
