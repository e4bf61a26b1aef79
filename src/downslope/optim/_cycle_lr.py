"""The scheduler classes that go up and down, and take the momentum the other way."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, Literal

import torch.optim.lr_scheduler as torch_lr
from torch.optim import Optimizer
from torch.optim.lr_scheduler import _enable_get_lr_call, _warn_get_lr_called_within_step

from ..errors import InputError, unknown
from ..schedules._formulas import half_cosine, mixed, remaining, restart, triangle
from ..schedules._schedule import finite, in_range, whole
from ..schedules._shapes import CYCLE_SHAPES, CycleShape
from ._lr_base import Driver, Lr, Updates, each_of, learning_rates, set_learning_rates, told

__all__ = ["CosineAnnealingWarmRestarts", "CyclicLR", "OneCycleLR"]


class CosineAnnealingWarmRestarts(Driver, torch_lr.CosineAnnealingWarmRestarts):
    r"""Follow a cosine from the base lr down to ``eta_min``, jump up, and do it again.

    .. math:: \eta_t = \eta_{min} + (\eta_0 - \eta_{min})
        \frac{1 + \cos(\pi \, T_{cur} / T_i)}{2}

    Args:
        optimizer: whose groups' ``lr`` is driven.
        T_0: epochs of the first cycle, a whole number >= 1.
        T_mult: how many times longer each cycle is than the one before, >= 1.
        eta_min: the lowest lr, >= 0.
        last_epoch: the last epoch that was run, to resume without a state dict; torch's class
            then takes a later cycle for the first two.
        verbose: print a line at each change, as torch once did.

    Loshchilov and Hutter, SGDR, arXiv 1608.03983.

    >>> import torch
    >>> optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.1)
    >>> scheduler = CosineAnnealingWarmRestarts(optimizer, T_0=2)
    >>> optimizer.step()
    >>> scheduler.step()
    >>> [round(lr, 9) for lr in scheduler.get_last_lr()]
    [0.05]
    """

    _keys = ("T_0", "T_i", "T_mult")

    def __init__(
        self,
        optimizer: Optimizer,
        T_0: int,  # noqa: N803  # torch's name
        T_mult: int = 1,  # noqa: N803  # torch's name
        eta_min: float = 0.0,
        last_epoch: int = -1,
        verbose: bool = False,
    ) -> None:
        whole("CosineAnnealingWarmRestarts: T_0", T_0)
        whole("CosineAnnealingWarmRestarts: T_mult", T_mult)
        in_range("CosineAnnealingWarmRestarts: eta_min", eta_min, 0)
        self.verbose = bool(verbose)
        super().__init__(optimizer, T_0, T_mult, eta_min, last_epoch)

    def get_lr(self) -> list[Lr]:
        """The next learning rates."""
        _warn_get_lr_called_within_step(self)
        weight = half_cosine(remaining(self.T_i, self.T_cur))
        return [self.eta_min + (base - self.eta_min) * weight for base in self._bases]

    def step(self, epoch: float | None = None) -> None:
        """Go to the next epoch, or to any other, which may lie between two.

        Raises:
            InputError: the epoch is negative or not a number.
        """
        if epoch is None:
            if not self._is_initial and Updates.of(self.optimizer).skipped(self):
                return
            epoch = self.last_epoch + 1
        elif finite("CosineAnnealingWarmRestarts: epoch", epoch) < 0:
            raise InputError(f"Expected non-negative epoch, but got {epoch}")
        within, length = restart(self.T_0, self.T_mult, epoch)
        self.T_cur = int(within) if isinstance(epoch, int) else within  # type: ignore[assignment]  # torch's may lie between
        self.T_i = int(length)
        self.last_epoch = math.floor(epoch)
        with told(self), _enable_get_lr_call(self):
            set_learning_rates(self.optimizer, self.get_lr())
        self._last_lr = learning_rates(self.optimizer)


class MomentumLR(Driver):
    """A scheduler that may drive the momentum, or beta1, against the lr."""

    cycle_momentum: bool
    use_beta1: bool

    def _momentums(self) -> list[float]:
        """The momentum of each group at this epoch."""
        raise NotImplementedError

    def _resume(self) -> None:
        if self.cycle_momentum and self.last_epoch >= 0:
            self._set_momentums()

    def _set_momentums(self) -> None:
        for group, momentum in zip(self.optimizer.param_groups, self._momentums(), strict=True):
            if self.use_beta1:
                group["betas"] = (momentum, *group["betas"][1:])
            else:
                group["momentum"] = momentum


class CyclicLR(MomentumLR, torch_lr.CyclicLR):
    r"""Go straight up from ``base_lr`` to ``max_lr`` and straight down again, for ever.

    Args:
        optimizer: whose groups' ``lr`` is driven.
        base_lr: the lowest lr, one for all groups or one a group.
        max_lr: the highest, alike. A group added later keeps its own lr as the lowest, and the
            ratio of the two.
        step_size_up: epochs up.
        step_size_down: epochs down; None is as many.
        mode: ``"triangular"``; ``"triangular2"`` halves the height with each cycle;
            ``"exp_range"`` multiplies it by ``gamma ** epoch``.
        gamma: of ``"exp_range"``.
        scale_fn: a function of your own in place of the mode.
        scale_mode: whether ``scale_fn`` takes the ``"cycle"`` or ``"iterations"``.
        cycle_momentum: take the momentum (or beta1) from ``max_momentum`` down and up again.
        base_momentum: the lowest momentum.
        max_momentum: the highest.
        last_epoch: the last epoch that was run, to resume without a state dict.
        verbose: print a line at each change, as torch once did.

    Smith, Cyclical Learning Rates for Training Neural Networks, arXiv 1506.01186.

    >>> import torch
    >>> optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.1, momentum=0.9)
    >>> scheduler = CyclicLR(optimizer, base_lr=0.1, max_lr=0.3, step_size_up=2)
    >>> optimizer.step()
    >>> scheduler.step()
    >>> scheduler.get_last_lr(), round(optimizer.param_groups[0]["momentum"], 9)
    ([0.2], 0.85)
    """

    _keys = ("max_lrs", "total_size", "step_ratio")

    def __init__(
        self,
        optimizer: Optimizer,
        base_lr: float | list[float],
        max_lr: float | list[float],
        step_size_up: int = 2000,
        step_size_down: int | None = None,
        mode: CycleShape = "triangular",
        gamma: float = 1.0,
        scale_fn: Callable[[float], float] | None = None,
        scale_mode: Literal["cycle", "iterations"] = "cycle",
        cycle_momentum: bool = True,
        base_momentum: float = 0.8,
        max_momentum: float = 0.9,
        last_epoch: int = -1,
        verbose: bool = False,
    ) -> None:
        for argument, given in {"base_lr": base_lr, "max_lr": max_lr}.items():
            for lr in each_of(given):
                in_range(f"CyclicLR: {argument}", lr, 0)
        in_range("CyclicLR: step_size_up", step_size_up, 0, open_low=True)
        if step_size_down is not None:
            in_range("CyclicLR: step_size_down", step_size_down, 0, open_low=True)
        if scale_fn is None and mode not in CYCLE_SHAPES:
            raise unknown("mode for CyclicLR", mode, CYCLE_SHAPES)
        if scale_mode not in ("cycle", "iterations"):
            raise unknown("scale_mode for CyclicLR", scale_mode, ("cycle", "iterations"))
        in_range("CyclicLR: gamma", gamma, 0)
        self.verbose = bool(verbose)
        super().__init__(
            optimizer,
            base_lr,
            max_lr,
            step_size_up,
            step_size_down,
            mode,
            gamma,
            scale_fn,
            scale_mode,
            cycle_momentum,
            base_momentum,
            max_momentum,
            last_epoch,
        )

    def _height(self) -> float:
        """How far up it is, from 0 to 1, times the scale of its cycle."""
        up = self.step_ratio * self.total_size
        cycle, height = triangle(up, self.total_size - up, self.last_epoch)
        scale = self.scale_fn(cycle if self.scale_mode == "cycle" else self.last_epoch)
        return height * float(scale)

    def get_lr(self) -> list[Lr]:
        """The next learning rates; sets the momentum too."""
        _warn_get_lr_called_within_step(self)
        height, bases = self._height(), self._bases
        late = [base * (self.max_lrs[0] / self.base_lrs[0]) for base in bases[len(self.max_lrs) :]]
        if self.cycle_momentum:
            self._set_momentums()
        pairs = zip(bases, [*self.max_lrs, *late], strict=True)
        return [base + (highest - base) * height for base, highest in pairs]

    def _momentums(self) -> list[float]:
        late = len(self.optimizer.param_groups) - len(self.max_momentums)
        highest = [*self.max_momentums, *self.max_momentums[:1] * late]
        lowest = [*self.base_momentums, *self.base_momentums[:1] * late]
        height = self._height()
        return [high - (high - low) * height for high, low in zip(highest, lowest, strict=True)]


class OneCycleLR(MomentumLR, torch_lr.OneCycleLR):
    """Go up from ``max_lr / div_factor`` to ``max_lr``, then far down, once.

    Past its last step it stays where it ended; torch's class raises there.

    Args:
        optimizer: whose groups' ``lr`` is driven.
        max_lr: the highest lr, one for all groups or one a group. Of a group added later it is
            the lr that it came with.
        total_steps: all of it; or give the next two.
        epochs: times ``steps_per_epoch`` steps.
        steps_per_epoch: see there.
        pct_start: the share of the steps that go up, from 0 to 1.
        anneal_strategy: ``"cos"`` or ``"linear"``.
        cycle_momentum: take the momentum (or beta1) from ``max_momentum`` down and up again.
        base_momentum: the lowest momentum.
        max_momentum: the highest.
        div_factor: ``max_lr`` over the first lr, > 0.
        final_div_factor: the first lr over the last, > 0.
        three_phase: go down as fast as up, then from the first lr to the last.
        last_epoch: the last epoch that was run, to resume without a state dict.
        verbose: print a line at each change, as torch once did.

    Smith and Topin, Super-Convergence, arXiv 1708.07120.

    >>> import torch
    >>> optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.1, momentum=0.9)
    >>> scheduler = OneCycleLR(optimizer, max_lr=0.5, total_steps=10, pct_start=0.5)
    >>> for _ in range(4):
    ...     optimizer.step()
    ...     scheduler.step()
    >>> scheduler.get_last_lr(), optimizer.param_groups[0]["momentum"]
    ([0.5], 0.85)
    """

    _keys = ("total_steps", "_schedule_phases")

    def __init__(
        self,
        optimizer: Optimizer,
        max_lr: float | list[float],
        total_steps: int | None = None,
        epochs: int | None = None,
        steps_per_epoch: int | None = None,
        pct_start: float = 0.3,
        anneal_strategy: Literal["cos", "linear"] = "cos",
        cycle_momentum: bool = True,
        base_momentum: float | list[float] = 0.85,
        max_momentum: float | list[float] = 0.95,
        div_factor: float = 25.0,
        final_div_factor: float = 1e4,
        three_phase: bool = False,
        last_epoch: int = -1,
        verbose: bool = False,
    ) -> None:
        for lr in each_of(max_lr):
            in_range("OneCycleLR: max_lr", lr, 0)
        in_range("OneCycleLR: div_factor", div_factor, 0, open_low=True)
        in_range("OneCycleLR: final_div_factor", final_div_factor, 0, open_low=True)
        in_range("OneCycleLR: pct_start", pct_start, 0, 1)
        self.verbose = bool(verbose)
        super().__init__(
            optimizer,
            max_lr,
            total_steps,
            epochs,
            steps_per_epoch,
            float(pct_start),
            anneal_strategy,
            cycle_momentum,
            base_momentum,
            max_momentum,
            div_factor,
            final_div_factor,
            three_phase,
            last_epoch,
        )

    def _phase(self) -> tuple[Any, float]:
        """The phase of this epoch, and how much of its start there is: 1 at it, 0 at its end."""
        begin, epoch = 0.0, self.last_epoch
        *earlier, last = self._schedule_phases
        for phase in earlier:
            end = phase["end_step"]
            if epoch <= end and end > begin:
                return phase, self._weight(remaining(end - begin, epoch - begin))
            begin = end
        length = last["end_step"] - begin
        return last, self._weight(remaining(length, epoch - begin)) if length > 0 else 0.0

    def _weight(self, share: float) -> float:
        return half_cosine(share) if self._anneal_func_type == "cos" else share

    def get_lr(self) -> list[Lr]:
        """The next learning rates; sets the momentum too."""
        _warn_get_lr_called_within_step(self)
        first = self.optimizer.param_groups[0]
        for group in self.optimizer.param_groups[len(self.base_lrs) :]:
            if "max_lr" not in group:  # added later: from here on it takes part
                group["max_lr"] = group["lr"]
                for key in ("initial_lr", "min_lr"):
                    group[key] = group["lr"] * (first[key] / first["max_lr"])
        if self.cycle_momentum:
            self._set_momentums()
        phase, weight = self._phase()
        start, end = phase["start_lr"], phase["end_lr"]
        return [mixed(g[start], g[end], weight) for g in self.optimizer.param_groups]

    def _momentums(self) -> list[float]:
        first = self.optimizer.param_groups[0]
        phase, weight = self._phase()
        ends = (phase["start_momentum"], phase["end_momentum"])
        pairs = [[g.get(key, first[key]) for key in ends] for g in self.optimizer.param_groups]
        return [mixed(start, end, weight) for start, end in pairs]
