"""From the norms of gradients to what clipping leaves of them, and what is said about NaN."""

from __future__ import annotations

import itertools
import math
from collections.abc import Collection, Mapping, Sequence
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from ..engines.bucket import Bucket
from ..engines.clip import Treatment
from ..engines.together import each, whole
from ..errors import NonfiniteGradientError
from ._beyond import OVER

__all__ = ["Clipping", "Measured", "measure", "nonfinite_error", "pick", "wanted"]

#: Added to the norm before it divides, as ``torch.nn.utils.clip_grad_norm_`` does.
_EPS = 1e-6

Group = Mapping[str, Any]
T = TypeVar("T")


def wanted(groups: Sequence[Group]) -> bool:
    """Whether the groups' clipping needs norms."""
    return any(g.get(n) is not None for g in groups for n in ("clip_norm", "clip_agc"))


class Measured:
    """The sums of squares of the gradients of one step.

    Args:
        parts: of every bucket the positions of its gradients, their groups, their sums, and the
            sums of what ``clip_value`` and ``clip_agc`` leave of them: sequences of numbers or of
            tensors of one, or one tensor.
    """

    def __init__(
        self, parts: Sequence[tuple[Sequence[int], npt.NDArray[np.intp], Any, Any]]
    ) -> None:
        self.parts = parts
        #: The L2 norm of all gradients.
        self._whole = _root(whole([x for _, _, raw, _ in parts for x in each(raw)]))

    def norm(self) -> Any:
        """The L2 norm of all gradients, outside autograd."""
        return self._whole.detach() if isinstance(self._whole, Tensor) else self._whole

    def limited(self, groups: Collection[int] | None) -> Any:
        """The L2 norm of what is left of the gradients of some groups; ``None``: of all of them."""
        if groups is None:
            if all(left is raw for _, _, raw, left in self.parts):
                return self._whole
            return _root(whole([x for _, _, _, left in self.parts for x in each(left)]))
        found: list[Any] = []
        for _, owners, _, squares in self.parts:
            mine = np.isin(owners, [*groups])
            if not isinstance(squares, Tensor):
                found += itertools.compress(squares, mine)
            elif mine.all():
                found.append(squares)
            else:
                # A group's tensors lie side by side, so what is wanted is a few pieces.
                ends = np.flatnonzero(np.diff(mine, prepend=False, append=False)).tolist()
                found += [squares[a:b] for a, b in zip(ends[::2], ends[1::2], strict=True)]
        return _root(whole(found))

    def nonfinite(self) -> list[int]:
        """The positions of the gradients that are not finite."""
        if not isinstance(self._whole, Tensor) and math.isfinite(self._whole):
            return []
        found = []
        for at, _, raw, _ in self.parts:
            numbers = raw.tolist() if isinstance(raw, Tensor) else map(_number, raw)
            found += [k for k, s in zip(at, numbers, strict=True) if not math.isfinite(s)]
        return sorted(found)


def measure(
    buckets: Sequence[tuple[Sequence[int], Bucket]],
    params: Sequence[Tensor],
    grads: Sequence[Tensor],
    treatment: Treatment,
) -> Measured:
    """Read every gradient once.

    Args:
        buckets: each with the positions of its gradients.
        params: all parameters of the step.
        grads: their gradients.
        treatment: with the factors and limits that norms are taken after.
    """
    return Measured(
        [
            (at, bucket.groups, *bucket.measure(pick(params, at), pick(grads, at), treatment))
            for at, bucket in buckets
        ]
    )


def pick(values: Sequence[T], at: Sequence[int]) -> Sequence[T]:
    """The values at some positions, in order; all of them where there are as many positions."""
    return values if len(at) == len(values) else [values[k] for k in at]


class Clipping:
    """What the groups' clipping asks of a step; made anew when groups change.

    Args:
        groups: all groups of an optimizer.
    """

    def __init__(self, groups: Sequence[Group]) -> None:
        self._count = len(groups)
        limits = [
            (k, g["clip_norm"]) for k, g in enumerate(groups) if g.get("clip_norm") is not None
        ]
        self._joint = [(k, x) for k, x in limits if groups[k][OVER] == "optimizer"]
        self._alone = [(k, x) for k, x in limits if groups[k][OVER] != "optimizer"]

    def clipped(self, treatment: Treatment, measured: Measured) -> Treatment:
        """The treatment with what clipping by norm leaves: ``min(1, clip_norm / (norm + 1e-6))``.

        NaN where a gradient is, as in torch.
        """
        gains: list[Any] = [1.0] * self._count
        if self._joint:
            everything = len(self._joint) == self._count
            norm = measured.limited(None if everything else [k for k, _ in self._joint])
            # Groups of one limit share the gain, so that a device computes it once.
            shared: dict[Any, Any] = {}
            for k, limit in self._joint:
                if limit not in shared:
                    shared[limit] = _gain(limit, norm)
                gains[k] = shared[limit]
        for k, limit in self._alone:
            gains[k] = _gain(limit, measured.limited([k]))
        return treatment.gained(tuple(gains))


def _gain(limit: Any, norm: Any) -> Any:
    if isinstance(norm, Tensor):
        return (limit / (norm + _EPS)).clamp(max=1.0)
    gain = _number(limit) / (norm + _EPS)
    return 1.0 if gain > 1 else gain


def _root(square: Any) -> Any:
    if not isinstance(square, Tensor):
        return math.sqrt(square)
    # The root has no slope at 0; a gradient of 0 is not clipped, so none is needed.
    return torch.where(square == 0, 1.0, square).sqrt() * (square != 0)


def _number(value: Any) -> float:
    return float(value.detach() if isinstance(value, Tensor) else value)


def nonfinite_error(
    owner: str, groups: Sequence[Group], params: Sequence[Tensor], at: Sequence[int]
) -> NonfiniteGradientError:
    """The error for gradients that are not finite; the first is named.

    Args:
        owner: the optimizer's name.
        groups: all of its groups.
        params: the parameters of the step.
        at: the positions among them of those whose gradients are not finite.
    """
    first = params[at[0]]
    g = first.grad.detach() if first.grad is not None else first.new_zeros(0)
    values = g.coalesce().values() if g.is_sparse else g
    nans, infinite = int(values.isnan().sum()), int(values.isinf().sum())
    found = f"{nans} NaN and {infinite} infinite of {values.numel()} numbers"
    others = f", and so do those of {len(at) - 1} other parameters" if len(at) > 1 else ""
    return NonfiniteGradientError(
        f"{owner}: the gradient of {_name(groups, first)} has {found}"
        f"{others if nans + infinite else ', too large to be squared'}. Nothing was changed. Look "
        "at the loss and the data of this step; a lower lr, clip_norm or a longer warmup keeps "
        "such gradients from coming, and on_nonfinite='skip' leaves such steps out"
    )


def _name(groups: Sequence[Group], p: Tensor) -> str:
    for number, group in enumerate(groups):
        for k, q in enumerate(group["params"]):
            if q is p:
                names = group.get("param_names")
                return repr(names[k]) if names else f"parameter {k} of group {number}"
    return "a parameter"
