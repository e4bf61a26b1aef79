"""What the scheduler classes share, and the three that have a closed form."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Callable, Sequence
from typing import Any, ClassVar

import torch.optim.lr_scheduler as torch_lr
from torch import Tensor
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler, _warn_get_lr_called_within_step

from ..errors import InputError
from ..schedules._formulas import decayed, half_cosine, mixed, remaining
from ..schedules._schedule import finite, whole

Lr = float | Tensor


class FactorLR(LRScheduler):
    """A scheduler with a closed form: ``floor + (base_lr - floor) * factor(epoch)``."""

    _keys: ClassVar[tuple[str, ...]]  # the state-dict keys that only this class has

    @abstractmethod
    def _factor(self, epoch: int) -> float:
        """The factor at an epoch from 0 on."""

    @property
    def _floor(self) -> float:
        return 0.0

    @property
    def _bases(self) -> list[Lr]:
        """The base lr of each group; a group added later has the lr it came with."""
        late = self.optimizer.param_groups[len(self.base_lrs) :]
        return [*self.base_lrs, *(group.get("initial_lr", group["lr"]) for group in late)]

    def get_lr(self) -> list[Lr]:
        """The next learning rates; a copy, never the optimizer's own tensors."""
        _warn_get_lr_called_within_step(self)
        epoch, floor = self.last_epoch, self._floor
        if self._is_initial and epoch > 0:  # built with last_epoch: resumed
            return self._get_closed_form_lr()
        now = self._factor(epoch)
        before = self._factor(epoch - 1) if epoch > 0 else 1.0
        lrs = learning_rates(self.optimizer)
        if now == before:
            return lrs
        if before == 0:  # at the floor there is nothing to multiply: climb from it
            return [lr + (base - floor) * now for lr, base in zip(lrs, self._bases, strict=True)]
        return [floor + (lr - floor) * (now / before) for lr in lrs]

    def _get_closed_form_lr(self) -> list[Lr]:
        floor, factor = self._floor, self._factor(self.last_epoch)
        return [floor + (base - floor) * factor for base in self._bases]

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Continue where ``state_dict`` was taken; torch's is as good.

        If the optimizer's lr is still the one that building this scheduler set, it becomes the
        saved one: so the order of building, loading the optimizer and loading the scheduler does
        not matter.
        """
        continue_from(self, super().load_state_dict, state_dict, self._keys)


class StepLR(FactorLR, torch_lr.StepLR):
    r"""Multiply the lr by ``gamma`` every ``step_size`` epochs.

    .. math:: \eta_t = \eta_0 \, \gamma^{\lfloor t / \text{step\_size} \rfloor}

    Args:
        optimizer: whose groups' ``lr`` is driven.
        step_size: epochs between two changes, a whole number >= 1.
        gamma: the factor, >= 0.
        last_epoch: the last epoch that was run, to resume without a state dict.

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
        self, optimizer: Optimizer, step_size: int, gamma: float = 0.1, last_epoch: int = -1
    ) -> None:
        whole("StepLR: step_size", step_size)
        in_range("StepLR: gamma", gamma, 0)
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
    ) -> None:
        in_range("LinearLR: start_factor", start_factor, 0, 1, open_low=True)
        in_range("LinearLR: end_factor", end_factor, 0, 1)
        in_range("LinearLR: total_iters", total_iters, 0, open_low=True)
        super().__init__(optimizer, start_factor, end_factor, total_iters, last_epoch)

    def _factor(self, epoch: int) -> float:
        return mixed(self.start_factor, self.end_factor, remaining(self.total_iters, epoch))


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
    ) -> None:
        in_range("CosineAnnealingLR: T_max", T_max, 0, open_low=True)
        in_range("CosineAnnealingLR: eta_min", eta_min, 0)
        super().__init__(optimizer, T_max, eta_min, last_epoch)

    @property
    def _floor(self) -> float:
        return self.eta_min

    def _factor(self, epoch: int) -> float:
        return half_cosine(abs(epoch % (2 * self.T_max) - self.T_max) / self.T_max)


def learning_rates(optimizer: Optimizer, key: str = "lr") -> list[Lr]:
    """Copies of the groups' ``lr``, or of their ``initial_lr`` where they have one."""
    found = [group.get(key, group["lr"]) for group in optimizer.param_groups]
    return [lr.clone() if isinstance(lr, Tensor) else lr for lr in found]


def set_learning_rates(optimizer: Optimizer, lrs: Sequence[Lr]) -> None:
    """Write learning rates into the groups; a tensor lr stays the same tensor."""
    for group, lr in zip(optimizer.param_groups, lrs, strict=False):  # a group may be new
        if isinstance(group["lr"], Tensor):
            group["lr"].fill_(lr)
        else:
            group["lr"] = lr


def continue_from(
    scheduler: Any,
    load: Callable[[dict[str, Any]], None],
    state: dict[str, Any],
    keys: Sequence[str],
) -> None:
    """Load a state, and with it the optimizer's lr where only this scheduler has set it."""
    check_state(scheduler, state, keys)
    before = learning_rates(scheduler.optimizer)
    own = [float(lr) for lr in before] == [float(lr) for lr in scheduler.get_last_lr()]
    load(state)
    set_learning_rates(scheduler.optimizer, scheduler.get_last_lr() if own else before)


def check_state(scheduler: Any, state: dict[str, Any], keys: Sequence[str]) -> None:
    """Raise unless a state has the keys that tell its class from the others."""
    missing = [key for key in keys if key not in state]
    if missing:
        raise InputError(
            f"{type(scheduler).__name__}: this state dict is of another class: it has no "
            f"{missing[0]!r}, only {sorted(state)}. Load it into the class that wrote it"
        )


def in_range(
    name: str, value: float, low: float, high: float = math.inf, *, open_low: bool = False
) -> None:
    """Raise, naming the argument, unless a number is finite and in its range."""
    number = finite(name, value)
    if number < low or number > high or (open_low and number == low):
        bounds = f"{'>' if open_low else '>='} {low:g}"
        bounds += f" and <= {high:g}" if high < math.inf else ""
        raise InputError(f"{name} must be a finite number {bounds}, got {value!r}")
