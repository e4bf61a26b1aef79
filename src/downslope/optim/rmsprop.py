"""RMSprop."""

from __future__ import annotations

from typing import Unpack

from torch import Tensor

from .. import rules
from ..schedules import Schedule
from ._beyond import BeyondMomentum
from ._optimizer import Optimizer, ParamsT, defaults_of

__all__ = ["RMSprop"]


class RMSprop(Optimizer):
    """The gradient divided by its running root mean square; torch's twin.

    >>> import torch
    >>> w = torch.nn.Parameter(torch.tensor([1.0, -2.0]))
    >>> optimizer = RMSprop([w], lr=0.01, alpha=0.99, centered=True)
    >>> (w**2).sum().backward()
    >>> optimizer.step()
    >>> sorted(optimizer.state[w])
    ['grad_avg', 'square_avg', 'step']
    """

    rule = rules.RMSPROP

    def __init__(
        self,
        params: ParamsT,
        lr: float | Tensor | Schedule = 1e-2,
        alpha: float | Schedule = 0.99,
        eps: float | Schedule = 1e-8,
        weight_decay: float | Schedule = 0,
        momentum: float | Schedule = 0,
        centered: bool = False,
        capturable: bool = False,
        foreach: bool | None = None,
        maximize: bool = False,
        differentiable: bool = False,
        **beyond: Unpack[BeyondMomentum],
    ) -> None:
        super().__init__(params, defaults_of(locals()))
