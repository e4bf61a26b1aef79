"""What is done to gradients before a rule sees them: signs, unscaling, clipping.

Gradients are never rewritten. They are read once for their norms (:func:`squares_rule`, programs
that only sum, or :func:`squares` in torch operations), and what follows from the norms is a factor
that the update multiplies with as it reads them a second time.

A *unit* is what feeds one output: a row of a matrix, a filter of a convolution, in general all
elements of one index of the first dimension; a tensor of one dimension or none is a single unit.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache, cached_property
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from ..errors import EngineError
from ..rules import TREATMENT, Hyper, Rule
from . import eager
from .trace import limited

__all__ = [
    "AGC_EPS",
    "TREATMENT",
    "Treatment",
    "UnitPlaces",
    "number",
    "real",
    "squares",
    "squares_rule",
    "unit_gains",
    "unit_places",
    "units",
]

Float64 = npt.NDArray[np.float64]
Int64 = npt.NDArray[np.int64]

_REAL = {t: t.to_real() for t in (torch.complex32, torch.complex64, torch.complex128)}

#: The least norm of a unit's weights in adaptive clipping, so that units at zero can move.
AGC_EPS = 1e-3


@dataclass(frozen=True)
class Treatment:
    """What is done to every group's gradients, one entry a group.

    A gradient g becomes ``limited(g * factor) * gain``.

    Args:
        factor: -1 to maximise, 1 / scale to unscale.
        gain: what clipping to a norm leaves: at most 1. A tensor where the step is differentiated
            or must not be read by the host.
        clip_value: the largest absolute value of an element, or None.
        clip_agc: the largest norm of a unit's gradient as a share of that of its weights, or None.
        scale: a tensor that gradients are divided by as well, a GradScaler's.
        skip: a tensor; where it is not 0, a gradient is infinite and nothing may change. Only
            buckets that count steps on the device are given these two, so that nobody waits.
    """

    factor: tuple[Any, ...]
    gain: tuple[Any, ...]
    clip_value: tuple[Any, ...]
    clip_agc: tuple[Any, ...]
    scale: Tensor | None = None
    skip: Tensor | None = None

    def read(self) -> Treatment:
        """The same for engines that want the scale as a number."""
        scale = 1.0 if self.scale is None else float(self.scale)
        factor = tuple(f / scale for f in self.factor)
        return replace(self, factor=factor, scale=None, skip=None)

    def gained(self, gain: tuple[Any, ...]) -> Treatment:
        """The same with another gain."""
        if not any(isinstance(each, Tensor) for each in gain) and gain == self.gain:
            return self  # engines know a treatment again
        return Treatment(self.factor, gain, self.clip_value, self.clip_agc, self.scale, self.skip)

    @property
    def unlimited(self) -> Treatment:
        """The same without limits for elements and units."""
        none = (None,) * len(self.factor)
        return replace(self, clip_value=none, clip_agc=none)

    @cached_property
    def columns(self) -> dict[str, Float64]:
        """Each entry as float64 [groups]; what is None is infinite."""
        return {name: np.array([number(v) for v in getattr(self, name)]) for name in TREATMENT}

    @property
    def wholes(self) -> Float64:
        """``factor * gain``, float64 [groups]."""
        return np.array(
            [number(f) * number(g) for f, g in zip(self.factor, self.gain, strict=True)]
        )

    def limited(self, group: int, p: Tensor, g: Tensor) -> Tensor:
        """A gradient before its norm is known, in torch operations."""
        g = _times(g, self.factor[group])
        value, share = self.clip_value[group], self.clip_agc[group]
        return g if value is None and share is None else _limited(p, g, value, share)

    def applied(self, group: int, p: Tensor, g: Tensor) -> Tensor:
        """A gradient as the rule sees it, in torch operations."""
        if self.clip_value[group] is None and self.clip_agc[group] is None:
            return _times(g, self.factor[group] * self.gain[group])
        return _times(self.limited(group, p, g), self.gain[group])


def number(value: Any) -> float:
    """An entry of a treatment; None is no limit."""
    if value is None:
        return float("inf")
    return float(value.detach() if isinstance(value, Tensor) else value)


def real(dtype: torch.dtype) -> torch.dtype:
    """``dtype.to_real()``, which ``torch.compile`` does not know."""
    return _REAL.get(dtype, dtype)


def _times(g: Tensor, factor: Any) -> Tensor:
    if isinstance(factor, Tensor):  # of float64, which would count beside a g without dimensions
        return g * factor.to(real(g.dtype))
    return g if factor == 1 else g * factor


def _limited(p: Tensor, g: Tensor, clip_value: Any, clip_agc: Any) -> Tensor:
    if g.is_sparse:
        g = g.coalesce()
        if g.sparse_dim() > 1 and clip_agc is not None:
            raise EngineError(
                "clip_agc needs a sparse gradient of whole rows, got one with sparse elements. "
                "Leave clip_agc at None for this group"
            )
        rows = p[g.indices()[0]] if clip_agc is not None and p.ndim > 1 else p
        values = _limited(rows, g.values(), clip_value, clip_agc)
        return torch.sparse_coo_tensor(
            g.indices(), values, g.shape, is_coalesced=True, check_invariants=False
        )
    pairs = torch.view_as_real(g.resolve_conj()) if g.is_complex() else g
    # A limit that is a tensor is of float64, which would count beside a g without dimensions.
    pairs = limited(eager, pairs, clip_value).to(pairs.dtype)
    g = torch.view_as_complex(pairs) if g.is_complex() else pairs
    if clip_agc is None:
        return g
    # The step overwrites p, whose old value the graph needs.
    weights = unit_norms(p.clone() if torch.is_grad_enabled() else p)
    unit = unit_gains(unit_norms(g), weights, clip_agc)
    return g * unit.to(real(g.dtype)).reshape((-1, *[1] * (g.ndim - 1)) if g.ndim else ())


def units(p: Tensor) -> int:
    """How many units a tensor has.

    >>> units(torch.zeros(8, 3, 2, 2)), units(torch.zeros(8)), units(torch.zeros(()))
    (8, 1, 1)
    """
    return p.shape[0] if p.ndim > 1 and p.numel() else 1


class UnitPlaces(NamedTuple):
    """Where the units of some tensors lie.

    Attributes:
        owner: [units] the number of each unit's tensor.
        offset: [units] its first element in that tensor.
        length: [tensors] elements a unit.
        first: [tensors + 1] the first unit of every tensor.
    """

    owner: Int64
    offset: Int64
    length: Int64
    first: Int64


def unit_places(sizes: Sequence[int], parts: Sequence[int]) -> UnitPlaces:
    """Where the units lie of tensors that are divided into equal parts.

    >>> unit_places([6, 5], [2, 1]).offset
    array([0, 3, 0])
    """
    counts, many = np.asarray(sizes, np.int64), np.asarray(parts, np.int64)
    owner, length = np.repeat(np.arange(len(counts)), many), counts // many
    first = np.concatenate([[0], np.cumsum(many)])
    return UnitPlaces(owner, (np.arange(len(owner)) - first[owner]) * length[owner], length, first)


def unit_norms(t: Tensor) -> Tensor:
    """The L2 norm of every unit, float64."""
    if t.is_complex():
        pairs = torch.view_as_real(t.resolve_conj())
        t = pairs.flatten(-2) if t.ndim else pairs
    norms: Tensor = torch.linalg.vector_norm(
        t.reshape(units(t), -1), dim=1, dtype=eager.widest(t.device)
    )
    return norms


def unit_gains(gradients: Tensor, weights: Tensor, limit: Any) -> Tensor:
    """What adaptive clipping leaves of every unit's gradient.

    ``min(1, limit * max(|w|, eps) / |g|)``: Brock, De, Smith, Simonyan: High-Performance
    Large-Scale Image Recognition Without Normalization, arXiv 2102.06171, equation 3.

    Args:
        gradients: the norms of the units' gradients.
        weights: those of their weights.
        limit: ``clip_agc``.
    """
    largest = limit * weights.clamp(min=AGC_EPS)
    over = gradients > largest
    return torch.where(over, largest / torch.where(over, gradients, 1.0), 1.0)


@cache
def squares_rule(clips: tuple[str, ...]) -> Rule:
    """The sums of squares that clipping needs: of gradients, of clamped ones, and of weights.

    In float64, where squares of float32 neither overflow nor vanish.
    """

    def sums(xp: Any, p: Any, g: Any, *, clip_value: Any) -> tuple[Any, ...]:
        squared = [g]
        if "clip_value" in clips:
            squared.append(limited(xp, g, clip_value))
        if "clip_agc" in clips:
            squared.append(p)
        return tuple(xp.f64(x) * xp.f64(x) for x in squared)

    return Rule(sums, "", slots=(), hypers=(Hyper("clip_value", "", ""),))


def squares(g: Tensor) -> Tensor:
    """The sum of squares of a gradient, sparse or complex ones too, in torch operations.

    >>> squares(torch.tensor([3.0, 4.0j]))
    tensor(25., dtype=torch.float64)
    """
    if g.is_sparse:
        g = g.coalesce().values()
    if g.is_complex():
        g = torch.view_as_real(g.resolve_conj())
    # No square of the whole tensor is kept, and the norm has a slope at 0 too.
    norm: Tensor = torch.linalg.vector_norm(g, dtype=eager.widest(g.device))
    return norm * norm
