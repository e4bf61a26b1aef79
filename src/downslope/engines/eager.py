"""``xp`` for torch tensors, one parameter at a time: the oracle of the other engines.

Out of place, so it can be differentiated; any device and layout. Plain numbers are evaluated in
float64, as every engine does. ``fma`` and ``lerp`` are the calls with which torch's own for-loop
fuses multiplication and addition, so this engine has that loop's bits.
"""

from __future__ import annotations

import math
import struct
import sys
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from ..rules import Rule

__all__ = ["update"]


def _unary(
    on_tensor: Callable[[Tensor], Tensor], on_number: Callable[[float], float]
) -> Callable[[Any], Any]:
    return lambda x: on_tensor(x) if isinstance(x, Tensor) else on_number(x)


def _binary(
    on_tensors: Callable[[Tensor, Tensor], Tensor], on_numbers: Callable[[float, float], float]
) -> Callable[[Any, Any], Any]:
    def call(a: Any, b: Any) -> Any:
        if isinstance(a, Tensor):
            return on_tensors(a, b if isinstance(b, Tensor) else torch.full_like(a, b))
        if isinstance(b, Tensor):
            return on_tensors(torch.full_like(b, a), b)
        return on_numbers(a, b)

    return call


sqrt = _unary(torch.sqrt, lambda x: math.sqrt(x) if x >= 0 else math.nan)
exp = _unary(torch.exp, math.exp)
log = _unary(torch.log, math.log)
sign = _unary(torch.sign, lambda x: float((x > 0) - (x < 0)))
abs = _unary(torch.abs, abs)
maximum = _binary(torch.maximum, max)
minimum = _binary(torch.minimum, min)
atan2 = _binary(torch.atan2, math.atan2)


def where(condition: Any, a: Any, b: Any) -> Any:
    """``a`` where the condition holds, else ``b``."""
    if isinstance(condition, Tensor):
        return torch.where(condition if condition.dtype == torch.bool else condition != 0, a, b)
    return a if condition else b


def lerp(a: Any, b: Any, weight: Any) -> Any:
    """``a + weight * (b - a)``, exact at both ends."""
    if not isinstance(a, Tensor):
        return a + weight * (b - a)
    return torch.lerp(a, b, weight.to(a) if isinstance(weight, Tensor) else weight)


def fma(a: Any, b: Any, c: Any) -> Any:
    """``a * b + c`` in one rounding where torch has such a call."""
    if isinstance(a, Tensor) and isinstance(b, Tensor):
        return torch.addcmul(c, a, b)
    if isinstance(a, Tensor):
        a, b = b, a
    return torch.add(c, b, alpha=a) if isinstance(b, Tensor) else a * b + c


def f32(x: Any) -> Any:
    """Rounded to float32; a tensor in a graph is left as it is, because rounding has no slope."""
    if not isinstance(x, Tensor):
        return struct.unpack("f", struct.pack("f", x))[0]
    return x if x.requires_grad else x.float().to(x.dtype)


def sum(x: Tensor) -> Tensor:
    """The sum of all elements, in float64 as every scalar, where the device has it."""
    return x.sum(dtype=torch.float32 if x.device.type == "mps" else torch.float64)


def update(
    rule: Rule,
    values: Mapping[str, Any],
    scalars: Mapping[str, Any],
    flags: Mapping[str, bool],
) -> dict[str, Any]:
    """Call a rule on one parameter.

    Args:
        rule: the rule.
        values: ``p``, ``g`` and every slot by name; an absent slot is None. Arrays are of one
            shape; complex ones are treated as pairs of reals, as torch does.
        scalars: numbers, or 0-d tensors to differentiate through.
        flags: the formula's booleans.

    Returns:
        the new ``p`` and slots; arrays as new tensors.

    >>> import torch
    >>> from downslope.rules import SGD
    >>> p, g = torch.ones(2), torch.tensor([1.0, -2.0])
    >>> hypers = dict(lr=0.5, momentum=0.0, dampening=0.0, weight_decay=0.0, fresh=0.0)
    >>> update(SGD, dict(p=p, g=g, momentum_buffer=None), hypers, dict(nesterov=False))["p"]
    tensor([0.5000, 2.0000])
    """
    names = ("p", "g", *(s.name for s in rule.slots))
    arrays = {"p", "g", *rule.arrays(n for n in names if values[n] is not None)}
    opened, close = _opened(values["p"])
    inputs = [opened(values[n]) if n in arrays else values[n] for n in names]
    outputs = rule.update(sys.modules[__name__], *inputs, **scalars, **flags)
    written = [n for n in names if n != "g"]
    named = {n: o for n, o in zip(written, outputs, strict=True) if o is not None}
    return {n: close(o) if n in arrays else o for n, o in named.items()}


def _opened(p: Tensor) -> tuple[Callable[[Tensor], Tensor], Callable[[Tensor], Tensor]]:
    """How a formula sees arrays like this parameter, and the way back."""
    if p.is_complex():
        return lambda t: torch.view_as_real(t.resolve_conj()), torch.view_as_complex
    if not p.dim():  # beside an array without dimensions, a scalar's dtype would count
        return lambda t: t.unsqueeze(0), lambda t: t.squeeze(0)
    return _same, _same


def _same(t: Tensor) -> Tensor:
    return t
