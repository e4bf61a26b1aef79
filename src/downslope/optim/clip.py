"""Clipping of gradients by themselves: ``torch.nn.utils``' functions, in one pass over memory.

With an optimizer of this package there is no need of them: ``clip_norm=`` and ``clip_value=`` do
the same inside the step and rewrite no gradient. They are for other optimizers, and for a look at
the norm between two steps.
"""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Iterable, Iterator
from types import GeneratorType
from typing import Any

import torch
from torch import Tensor

from ..engines import eager, loose
from ..engines.together import whole
from ..errors import InputError, InputTypeError, NonfiniteGradientError

__all__ = ["clip_grad_norm_", "clip_grad_value_"]


@torch.no_grad()
def clip_grad_norm_(
    parameters: Tensor | Iterable[Tensor],
    max_norm: float,
    norm_type: float = 2.0,
    error_if_nonfinite: bool = False,
    foreach: bool | None = None,
) -> Tensor:
    r"""Scale gradients in place so that the norm of all of them together is at most ``max_norm``.

    .. math:: g \leftarrow g \cdot \min\left(1, \frac{\text{max\_norm}}{\|g\| + 10^{-6}}\right)

    :func:`torch.nn.utils.clip_grad_norm_` with the same arguments and these differences:

    - gradients whose norm is below ``max_norm`` are not written to;
    - where the norm is infinite or NaN the gradients are left as they are (torch multiplies all of
      them by it, and so makes all of them NaN), and the norm that is returned says so;
    - the norm is added up in float64: in float32 it is off by 1e-3 for 124M numbers;
    - a parameter that comes twice (a tied weight) counts once.

    Args:
        parameters: whose ``.grad`` is clipped; those without one are passed over.
        max_norm: the threshold, >= 0; infinity measures and changes nothing.
        norm_type: the norm's order: 2, infinity, or any other p.
        error_if_nonfinite: raise where the norm is infinite or NaN.
        foreach: as in torch; None: compiled on the CPU, lists of tensors elsewhere.

    Returns:
        the norm before clipping, float32 or wider.

    Raises:
        InputError: ``max_norm`` is negative or NaN; a generator gives no parameters.
        NonfiniteGradientError: the norm is not finite, with ``error_if_nonfinite``. A
            ``RuntimeError``, as torch's.

    >>> w = torch.nn.Parameter(torch.zeros(2))
    >>> w.grad = torch.tensor([3.0, 4.0])
    >>> clip_grad_norm_([w], max_norm=1.0)
    tensor(5.)
    >>> w.grad
    tensor([0.6000, 0.8000])
    """
    max_norm = _limit("clip_grad_norm_", "max_norm", max_norm)
    grads = _gradients("clip_grad_norm_", parameters)
    if not grads:
        return torch.tensor(0.0)
    norm_type = float(norm_type)
    divided = _Divided(grads, foreach)
    norm = divided.norm(norm_type)
    if error_if_nonfinite and not norm.isfinite():
        raise NonfiniteGradientError(
            f"The total norm of order {norm_type} for gradients from `parameters` is non-finite, "
            f"so it cannot be clipped: {float(norm)}. Nothing was changed. Look at the loss and "
            "the data of this step"
        )
    gain = (max_norm / (norm + 1e-6)).clamp(max=1.0)
    gain = torch.where(norm.isfinite(), gain, 1.0)
    if norm.device.type != "cpu" or gain != 1:  # elsewhere the host does not wait to know
        divided.scale_(gain)
    return norm


@torch.no_grad()
def clip_grad_value_(
    parameters: Tensor | Iterable[Tensor], clip_value: float, foreach: bool | None = None
) -> None:
    """Clamp every element of all gradients, in place, to ``[-clip_value, clip_value]``.

    :func:`torch.nn.utils.clip_grad_value_`, in one pass. An infinite element becomes the limit, NaN
    stays NaN; complex gradients, which torch refuses, are clamped by real and imaginary parts.

    Args:
        parameters: whose ``.grad`` is clamped; those without one are passed over.
        clip_value: the limit, >= 0.
        foreach: as in torch; None: compiled on the CPU, lists of tensors elsewhere.

    Raises:
        InputError: ``clip_value`` is negative or NaN; a generator gives no parameters.

    >>> w = torch.nn.Parameter(torch.zeros(2))
    >>> w.grad = torch.tensor([0.5, -4.0])
    >>> clip_grad_value_([w], 1.0)
    >>> w.grad
    tensor([ 0.5000, -1.0000])
    """
    clip_value = _limit("clip_grad_value_", "clip_value", clip_value)
    grads = _gradients("clip_grad_value_", parameters)
    divided = _Divided(grads, foreach)
    divided.fast.clamp_(clip_value)
    for g in divided.others:
        summed = g.coalesce() if g.is_sparse else g
        values = summed.values() if g.is_sparse else g
        (torch.view_as_real(values) if g.is_complex() else values).clamp_(-clip_value, clip_value)
        if summed is not g:
            g.copy_(summed)


def _limit(owner: str, name: str, value: Any) -> float:
    number = float(value)
    if not number >= 0:
        raise InputError(f"{owner}: {name} must be a number >= 0, got {value}")
    return number


def _gradients(owner: str, parameters: Tensor | Iterable[Tensor]) -> list[Tensor]:
    """The gradients there are, those of a parameter that comes twice once."""
    if isinstance(parameters, Tensor):
        parameters = [parameters]
    given = list(parameters)
    if not given and isinstance(parameters, GeneratorType):
        raise InputError(
            f"{owner}: the generator gave no parameters: it was used up before (by an optimizer's "
            "constructor, say), and nothing would be clipped. Call model.parameters() anew"
        )
    for p in given:
        if not isinstance(p, Tensor):
            raise InputTypeError(f"{owner}: parameters must be tensors, got {type(p).__name__}")
    found = {id(p): p.grad for p in given}
    return [g for g in found.values() if g is not None]


class _Divided:
    """Gradients: those that the compiled engine takes, and the others.

    Args:
        grads: at least one.
        foreach: the others' way: False one by one, else lists of tensors.
    """

    def __init__(self, grads: list[Tensor], foreach: bool | None) -> None:
        fast = [foreach is None and loose.compiled(g) for g in grads]
        self.fast = loose.Sweep([*itertools.compress(grads, fast)])
        self.others = [g for g, taken in zip(grads, fast, strict=True) if not taken]
        self._grads, self._lists = grads, foreach is not False

    def norm(self, order: float) -> Tensor:
        """The norm of all gradients, on the device of the first."""
        device = self._grads[0].device
        wide = eager.widest(device)
        others = self.others if order == 2 else self._grads
        norms = [*self._norms(others, order)]
        if order == 2:
            norms.append(torch.tensor(math.sqrt(whole(self.fast.squares())), dtype=wide))
        norm: Tensor = torch.linalg.vector_norm(
            torch.stack([n.to(device=device, dtype=wide) for n in norms]), order
        )
        kinds = {g.dtype.to_real() for g in self._grads}
        return norm.to(functools.reduce(torch.promote_types, kinds, torch.float32))

    def _norms(self, grads: list[Tensor], order: float) -> Iterator[Tensor]:
        for alike in _by_device_and_kind(grads):
            kind = eager.widest(alike[0].device)
            kind = kind.to_complex() if alike[0].is_complex() else kind
            values = [g.coalesce().values() if g.is_sparse else g for g in alike]
            if self._lists and all(map(_plain, values)):
                yield from torch._foreach_norm(values, order, dtype=kind)
            else:
                yield from (_full(torch.linalg.vector_norm(v, order, dtype=kind)) for v in values)

    def scale_(self, gain: Tensor) -> None:
        """Multiply all gradients in place."""
        if len(self.others) < len(self._grads):
            self.fast.scale_(float(gain))
        for alike in _by_device_and_kind(self.others):
            share = gain.to(device=alike[0].device, dtype=alike[0].dtype.to_real())
            if self._lists and all(map(_plain, alike)):
                torch._foreach_mul_(alike, share)
            else:
                for g in alike:
                    g.mul_(share)


def _plain(g: Tensor) -> bool:
    """Whether torch's operations on lists take it."""
    return type(g) is Tensor and not (g.is_sparse or g.is_conj() or g.is_neg())


def _full(number: Any) -> Tensor:
    """A DTensor's value on every rank; anything else as it is."""
    value: Tensor = number.full_tensor() if hasattr(number, "full_tensor") else number
    return value


def _by_device_and_kind(tensors: list[Tensor]) -> list[list[Tensor]]:
    found: dict[tuple[torch.device, torch.dtype], list[Tensor]] = {}
    for t in tensors:
        found.setdefault((t.device, t.dtype), []).append(t)
    return list(found.values())
