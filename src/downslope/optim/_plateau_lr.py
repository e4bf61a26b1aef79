"""The scheduler class that watches a metric."""

from __future__ import annotations

import math
import warnings
from typing import Any, Literal, SupportsFloat

import torch.optim.lr_scheduler as torch_lr
from torch.optim import Optimizer

from ..errors import InputError, InputTypeError, unknown
from ..schedules._schedule import finite, in_range, whole
from ._lr_base import check_not_scheduled, check_state, each_of, learning_rates, told

__all__ = ["ReduceLROnPlateau"]


class ReduceLROnPlateau(torch_lr.ReduceLROnPlateau):
    """Multiply the lr by ``factor`` when a metric has not improved for ``patience`` epochs.

    Without a validation set, give it the training loss of every step and ``average=``, so many
    calls whose mean is one metric: patience and cooldown then count means, not calls.

    A metric that is not finite is said in a warning and counts neither as an improvement nor as
    an epoch without one. (torch counts NaN as an epoch without one.)

    Args:
        optimizer: whose groups' ``lr`` is driven.
        mode: ``"min"`` or ``"max"``: which way is better.
        factor: what the lr is multiplied by, in [0, 1).
        patience: epochs without improvement that are let pass.
        threshold: how much better counts as better.
        threshold_mode: ``"rel"`` or ``"abs"``: relative to the best value, or in its units.
        cooldown: epochs to wait after a change before counting again.
        min_lr: the lowest lr, one for all groups or one a group.
        eps: a smaller change than this is not made.
        verbose: print a line at each change. torch has removed this argument; tutorials use it.
        average: how many calls of :meth:`step` make one metric, their mean.

    >>> import torch
    >>> optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.1)
    >>> scheduler = ReduceLROnPlateau(optimizer, patience=1, verbose=True)
    >>> for loss in (1.0, 1.0, 1.0):
    ...     scheduler.step(loss)
    Epoch 3: group 0: lr 0.1 -> 0.01
    """

    def __init__(
        self,
        optimizer: Optimizer,
        mode: Literal["min", "max"] = "min",
        factor: float = 0.1,
        patience: int = 10,
        threshold: float = 1e-4,
        threshold_mode: Literal["rel", "abs"] = "rel",
        cooldown: int = 0,
        min_lr: list[float] | float = 0,
        eps: float = 1e-8,
        verbose: bool = False,
        average: int = 1,
    ) -> None:
        name = type(self).__name__
        if mode not in ("min", "max"):
            raise unknown(f"mode for {name}", mode, ("min", "max"))
        if threshold_mode not in ("rel", "abs"):
            raise unknown(f"threshold_mode for {name}", threshold_mode, ("rel", "abs"))
        if finite(f"{name}: factor", factor) >= 1 or factor < 0:
            raise InputError(f"{name}: factor must be a number >= 0 and < 1, got {factor!r}")
        in_range(f"{name}: patience", patience, 0)
        in_range(f"{name}: threshold", threshold, 0)
        in_range(f"{name}: cooldown", cooldown, 0)
        in_range(f"{name}: eps", eps, 0)
        for low in each_of(min_lr):
            in_range(f"{name}: min_lr", low, 0)
        super().__init__(
            optimizer, mode, factor, patience, threshold, threshold_mode, cooldown, min_lr, eps
        )
        check_not_scheduled(self)
        self.verbose = bool(verbose)
        self.average = whole(f"{name}: average", average)

    def step(self, metrics: SupportsFloat | None, epoch: int | None = None) -> None:  # type: ignore[override]  # torch's
        """Take a metric: an epoch's, or one of the :attr:`average` that make an epoch."""
        if metrics is None:
            raise InputTypeError(
                "ReduceLROnPlateau.step needs the metric it watches, for example step(val_loss); "
                "got None"
            )
        given = float(metrics)
        value = given if math.isfinite(given) else None
        if value is None:
            warnings.warn(
                f"ReduceLROnPlateau: the metric is {given}, which counts neither as an improvement "
                "nor as an epoch without one",
                stacklevel=2,
            )
        if self.average > 1 and not self._window_full(value):
            return
        mean = self._window_mean() if self.average > 1 else value
        if mean is not None:
            super().step(mean, epoch)
        else:
            self.last_epoch = self.last_epoch + 1 if epoch is None else epoch

    def _window_full(self, value: float | None) -> bool:
        """Take a value, or a call without one, into the mean; whether that was the last."""
        self.window_calls += 1
        if value is not None:
            self.window_sum += value
            self.window_count += 1
        return self.window_calls >= self.average

    def _window_mean(self) -> float | None:
        """The mean of the window's finite values, and a new window."""
        mean = self.window_sum / self.window_count if self.window_count else None
        self._new_window()
        return mean

    def _new_window(self) -> None:
        self.window_calls, self.window_sum, self.window_count = 0, 0.0, 0

    def _reset(self) -> None:
        super()._reset()
        self._new_window()

    def _reduce_lr(self, epoch: int) -> None:
        with told(self):
            super()._reduce_lr(epoch)

    def state_dict(self) -> dict[str, Any]:
        """The state under torch's keys, and the window's where it averages several calls."""
        own = ["verbose", "average"]
        if self.average == 1:
            own += ["window_calls", "window_sum", "window_count"]
        return {key: value for key, value in super().state_dict().items() if key not in own}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Continue where ``state_dict`` was taken; torch's is as good."""
        check_state(self, state_dict, ("mode", "factor", "patience"))
        super().load_state_dict({k: v for k, v in state_dict.items() if k != "verbose"})

    def _initial_step(self) -> None:
        """Begin as a part of a :class:`SequentialLR`: nothing seen yet."""
        self.last_epoch = 0
        self._reset()
        self._last_lr = learning_rates(self.optimizer)
