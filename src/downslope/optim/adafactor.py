"""Adafactor."""

from __future__ import annotations

from typing import Unpack

from torch import Tensor

from .. import rules
from ..schedules import Schedule
from ._beyond import Beyond
from ._optimizer import Optimizer, ParamsT, defaults_of

__all__ = ["Adafactor"]


class Adafactor(Optimizer):
    """Adam's steps with a memory of one number a row and one a column; torch's twin.

    >>> import torch
    >>> w = torch.nn.Parameter(torch.tensor([[1.0, -2.0], [3.0, 0.5]]))
    >>> optimizer = Adafactor([w], lr=0.1)
    >>> (w**2).sum().backward()
    >>> optimizer.step()
    >>> optimizer.state[w]["row_var"].shape
    torch.Size([2, 1])
    """

    rule = rules.ADAFACTOR

    def __init__(
        self,
        params: ParamsT,
        lr: float | Tensor | Schedule = 1e-2,
        beta2_decay: float | Schedule = -0.8,
        eps: tuple[float | Schedule | None, float | Schedule] = (None, 1e-3),
        d: float | Schedule = 1.0,
        weight_decay: float | Schedule = 0.0,
        *,
        foreach: bool | None = None,
        maximize: bool = False,
        **beyond: Unpack[Beyond],
    ) -> None:
        super().__init__(params, defaults_of(locals()))
