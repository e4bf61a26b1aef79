"""Rprop."""

from __future__ import annotations

from typing import Unpack

from torch import Tensor

from .. import rules
from ..schedules import Schedule
from ._beyond import Beyond
from ._optimizer import Optimizer, ParamsT, defaults_of

__all__ = ["Rprop"]


class Rprop(Optimizer):
    """Every weight's own step, by the sign of its gradient; torch's twin.

    >>> import torch
    >>> w = torch.nn.Parameter(torch.tensor([1.0, -2.0]))
    >>> optimizer = Rprop([w], lr=0.1)
    >>> (w**2).sum().backward()
    >>> optimizer.step()
    >>> w.data
    tensor([ 0.9000, -1.9000])
    """

    rule = rules.RPROP

    def __init__(
        self,
        params: ParamsT,
        lr: float | Tensor | Schedule = 1e-2,
        etas: tuple[float, float] = (0.5, 1.2),
        step_sizes: tuple[float, float] = (1e-6, 50),
        *,
        capturable: bool = False,
        foreach: bool | None = None,
        maximize: bool = False,
        differentiable: bool = False,
        **beyond: Unpack[Beyond],
    ) -> None:
        super().__init__(params, defaults_of(locals()))
