"""Adadelta."""

from __future__ import annotations

from typing import Unpack

from torch import Tensor

from .. import rules
from ..schedules import Schedule
from ._beyond import Beyond
from ._optimizer import Optimizer, ParamsT, defaults_of

__all__ = ["Adadelta"]


class Adadelta(Optimizer):
    """Steps sized by the root mean square of earlier steps; torch's twin.

    >>> import torch
    >>> w = torch.nn.Parameter(torch.tensor([1.0, -2.0]))
    >>> optimizer = Adadelta([w], lr=1.0)
    >>> (w**2).sum().backward()
    >>> optimizer.step()
    >>> w.data
    tensor([ 0.9968, -1.9968])
    """

    rule = rules.ADADELTA

    def __init__(
        self,
        params: ParamsT,
        lr: float | Tensor | Schedule = 1.0,
        rho: float | Schedule = 0.9,
        eps: float | Schedule = 1e-6,
        weight_decay: float | Schedule = 0,
        foreach: bool | None = None,
        *,
        capturable: bool = False,
        maximize: bool = False,
        differentiable: bool = False,
        **beyond: Unpack[Beyond],
    ) -> None:
        super().__init__(params, defaults_of(locals()))
