"""What parameters, gradients and updates look like: one number a tensor, a few calls for all.

Pure functions of lists of tensors. A number that is not finite stays what it is; records turn it
into ``None`` (JSON has no NaN), so ``None`` always means "not finite".
"""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from typing import Any

import torch
from torch import Tensor

__all__ = ["finite", "norms", "plain", "zero_shares"]


@torch.no_grad()
def norms(tensors: Sequence[Tensor]) -> list[float]:
    """The L2 norm of each.

    >>> norms([torch.tensor([3.0, 4.0]), torch.zeros(2)])
    [5.0, 0.0]
    """
    if not tensors:
        return []
    return _read(torch._foreach_norm([_strided(t) for t in tensors]))


def _read(found: Sequence[Tensor]) -> list[float]:
    """All at once, so that a device is waited for once."""
    kinds = {(n.dtype, n.device) for n in found}
    if len(kinds) > 1:
        found = [n.float().cpu() for n in found]
    numbers: list[float] = torch.stack(list(found)).tolist()
    return numbers


def zero_shares(tensors: Sequence[Tensor]) -> list[float]:
    """The share of exact zeros in each; of a sparse tensor among the numbers that it stores.

    >>> zero_shares([torch.tensor([0.0, 1.0, 0.0, 2.0])])
    [0.5]
    """
    if not tensors:
        return []
    strided = [_strided(t) for t in tensors]
    counts = _read(torch._foreach_norm(strided, 0))  # counts what is not zero
    return [(t.numel() - n) / max(1, t.numel()) for n, t in zip(counts, strided, strict=True)]


def plain(value: float) -> float | None:
    """The number, or None where it is not finite.

    >>> plain(0.5), plain(math.nan)
    (0.5, None)
    """
    return value if math.isfinite(value) else None


_NUMBERS = frozenset({int, float})


def finite(value: Any) -> Any:
    """Plain data with None for every number that is not finite.

    >>> finite({"norms": [1.0, math.inf], "name": "0.weight"})
    {'norms': [1.0, None], 'name': '0.weight'}
    """
    if isinstance(value, float):
        return plain(value)
    if isinstance(value, dict):
        if _all_finite(value.values()):
            return value
        return {name: finite(item) for name, item in value.items()}
    if isinstance(value, (list, tuple)):
        return list(value) if _all_finite(value) else [finite(item) for item in value]
    return value


def _all_finite(values: Collection[Any]) -> bool:
    """Whether all are finite numbers: one question for all of a long column."""
    return _NUMBERS.issuperset(map(type, values)) and math.isfinite(sum(values))


def _strided(tensor: Tensor) -> Tensor:
    return _local(tensor.coalesce().values() if tensor.is_sparse else tensor)


def _local(tensor: Tensor) -> Tensor:
    """This rank's share of a DTensor."""
    return tensor.to_local() if hasattr(tensor, "to_local") else tensor
