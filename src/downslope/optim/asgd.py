"""Averaged gradient descent."""

from __future__ import annotations

from typing import Unpack

from torch import Tensor

from .. import rules
from ..schedules import Schedule
from ._beyond import Beyond
from ._optimizer import Optimizer, ParamsT, defaults_of

__all__ = ["ASGD"]


class ASGD(Optimizer):
    """Gradient descent that keeps the average of the weights in ``state[p]['ax']``; torch's twin.

    >>> import torch
    >>> w = torch.nn.Parameter(torch.tensor([1.0, -2.0]))
    >>> optimizer = ASGD([w], lr=0.1)
    >>> (w**2).sum().backward()
    >>> optimizer.step()
    >>> w.data
    tensor([ 0.8000, -1.6000])
    """

    rule = rules.ASGD

    def __init__(
        self,
        params: ParamsT,
        lr: float | Tensor | Schedule = 1e-2,
        lambd: float | Schedule = 1e-4,
        alpha: float | Schedule = 0.75,
        t0: float | Schedule = 1e6,
        weight_decay: float | Schedule = 0,
        foreach: bool | None = None,
        maximize: bool = False,
        differentiable: bool = False,
        capturable: bool = False,
        **beyond: Unpack[Beyond],
    ) -> None:
        super().__init__(params, defaults_of(locals()))
