"""The scheduler classes that multiply the lr by a factor with a closed form."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Iterable

import torch
import torch.optim.lr_scheduler as torch_lr
from torch import Tensor
from torch.optim import Optimizer
from torch.optim.lr_scheduler import _warn_get_lr_called_within_step

from ..schedules._formulas import decayed, half_cosine, mixed, remaining
from ..schedules._schedule import in_range, whole
from ._lr_base import Driver, Lr, learning_rates

__all__ = [
    "ConstantLR",
    "CosineAnnealingLR",
    "ExponentialLR",
    "LinearLR",
    "MultiStepLR",
    "PolynomialLR",
    "StepLR",
]


class FactorLR(Driver):
    """A scheduler with a closed form: ``floor + (base_lr - floor) * factor(epoch)``.

    Where the lr is the closed form's of the epoch before, the next one is the closed form too: it
    does not drift, and a resumed run has the bits of one that was not interrupted. Where another
    hand has changed it (a second scheduler, a program), the *change* of the factor is applied to
    what is found, as torch does.
    """

    @abstractmethod
    def _factor(self, epoch: int) -> float:
        """The factor at an epoch from 0 on."""

    @property
    def _floor(self) -> float:
        return 0.0

    def get_lr(self) -> list[Lr]:
        """The next learning rates; a copy, never the optimizer's own tensors."""
        _warn_get_lr_called_within_step(self)
        epoch, found = self.last_epoch, learning_rates(self.optimizer)
        if epoch <= 0:
            return self._of(found, self._factor(0))
        expected, closed = self._closed(epoch - 1), self._closed(epoch)
        if self._is_initial:  # built with last_epoch: resumed
            return closed
        changed = self._changed(found, self._factor(epoch - 1), self._factor(epoch))
        return [_where_equal(*lrs) for lrs in zip(found, expected, closed, changed, strict=True)]

    def _changed(self, found: list[Lr], before: float, now: float) -> list[Lr]:
        """What was found, with the change of the factor."""
        floor = self._floor
        if now == before:
            return found
        if before == 0:  # at the floor there is nothing to multiply: climb from it
            pairs = zip(found, self._bases, strict=True)
            return [lr + (base - floor) * now for lr, base in pairs]
        ratio = now / before  # what another scheduler took below the floor must not pass zero
        return [_at_least_0(floor + (lr - floor) * ratio) for lr in found]

    def _closed(self, epoch: int) -> list[Lr]:
        return self._of(self._bases, self._factor(epoch))

    def _of(self, bases: list[Lr], factor: float) -> list[Lr]:
        floor = self._floor
        return [floor + (base - floor) * factor for base in bases]

    def _get_closed_form_lr(self) -> list[Lr]:
        return self._closed(self.last_epoch)


def _at_least_0(lr: Lr) -> Lr:
    return lr.clamp(min=0.0) if isinstance(lr, Tensor) else max(lr, 0.0)


def _where_equal(found: Lr, expected: Lr, closed: Lr, changed: Lr) -> Lr:
    if isinstance(found, Tensor):  # without reading a number from a device
        return torch.where(found == expected, torch.as_tensor(closed).to(found), changed)
    return closed if found == expected else changed


class StepLR(FactorLR, torch_lr.StepLR):
    r"""Multiply the lr by ``gamma`` every ``step_size`` epochs.

    .. math:: \eta_t = \eta_0 \, \gamma^{\lfloor t / \text{step\_size} \rfloor}

    Args:
        optimizer: whose groups' ``lr`` is driven.
        step_size: epochs between two changes, a whole number >= 1.
        gamma: the factor, >= 0.
        last_epoch: the last epoch that was run, to resume without a state dict.
        verbose: print a line at each change, as torch once did.

    >>> import torch
    >>> optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.5)
    >>> scheduler = StepLR(optimizer, step_size=2, gamma=0.5)
    >>> for _ in range(4):
    ...     optimizer.step()
    ...     scheduler.step()
    >>> scheduler.get_last_lr()
    [0.125]
    """

    _keys = ("step_size", "gamma")

    def __init__(
        self,
        optimizer: Optimizer,
        step_size: int,
        gamma: float = 0.1,
        last_epoch: int = -1,
        verbose: bool = False,
    ) -> None:
        whole("StepLR: step_size", step_size)
        in_range("StepLR: gamma", gamma, 0)
        self.verbose = bool(verbose)
        super().__init__(optimizer, step_size, gamma, last_epoch)

    def _factor(self, epoch: int) -> float:
        return decayed(self.gamma, self.step_size, epoch)


class LinearLR(FactorLR, torch_lr.LinearLR):
    r"""Change the lr's factor on a straight line over ``total_iters`` epochs, then hold it.

    .. math:: \eta_t = \eta_0 \, (\text{start} (1 - u) + \text{end} \, u), \quad
        u = \min(t / \text{total\_iters}, 1)

    Args:
        optimizer: whose groups' ``lr`` is driven.
        start_factor: at epoch 0, in (0, 1].
        end_factor: from epoch ``total_iters`` on, in [0, 1].
        total_iters: epochs until ``end_factor``, > 0. (torch takes 0 and stays at the start.)
        last_epoch: the last epoch that was run, to resume without a state dict.
        verbose: print a line at each change, as torch once did.

    >>> import torch
    >>> optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.1)
    >>> scheduler = LinearLR(optimizer, start_factor=0.5, total_iters=5)
    >>> scheduler.get_last_lr()
    [0.05]
    """

    _keys = ("start_factor", "end_factor", "total_iters")

    def __init__(
        self,
        optimizer: Optimizer,
        start_factor: float = 1.0 / 3,
        end_factor: float = 1.0,
        total_iters: int = 5,
        last_epoch: int = -1,
        verbose: bool = False,
    ) -> None:
        in_range("LinearLR: start_factor", start_factor, 0, 1, open_low=True)
        in_range("LinearLR: end_factor", end_factor, 0, 1)
        in_range("LinearLR: total_iters", total_iters, 0, open_low=True)
        self.verbose = bool(verbose)
        super().__init__(optimizer, start_factor, end_factor, total_iters, last_epoch)

    def _factor(self, epoch: int) -> float:
        return mixed(self.start_factor, self.end_factor, remaining(self.total_iters, epoch))


class MultiStepLR(FactorLR, torch_lr.MultiStepLR):
    r"""Multiply the lr by ``gamma`` at each milestone.

    .. math:: \eta_t = \eta_0 \, \gamma^{n}, \quad n \text{ milestones being} \le t

    Args:
        optimizer: whose groups' ``lr`` is driven.
        milestones: epochs >= 0; one that stands there twice counts twice.
        gamma: the factor, >= 0.
        last_epoch: the last epoch that was run, to resume without a state dict.
        verbose: print a line at each change, as torch once did.

    >>> import torch
    >>> optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.5)
    >>> scheduler = MultiStepLR(optimizer, milestones=[1, 3], gamma=0.5)
    >>> for _ in range(4):
    ...     optimizer.step()
    ...     scheduler.step()
    >>> scheduler.get_last_lr()
    [0.125]
    """

    _keys = ("milestones", "gamma")

    def __init__(
        self,
        optimizer: Optimizer,
        milestones: Iterable[int],
        gamma: float = 0.1,
        last_epoch: int = -1,
        verbose: bool = False,
    ) -> None:
        bounds = [whole("MultiStepLR: a milestone", bound, least=0) for bound in milestones]
        in_range("MultiStepLR: gamma", gamma, 0)
        self.verbose = bool(verbose)
        super().__init__(optimizer, bounds, gamma, last_epoch)

    def _factor(self, epoch: int) -> float:
        passed = sum(times for bound, times in self.milestones.items() if bound <= epoch)
        return math.pow(self.gamma, passed)


class ConstantLR(FactorLR, torch_lr.ConstantLR):
    """Multiply the lr by ``factor`` for ``total_iters`` epochs, then not at all.

    Args:
        optimizer: whose groups' ``lr`` is driven.
        factor: in [0, 1]; torch's class divides by zero at 0.
        total_iters: epochs that it lasts, >= 0.
        last_epoch: the last epoch that was run, to resume without a state dict.
        verbose: print a line at each change, as torch once did.

    >>> import torch
    >>> optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.5)
    >>> scheduler = ConstantLR(optimizer, factor=0.5, total_iters=4)
    >>> scheduler.get_last_lr()
    [0.25]
    """

    _keys = ("factor", "total_iters")

    def __init__(
        self,
        optimizer: Optimizer,
        factor: float = 1.0 / 3,
        total_iters: int = 5,
        last_epoch: int = -1,
        verbose: bool = False,
    ) -> None:
        in_range("ConstantLR: factor", factor, 0, 1)
        in_range("ConstantLR: total_iters", total_iters, 0)
        self.verbose = bool(verbose)
        super().__init__(optimizer, factor, total_iters, last_epoch)

    def _factor(self, epoch: int) -> float:
        return self.factor if epoch < self.total_iters else 1.0


class ExponentialLR(FactorLR, torch_lr.ExponentialLR):
    r"""Multiply the lr by ``gamma`` at every epoch: :math:`\eta_t = \eta_0 \, \gamma^t`.

    Args:
        optimizer: whose groups' ``lr`` is driven.
        gamma: the factor, >= 0.
        last_epoch: the last epoch that was run, to resume without a state dict.
        verbose: print a line at each change, as torch once did.

    >>> import torch
    >>> optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.5)
    >>> scheduler = ExponentialLR(optimizer, gamma=0.5)
    >>> optimizer.step()
    >>> scheduler.step()
    >>> scheduler.get_last_lr()
    [0.25]
    """

    _keys = ("gamma",)

    def __init__(
        self, optimizer: Optimizer, gamma: float, last_epoch: int = -1, verbose: bool = False
    ) -> None:
        in_range("ExponentialLR: gamma", gamma, 0)
        self.verbose = bool(verbose)
        super().__init__(optimizer, gamma, last_epoch)

    def _factor(self, epoch: int) -> float:
        return decayed(self.gamma, 1, epoch)


class PolynomialLR(FactorLR, torch_lr.PolynomialLR):
    r"""Let the lr fall to 0 over ``total_iters`` epochs along a power of a straight line.

    .. math:: \eta_t = \eta_0 \, (1 - \min(t / \text{total\_iters}, 1))^{\text{power}}

    Args:
        optimizer: whose groups' ``lr`` is driven.
        total_iters: epochs until 0, > 0.
        power: > 0; 1 is a straight line.
        last_epoch: the last epoch that was run, to resume without a state dict.
        verbose: print a line at each change, as torch once did.

    >>> import torch
    >>> optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.5)
    >>> scheduler = PolynomialLR(optimizer, total_iters=2, power=2.0)
    >>> optimizer.step()
    >>> scheduler.step()
    >>> scheduler.get_last_lr()
    [0.125]
    """

    _keys = ("total_iters", "power")

    def __init__(
        self,
        optimizer: Optimizer,
        total_iters: int = 5,
        power: float = 1.0,
        last_epoch: int = -1,
        verbose: bool = False,
    ) -> None:
        in_range("PolynomialLR: total_iters", total_iters, 0, open_low=True)
        in_range("PolynomialLR: power", power, 0, open_low=True)
        self.verbose = bool(verbose)
        super().__init__(optimizer, total_iters, power, last_epoch)

    def _factor(self, epoch: int) -> float:
        return math.pow(remaining(self.total_iters, epoch), self.power)


class CosineAnnealingLR(FactorLR, torch_lr.CosineAnnealingLR):
    r"""Follow a cosine from the base lr down to ``eta_min`` at ``T_max``, and up again after it.

    .. math:: \eta_t = \eta_{min} + (\eta_0 - \eta_{min}) \frac{1 + \cos(\pi t / T_{max})}{2}

    torch's class climbs back after ``T_max``, and so does this one;
    :func:`downslope.schedules.cosine` stays down. The textbook form is kept precise to the last
    epoch, where torch's recursion loses digits.

    Args:
        optimizer: whose groups' ``lr`` is driven.
        T_max: epochs down, > 0.
        eta_min: the lowest lr, >= 0.
        last_epoch: the last epoch that was run, to resume without a state dict.
        verbose: print a line at each change, as torch once did.

    Loshchilov and Hutter, SGDR, arXiv 1608.03983, equation 5, without restarts.

    >>> import torch
    >>> optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.1)
    >>> scheduler = CosineAnnealingLR(optimizer, T_max=2, eta_min=0.02)
    >>> for _ in range(2):
    ...     optimizer.step()
    ...     scheduler.step()
    >>> scheduler.get_last_lr()
    [0.02]
    """

    _keys = ("T_max", "eta_min")

    def __init__(
        self,
        optimizer: Optimizer,
        T_max: int,  # noqa: N803  # torch's name
        eta_min: float = 0.0,
        last_epoch: int = -1,
        verbose: bool = False,
    ) -> None:
        in_range("CosineAnnealingLR: T_max", T_max, 0, open_low=True)
        in_range("CosineAnnealingLR: eta_min", eta_min, 0)
        self.verbose = bool(verbose)
        super().__init__(optimizer, T_max, eta_min, last_epoch)

    @property
    def _floor(self) -> float:
        return self.eta_min

    def _factor(self, epoch: int) -> float:
        return half_cosine(abs(epoch % (2 * self.T_max) - self.T_max) / self.T_max)
