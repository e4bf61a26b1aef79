"""Gradient descent with momentum."""

from __future__ import annotations

from typing import Unpack

from torch import Tensor

from .. import rules
from ..schedules import Schedule
from ._beyond import BeyondMomentum
from ._optimizer import Optimizer, ParamsT, defaults_of

__all__ = ["SGD"]


class SGD(Optimizer):
    """Gradient descent, with momentum, dampening and Nesterov's acceleration; torch's twin.

    >>> import torch
    >>> w = torch.nn.Parameter(torch.tensor([1.0, -2.0]))
    >>> optimizer = SGD([w], lr=0.1, momentum=0.9)
    >>> (w**2).sum().backward()
    >>> optimizer.step()
    >>> w.data
    tensor([ 0.8000, -1.6000])
    """

    rule = rules.SGD

    def __init__(
        self,
        params: ParamsT,
        lr: float | Tensor | Schedule = 1e-3,
        momentum: float | Schedule = 0,
        dampening: float | Schedule = 0,
        weight_decay: float | Tensor | Schedule = 0,
        nesterov: bool = False,
        *,
        maximize: bool = False,
        foreach: bool | None = None,
        differentiable: bool = False,
        fused: bool | None = None,
        **beyond: Unpack[BeyondMomentum],
    ) -> None:
        super().__init__(params, defaults_of(locals()))
