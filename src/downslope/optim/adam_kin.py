"""Adam's kin: Adamax, NAdam, NAdamW, RAdam."""

from __future__ import annotations

from typing import Unpack

from torch import Tensor

from .. import rules
from ..schedules import Schedule
from ._beyond import BeyondMomentum
from ._optimizer import Optimizer, ParamsT, defaults_of
from .adam import DecoupledOnly

__all__ = ["Adamax", "NAdam", "NAdamW", "RAdam"]

Betas = tuple[float | Schedule, float | Schedule]


class Adamax(Optimizer):
    """Adam with the largest recent gradient in place of the root mean square; torch's twin.

    >>> import torch
    >>> w = torch.nn.Parameter(torch.tensor([1.0, -2.0]))
    >>> optimizer = Adamax([w], lr=0.1)
    >>> (w**2).sum().backward()
    >>> optimizer.step()
    >>> w.data
    tensor([ 0.9000, -1.9000])
    """

    rule = rules.ADAMAX

    def __init__(
        self,
        params: ParamsT,
        lr: float | Tensor | Schedule = 2e-3,
        betas: Betas = (0.9, 0.999),
        eps: float | Schedule = 1e-8,
        weight_decay: float | Schedule = 0,
        foreach: bool | None = None,
        *,
        maximize: bool = False,
        differentiable: bool = False,
        capturable: bool = False,
        **beyond: Unpack[BeyondMomentum],
    ) -> None:
        super().__init__(params, defaults_of(locals()))


class NAdam(Optimizer):
    """Adam with Nesterov's look ahead; torch's twin.

    >>> import torch
    >>> w = torch.nn.Parameter(torch.tensor([1.0, -2.0]))
    >>> optimizer = NAdam([w], lr=0.1)
    >>> (w**2).sum().backward()
    >>> optimizer.step()
    >>> w.data
    tensor([ 0.8944, -1.8944])
    """

    rule = rules.NADAM

    def __init__(
        self,
        params: ParamsT,
        lr: float | Tensor | Schedule = 2e-3,
        betas: Betas = (0.9, 0.999),
        eps: float | Schedule = 1e-8,
        weight_decay: float | Schedule = 0,
        momentum_decay: float | Schedule = 4e-3,
        decoupled_weight_decay: bool = False,
        *,
        foreach: bool | None = None,
        maximize: bool = False,
        capturable: bool = False,
        differentiable: bool = False,
        **beyond: Unpack[BeyondMomentum],
    ) -> None:
        super().__init__(params, defaults_of(locals()))


class NAdamW(DecoupledOnly, NAdam):
    """NAdam with decoupled weight decay, as AdamW has it.

    >>> import torch
    >>> w = torch.nn.Parameter(torch.tensor([1.0, -2.0]))
    >>> optimizer = NAdamW([w], lr=0.1, weight_decay=0.01)
    >>> (w**2).sum().backward()
    >>> optimizer.step()
    >>> w.data
    tensor([ 0.8934, -1.8924])
    """

    rule = rules.NADAMW

    def __init__(
        self,
        params: ParamsT,
        lr: float | Tensor | Schedule = 2e-3,
        betas: Betas = (0.9, 0.999),
        eps: float | Schedule = 1e-8,
        weight_decay: float | Schedule = 1e-2,
        momentum_decay: float | Schedule = 4e-3,
        *,
        foreach: bool | None = None,
        maximize: bool = False,
        capturable: bool = False,
        differentiable: bool = False,
        **beyond: Unpack[BeyondMomentum],
    ) -> None:
        super().__init__(**defaults_of(locals()), params=params, decoupled_weight_decay=True)


class RAdam(Optimizer):
    """Adam whose first steps wait until the mean of squares can be trusted; torch's twin.

    >>> import torch
    >>> w = torch.nn.Parameter(torch.tensor([1.0, -2.0]))
    >>> optimizer = RAdam([w], lr=0.1)
    >>> (w**2).sum().backward()
    >>> optimizer.step()
    >>> w.data
    tensor([ 0.8000, -1.6000])
    """

    rule = rules.RADAM

    def __init__(
        self,
        params: ParamsT,
        lr: float | Tensor | Schedule = 1e-3,
        betas: Betas = (0.9, 0.999),
        eps: float | Schedule = 1e-8,
        weight_decay: float | Schedule = 0,
        decoupled_weight_decay: bool = False,
        *,
        foreach: bool | None = None,
        maximize: bool = False,
        capturable: bool = False,
        differentiable: bool = False,
        **beyond: Unpack[BeyondMomentum],
    ) -> None:
        super().__init__(params, defaults_of(locals()))
