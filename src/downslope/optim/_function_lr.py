"""The scheduler classes that take functions of the epoch."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from typing import Any

import torch.optim.lr_scheduler as torch_lr
from torch.optim import Optimizer
from torch.optim.lr_scheduler import _warn_get_lr_called_within_step

from ..errors import InputError, InputTypeError
from ._lr_base import Driver, Lr, each_of, learning_rates

__all__ = ["LambdaLR", "MultiplicativeLR"]

Function = Callable[[int], float]


class FunctionLR(Driver):
    """A scheduler with a function a group, or one for all groups, those added later too."""

    _keys = ("lr_lambdas",)
    lr_lambdas: list[Function]

    def _values(self) -> list[float]:
        """The functions' values at this epoch."""
        missing = len(self.optimizer.param_groups) - len(self.lr_lambdas)
        if missing > 0 and len({id(f) for f in self.lr_lambdas}) > 1:
            raise InputError(
                f"{type(self).__name__}: a parameter group was added, and there is a function for "
                f"each of {len(self.lr_lambdas)} groups. Append its function to lr_lambdas"
            )
        functions = [*self.lr_lambdas, *self.lr_lambdas[:1] * missing]
        return [f(self.last_epoch) for f in functions]


class LambdaLR(FunctionLR, torch_lr.LambdaLR):
    r"""Multiply the base lr by a function of the epoch: :math:`\eta_t = \eta_0 \, f(t)`.

    A state dict holds no functions, as torch's does not; loading one into a scheduler with
    another function than it was saved with is said in a warning, where torch goes on in silence.

    Args:
        optimizer: whose groups' ``lr`` is driven.
        lr_lambda: from an epoch to a factor, or a list of one for each group.
        last_epoch: the last epoch that was run, to resume without a state dict.
        verbose: print a line at each change, as torch once did.

    >>> import torch
    >>> optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.5)
    >>> scheduler = LambdaLR(optimizer, lambda epoch: 1 / (1 + epoch))
    >>> optimizer.step()
    >>> scheduler.step()
    >>> scheduler.get_last_lr()
    [0.25]
    """

    def __init__(
        self,
        optimizer: Optimizer,
        lr_lambda: Function | list[Function],
        last_epoch: int = -1,
        verbose: bool = False,
    ) -> None:
        _check_functions("LambdaLR", lr_lambda)
        self.verbose = bool(verbose)
        super().__init__(optimizer, lr_lambda, last_epoch)

    def get_lr(self) -> list[Lr]:
        """The next learning rates."""
        _warn_get_lr_called_within_step(self)
        return [base * f for base, f in zip(self._bases, self._values(), strict=True)]

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Continue where ``state_dict`` was taken, with the functions this one was built with."""
        super().load_state_dict(state_dict)
        if self.last_epoch < 0:  # a part of a sequence that has not begun
            return
        expected = [base * f for base, f in zip(self._bases, self._values(), strict=True)]
        pairs = zip(self._last_lr, expected, strict=False)
        if not all(math.isclose(float(a), float(b), rel_tol=1e-6) for a, b in pairs):
            warnings.warn(
                f"LambdaLR: the saved run had lr {[float(lr) for lr in self._last_lr]} at epoch "
                f"{self.last_epoch}, this one's functions give {[float(lr) for lr in expected]}. "
                "State dicts hold no functions: build it with those of the saved run",
                stacklevel=2,
            )


class MultiplicativeLR(FunctionLR, torch_lr.MultiplicativeLR):
    r"""Multiply the lr by a function of the epoch: :math:`\eta_t = \eta_{t-1} \, f(t)`.

    Args:
        optimizer: whose groups' ``lr`` is driven.
        lr_lambda: from an epoch, 1 first, to a factor, or a list of one for each group.
        last_epoch: the last epoch that was run, to resume without a state dict.
        verbose: print a line at each change, as torch once did.

    >>> import torch
    >>> optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.5)
    >>> scheduler = MultiplicativeLR(optimizer, lambda epoch: 0.5)
    >>> optimizer.step()
    >>> scheduler.step()
    >>> scheduler.get_last_lr()
    [0.25]
    """

    def __init__(
        self,
        optimizer: Optimizer,
        lr_lambda: Function | list[Function],
        last_epoch: int = -1,
        verbose: bool = False,
    ) -> None:
        _check_functions("MultiplicativeLR", lr_lambda)
        self.verbose = bool(verbose)
        super().__init__(optimizer, lr_lambda, last_epoch)

    def get_lr(self) -> list[Lr]:
        """The next learning rates."""
        _warn_get_lr_called_within_step(self)
        if not self._is_initial:
            found = learning_rates(self.optimizer)
            return [lr * f for lr, f in zip(found, self._values(), strict=True)]
        epoch, lrs = self.last_epoch, learning_rates(self.optimizer)
        if epoch > 0:  # built with last_epoch: the product up to it, in the order of the steps
            lrs = self._bases
            for self.last_epoch in range(1, epoch + 1):
                lrs = [lr * f for lr, f in zip(lrs, self._values(), strict=True)]
        return lrs


def _check_functions(name: str, given: Any) -> None:
    for function in each_of(given):
        if not callable(function):
            raise InputTypeError(
                f"{name}: lr_lambda must be a function of the epoch, or a list of functions, got "
                f"{function!r}"
            )
