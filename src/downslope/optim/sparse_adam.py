"""SparseAdam."""

from __future__ import annotations

from typing import Any, Unpack

from torch import Tensor

from .. import rules
from ..errors import InputError
from ..schedules import Schedule
from ._beyond import Beyond
from ._optimizer import Optimizer, ParamsT, defaults_of

__all__ = ["SparseAdam"]


class SparseAdam(Optimizer):
    """Adam for parameters whose gradients are sparse; torch's twin.

    >>> import torch
    >>> words = torch.nn.Embedding(5, 2, sparse=True)
    >>> torch.nn.init.ones_(words.weight)
    Parameter containing: ...
    >>> optimizer = SparseAdam(words.parameters(), lr=0.1)
    >>> words(torch.tensor([3])).sum().backward()
    >>> optimizer.step()
    >>> words.weight.data[2:]
    tensor([[1.0000, 1.0000],
            [0.9000, 0.9000],
            [1.0000, 1.0000]])
    """

    rule = rules.SPARSE_ADAM

    def __init__(
        self,
        params: ParamsT,
        lr: float | Tensor | Schedule = 1e-3,
        betas: tuple[float | Schedule, float | Schedule] = (0.9, 0.999),
        eps: float | Schedule = 1e-8,
        maximize: bool = False,
        **beyond: Unpack[Beyond],
    ) -> None:
        defaults = defaults_of(locals())
        super().__init__(params, defaults)
        for hyper in self.rule.hypers:  # torch refuses 0 here, though a scheduler may set it later
            value = hyper.of(defaults)
            if hyper.index is None and not isinstance(value, Schedule) and value == 0:
                raise InputError(f"{hyper.invalid}: {value}. SparseAdam: it must be more than 0")

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Add a group of dense, real parameters.

        Raises:
            InputError: a sparse or complex parameter, and all that any optimizer refuses.
        """
        super().add_param_group(param_group)
        number = len(self.param_groups) - 1
        params = self.param_groups[number]["params"]
        for kind, needs, strange in (
            ("Sparse", "requires dense parameter tensors", [p.is_sparse for p in params]),
            ("Complex", "does not support complex parameters", [p.is_complex() for p in params]),
        ):
            if any(strange):
                places = [[number, k] for k, found in enumerate(strange) if found]
                raise InputError(f"{kind} params at indices {places}: SparseAdam {needs}")
