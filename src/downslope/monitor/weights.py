"""Gradients, weights and updates around one step of an optimizer: four numbers a parameter."""

from __future__ import annotations

import math
from operator import is_
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn

from .forms import Block, Part
from .tensors import norms, zero_shares

if TYPE_CHECKING:
    from .passes import Passes

__all__ = ["MEASURED", "Weights"]

#: What is measured of each parameter.
MEASURED = ("grad_norm", "weight_norm", "update_norm", "zero_share")
MOST_KEPT = 20_000_000  # parameters up to which the last weights are kept to find a NaN's origin


class Weights:
    """Measures a model's parameters before and after a step.

    Args:
        model: whose parameters they are.
    """

    def __init__(self, model: nn.Module) -> None:
        self._model = model
        #: The form of what is measured of the parameters that had gradients.
        self.form = Block(Part(("tensors",), ()), Part((), ("grad_norm",)))
        self._names: list[str] = []
        #: Whether the last step's gradients were measured, and not yet what became of them.
        self.waiting = False
        self._all: list[str] = []
        self._params: list[Tensor] = []
        #: Those that had gradients, and the others; whether they are likely to be the same again.
        self._trained: list[Tensor] = []
        self._others: list[Tensor] = []
        self._grouped = False
        self._small = True
        self._sound = False  # whether the last step was measured, and left finite weights
        self._scale = 1.0
        self._passes: Passes | None = None
        self._slow: _Slow | None = None
        self._kept: list[Tensor] = []

    def refresh(self) -> None:
        """Read afresh which parameters the model has."""
        named = dict(self._model.named_parameters())
        if list(named) == self._all and all(map(is_, named.values(), self._params)):
            return
        self._all, self._params = list(named), list(named.values())
        self._grouped = False

    def before(self, scale: float) -> bool:
        """Measure the gradients of the step that comes.

        Args:
            scale: what they were multiplied by.

        Returns:
            whether all are finite.
        """
        self.waiting, self._scale, self._slow = True, scale, None
        squares = None
        if self._grouped and not (self._others and any(p.grad is not None for p in self._others)):
            squares = None if self._passes is None else self._passes.before()
        if squares is None:
            self._regroup()
            squares = None if self._passes is None else self._passes.before()
        if squares is None:
            self._grouped = False  # try again at the next look
            self._slow = _Slow(self._trained)
            squares = sum(self._slow.grad_norms)
        return math.isfinite(squares)

    @property
    def passes(self) -> Passes | None:
        """Those that read the last step, if there was nothing unusual about its gradients."""
        if not self._grouped or self._scale != 1.0 or self._passes is None:
            return None
        return self._passes if self._passes.planned else None

    @property
    def others(self) -> list[Tensor]:
        """Parameters that had no gradient."""
        return self._others

    def after(self) -> list[float]:
        """Measure the step: each parameter's :data:`MEASURED`, then the norm of all gradients."""
        found = np.empty(len(MEASURED) * len(self._trained) + 1)
        self.waiting = False
        if self._slow is not None:
            found[:] = self._slow.after(self._trained, self._scale)
            total = float(found.sum())
        else:
            assert self._passes is not None  # one of the two measured before()
            total = self._passes.after(self._scale, found)
        sound = math.isfinite(total) or math.isfinite(found[-1] + found[2:-1:4].sum())
        if self._slow is not None:
            if sound and self._small:
                self._kept = self._slow.before
        elif sound:
            self._kept = []
        elif self._passes is not None and math.isfinite(found[1:-1:4].sum()):
            self._passes.keep()
        self._sound, self._slow = sound, None
        numbers: list[float] = found.tolist()
        return numbers

    @property
    def kept(self) -> list[Tensor]:
        """The last weights that are known to be finite; none of a large model."""
        if self._kept or self._passes is None or not self._small:
            return self._kept
        return self._passes.latest if self._sound else self._passes.kept

    def rest(self) -> None:
        """No step comes that is measured."""
        if self._passes is not None:
            if self._sound and self._small:
                self._passes.keep()
            self._passes.free()
        self.waiting = self._sound = False
        self._slow = None

    def _regroup(self) -> None:
        self._kept, self._sound, self._grouped = self.kept, False, True
        names = [n for n, p in zip(self._all, self._params, strict=True) if p.grad is not None]
        if names != self._names:
            self._names = names
            tensors = [Part(("tensors", n), MEASURED) for n in names] or [Part(("tensors",), ())]
            self.form = Block(*tensors, Part((), ("grad_norm",)))
        self._trained = [p for p in self._params if p.grad is not None]
        self._others = [p for p in self._params if p.grad is None]
        self._small = sum(p.numel() for p in self._trained) <= MOST_KEPT
        self._passes = None
        if self._trained and all(p.is_cpu for p in self._trained):
            from .passes import Passes  # imports Numba

            self._passes = Passes.of(self._trained)


class _Slow:
    """The same in torch's operations, for tensors of any kind."""

    @torch.no_grad()
    def __init__(self, params: list[Tensor]) -> None:
        grads = [p.grad for p in params if p.grad is not None]
        self.grad_norms = norms(grads)
        self._weight_norms = norms([p.detach() for p in params])
        self._zero_shares = zero_shares(grads)
        self.before = [p.detach().clone() for p in params]

    @torch.no_grad()
    def after(self, params: list[Tensor], scale: float) -> list[float]:
        moved = norms(torch._foreach_sub([p.detach() for p in params], self.before))
        grads = [n / scale for n in self.grad_norms]
        columns = (grads, self._weight_norms, moved, self._zero_shares)
        each = [value for values in zip(*columns, strict=True) for value in values]
        return [*each, math.hypot(*grads)]
