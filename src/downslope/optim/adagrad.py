"""Adagrad."""

from __future__ import annotations

from typing import Unpack

from torch import Tensor

from .. import rules
from ..schedules import Schedule
from ._beyond import Beyond
from ._optimizer import Optimizer, ParamsT, defaults_of

__all__ = ["Adagrad"]


class Adagrad(Optimizer):
    """The gradient divided by the root of the sum of all its squares so far; torch's twin.

    >>> import torch
    >>> w = torch.nn.Parameter(torch.tensor([1.0, -2.0]))
    >>> optimizer = Adagrad([w], lr=0.1)
    >>> (w**2).sum().backward()
    >>> optimizer.step()
    >>> w.data
    tensor([ 0.9000, -1.9000])
    """

    rule = rules.ADAGRAD

    def __init__(
        self,
        params: ParamsT,
        lr: float | Tensor | Schedule = 1e-2,
        lr_decay: float | Schedule = 0,
        weight_decay: float | Schedule = 0,
        initial_accumulator_value: float = 0,
        eps: float | Schedule = 1e-10,
        foreach: bool | None = None,
        *,
        maximize: bool = False,
        differentiable: bool = False,
        fused: bool | None = None,
        **beyond: Unpack[Beyond],
    ) -> None:
        super().__init__(params, defaults_of(locals()))

    def share_memory(self) -> None:
        """Put the sums into shared memory, for training from several processes."""
        for state in self.state.values():
            state["sum"].share_memory_()
