"""Muon."""

from __future__ import annotations

from typing import Any, Unpack

from torch import Tensor

from .. import rules
from ..errors import InputError
from ..schedules import Schedule
from ._beyond import Beyond
from ._optimizer import Optimizer, ParamsT, defaults_of

__all__ = ["Muon"]


class Muon(Optimizer):
    """Momentum made orthogonal, for the matrices of hidden layers; torch's twin.

    >>> import torch
    >>> model = torch.nn.Sequential(torch.nn.Linear(4, 4), torch.nn.ReLU(), torch.nn.Linear(4, 1))
    >>> optimizer = Muon([model[0].weight], lr=0.02)
    >>> model(torch.ones(1, 4)).sum().backward()
    >>> optimizer.step()
    """

    rule = rules.MUON

    def __init__(
        self,
        params: ParamsT,
        lr: float | Tensor | Schedule = 1e-3,
        weight_decay: float | Schedule = 0.1,
        momentum: float | Schedule = 0.95,
        nesterov: bool = True,
        ns_coefficients: tuple[float | Schedule, float | Schedule, float | Schedule] = (
            3.4445,
            -4.7750,
            2.0315,
        ),
        eps: float | Schedule = 1e-7,
        ns_steps: int = 5,
        adjust_lr_fn: str | None = None,
        **beyond: Unpack[Beyond],
    ) -> None:
        super().__init__(params, defaults_of(locals()))

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Add a group of matrices.

        Raises:
            InputError: a parameter that is none, and all that any optimizer refuses.
        """
        super().add_param_group(param_group)
        for p in self.param_groups[-1]["params"]:
            if p.ndim != 2:
                raise InputError(
                    "Muon only supports 2D parameters whereas we found a parameter with size: "
                    f"{p.size()}. Give it to another optimizer, such as AdamW"
                )
