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

__all__ = ["shares", "update", "widest"]


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


def _root(x: Tensor) -> Tensor:
    """The square root, whose slope at 0 is 0 here: infinite, it would make NaN of every slope."""
    if not x.requires_grad:
        return torch.sqrt(x)
    zero = x == 0
    return torch.where(zero, x.detach(), torch.sqrt(torch.where(zero, 1.0, x)))


sqrt = _unary(_root, lambda x: math.sqrt(x) if x >= 0 else math.nan)
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


def f64(x: Any) -> Any:
    """In double precision."""
    return x.to(widest(x.device)) if isinstance(x, Tensor) else x


def sum(x: Tensor) -> Tensor:
    """The sum of all elements, in float64 as every scalar, where the device has it."""
    return x.sum(dtype=widest(x.device))


class _Arithmetic:
    """This module, and :meth:`total`, of which one tensor alone knows only its share."""

    def __init__(self, totals: Mapping[int, Any]) -> None:
        self._totals = totals
        self.shares: list[Tensor] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(sys.modules[__name__], name)  # torch.compile does not know globals()

    def total(self, x: Tensor) -> Any:
        """The sum over all tensors of the step; NaN as long as it is not known."""
        self.shares.append(x)
        return self._totals.get(len(self.shares) - 1, math.nan)


def update(
    rule: Rule,
    values: Mapping[str, Any],
    scalars: Mapping[str, Any],
    flags: Mapping[str, bool],
    totals: Mapping[int, Any] | None = None,
) -> dict[str, Any]:
    """Call a rule on one parameter.

    Args:
        rule: the rule.
        values: ``p``, ``g`` and every slot by name; an absent slot is None. Arrays are of one
            shape; complex ones are treated as pairs of reals, as torch does.
        scalars: numbers, or 0-d tensors to differentiate through.
        flags: the formula's booleans.
        totals: the sums over all tensors of the step, by the number of the formula's call.

    Returns:
        the new ``p`` and slots; arrays as new tensors.

    >>> import torch
    >>> from downslope.rules import SGD
    >>> p, g = torch.ones(2), torch.tensor([1.0, -2.0])
    >>> scalars = dict(lr=0.5, momentum=0.0, dampening=0.0, weight_decay=0.0, fresh=0.0, numel=2.0)
    >>> flags = dict(nesterov=False, cautious=False)
    >>> update(SGD, dict(p=p, g=g, momentum_buffer=None), scalars, flags)["p"]
    tensor([0.5000, 2.0000])
    """
    names = _names(rule)
    xp = _Arithmetic(totals) if totals else sys.modules[__name__]
    outputs, close = _call(rule, xp, values, scalars, flags)
    arrays = {"p", *rule.arrays(n for n in names if values[n] is not None)}
    written = [n for n in names if n != "g"]
    named = {n: o for n, o in zip(written, outputs, strict=True) if o is not None}
    return {n: close(o) if n in arrays else o for n, o in named.items()}


def shares(
    rule: Rule,
    values: Mapping[str, Any],
    scalars: Mapping[str, Any],
    flags: Mapping[str, bool],
    totals: Mapping[int, Any],
) -> list[Tensor]:
    """One parameter's shares of the sums over all tensors, one a call of ``xp.total``.

    Those whose formula needs a sum that is not among ``totals`` yet are NaN.
    """
    xp = _Arithmetic(totals)
    _call(rule, xp, values, scalars, flags)
    return [sum(share) for share in xp.shares]


def widest(device: torch.device) -> torch.dtype:
    """The most precise kind of number that a device has."""
    return torch.float32 if device.type == "mps" else torch.float64


def _names(rule: Rule) -> tuple[str, ...]:
    return ("p", "g", *(s.name for s in rule.slots))


def _call(
    rule: Rule,
    xp: Any,
    values: Mapping[str, Any],
    scalars: Mapping[str, Any],
    flags: Mapping[str, bool],
) -> tuple[tuple[Any, ...], Callable[[Tensor], Tensor]]:
    """What the formula returns, and the way from an array there to the caller's."""
    names = _names(rule)
    arrays = {"p", "g", *rule.arrays(n for n in names if values[n] is not None)}
    opened, close = _opened(values["p"])
    inputs = [opened(values[n]) if n in arrays else values[n] for n in names]
    return rule.update(xp, *inputs, **scalars, **flags), close


def _opened(p: Tensor) -> tuple[Callable[[Tensor], Tensor], Callable[[Tensor], Tensor]]:
    """How a formula sees arrays like this parameter, and the way back."""
    if p.is_complex():
        return lambda t: torch.view_as_real(t.resolve_conj()), torch.view_as_complex
    if not p.dim():  # beside an array without dimensions, a scalar's dtype would count
        return lambda t: t.unsqueeze(0), lambda t: t.squeeze(0)
    return _same, _same


def _same(t: Tensor) -> Tensor:
    return t
