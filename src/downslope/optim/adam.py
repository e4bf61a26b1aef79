"""Adam and AdamW."""

from __future__ import annotations

from typing import Any, Unpack

from torch import Tensor

from .. import rules
from ..errors import InputError
from ..schedules import Schedule
from ._beyond import BeyondMomentum
from ._optimizer import Optimizer, ParamsT, defaults_of

__all__ = ["Adam", "AdamW"]

Betas = tuple[float | Tensor | Schedule, float | Tensor | Schedule]


class Adam(Optimizer):
    """Momentum over a running root mean square, both corrected for their start; torch's twin.

    >>> import torch
    >>> w = torch.nn.Parameter(torch.tensor([1.0, -2.0]))
    >>> optimizer = Adam([w], lr=0.1)
    >>> (w**2).sum().backward()
    >>> optimizer.step()
    >>> w.data
    tensor([ 0.9000, -1.9000])
    """

    rule = rules.ADAM

    def __init__(
        self,
        params: ParamsT,
        lr: float | Tensor | Schedule = 1e-3,
        betas: Betas = (0.9, 0.999),
        eps: float | Schedule = 1e-8,
        weight_decay: float | Schedule = 0,
        amsgrad: bool = False,
        *,
        foreach: bool | None = None,
        maximize: bool = False,
        capturable: bool = False,
        differentiable: bool = False,
        fused: bool | None = None,
        decoupled_weight_decay: bool = False,
        **beyond: Unpack[BeyondMomentum],
    ) -> None:
        defaults = defaults_of(locals())
        _refuse_as_torch(defaults)
        super().__init__(params, defaults)


class DecoupledOnly(Optimizer):
    """What a class has whose weight decay is always decoupled."""

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        for group in self.param_groups:
            group["decoupled_weight_decay"] = True  # also after loading a checkpoint of Adam


class AdamW(DecoupledOnly, Adam):
    """Adam with decoupled weight decay, the default for most networks; torch's twin.

    >>> import torch
    >>> w = torch.nn.Parameter(torch.tensor([1.0, -2.0]))
    >>> optimizer = AdamW([w], lr=0.1, weight_decay=0.01)
    >>> (w**2).sum().backward()
    >>> optimizer.step()
    >>> w.data
    tensor([ 0.8990, -1.8980])
    """

    rule = rules.ADAMW

    def __init__(
        self,
        params: ParamsT,
        lr: float | Tensor | Schedule = 1e-3,
        betas: Betas = (0.9, 0.999),
        eps: float | Schedule = 1e-8,
        weight_decay: float | Schedule = 1e-2,
        amsgrad: bool = False,
        *,
        maximize: bool = False,
        foreach: bool | None = None,
        capturable: bool = False,
        differentiable: bool = False,
        fused: bool | None = None,
        **beyond: Unpack[BeyondMomentum],
    ) -> None:
        super().__init__(**defaults_of(locals()), params=params, decoupled_weight_decay=True)


def _refuse_as_torch(defaults: dict[str, Any]) -> None:
    """Two combinations that torch refuses in Adam alone; a program may rely on the error."""
    betas = defaults["betas"]
    tensors = [name for name in ("lr",) if isinstance(defaults[name], Tensor)]
    if isinstance(betas, (tuple, list)) and len(betas) == 2:
        are = [isinstance(b, Tensor) for b in betas]
        if any(are) and not all(are):
            raise InputError(f"betas must be either both floats or both Tensors, got {betas}")
        tensors += [f"betas[{k}]" for k in range(2) if are[k]]
    if tensors and defaults["foreach"] and not defaults["capturable"]:
        raise InputError(
            f"{tensors[0]} as a Tensor is not supported for capturable=False and foreach=True. "
            "Leave foreach at None"
        )
