"""torch's scheduler classes: same arguments, same state-dict keys, same sequences.

Each class is a subclass of torch's own of the same name, so every ``isinstance`` check of the
ecosystem passes and a state dict goes both ways. What is ours: the formulas, which are those of
:mod:`downslope.schedules`; arguments that torch accepts and cannot serve are errors; a state dict
of another class is an error; and :class:`SequentialLR` can be nested, resumed, and hold a
:class:`ReduceLROnPlateau`. The names without a class here are torch's own.

As in torch, a class multiplies the learning rate it *finds* by the ratio of two factors, so
several can drive one optimizer together. Prefer a :class:`~downslope.schedules.Schedule` as ``lr=``
where you can: it needs no ``scheduler.step()`` and cannot get out of step with the optimizer.
"""

from __future__ import annotations

import math
import warnings
from bisect import bisect_right
from collections.abc import Sequence
from itertools import accumulate, pairwise
from typing import Any, Literal, SupportsFloat

import torch.optim.lr_scheduler as torch_lr
from torch.optim import Optimizer
from torch.optim.lr_scheduler import (
    ChainedScheduler,
    ConstantLR,
    CosineAnnealingWarmRestarts,
    CyclicLR,
    ExponentialLR,
    LambdaLR,
    LRScheduler,
    MultiplicativeLR,
    MultiStepLR,
    OneCycleLR,
    PolynomialLR,
)

from ..errors import InputError, InputTypeError, unknown
from ..schedules._schedule import finite, whole
from ._factor_lr import (
    CosineAnnealingLR,
    LinearLR,
    StepLR,
    check_state,
    continue_from,
    in_range,
    learning_rates,
    set_learning_rates,
)

__all__ = [
    "ChainedScheduler",
    "ConstantLR",
    "CosineAnnealingLR",
    "CosineAnnealingWarmRestarts",
    "CyclicLR",
    "ExponentialLR",
    "LRScheduler",
    "LambdaLR",
    "LinearLR",
    "MultiStepLR",
    "MultiplicativeLR",
    "OneCycleLR",
    "PolynomialLR",
    "ReduceLROnPlateau",
    "SequentialLR",
    "StepLR",
]


class ReduceLROnPlateau(torch_lr.ReduceLROnPlateau):
    """Multiply the lr by ``factor`` when a metric has not improved for ``patience`` epochs.

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
        for low in min_lr if isinstance(min_lr, (list, tuple)) else [min_lr]:
            in_range(f"{name}: min_lr", low, 0)
        super().__init__(
            optimizer, mode, factor, patience, threshold, threshold_mode, cooldown, min_lr, eps
        )
        self.verbose = bool(verbose)

    def step(self, metrics: SupportsFloat | None, epoch: int | None = None) -> None:  # type: ignore[override]  # torch's
        """Count an epoch with this metric; NaN counts as no improvement, with a warning."""
        if metrics is None:
            raise InputTypeError(
                "ReduceLROnPlateau.step needs the metric it watches, for example step(val_loss); "
                "got None"
            )
        if math.isnan(float(metrics)):
            warnings.warn(
                "ReduceLROnPlateau: the metric is nan, which counts as no improvement", stacklevel=2
            )
        super().step(metrics, epoch)

    def _reduce_lr(self, epoch: int) -> None:
        before = [float(group["lr"]) for group in self.optimizer.param_groups]
        super()._reduce_lr(epoch)
        for index, (old, group) in enumerate(zip(before, self.optimizer.param_groups, strict=True)):
            if self.verbose and group["lr"] != old:
                print(f"Epoch {epoch}: group {index}: lr {old:g} -> {float(group['lr']):g}")

    def state_dict(self) -> dict[str, Any]:
        """The state under torch's keys: ``verbose`` is how it was built, not what it has seen."""
        return {key: value for key, value in super().state_dict().items() if key != "verbose"}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Continue where ``state_dict`` was taken; torch's is as good."""
        check_state(self, state_dict, ("mode", "factor", "patience"))
        super().load_state_dict({k: v for k, v in state_dict.items() if k != "verbose"})

    def _initial_step(self) -> None:
        """Begin as a part of a :class:`SequentialLR`: nothing seen yet."""
        self.last_epoch = 0
        self._reset()
        self._last_lr = learning_rates(self.optimizer)


class SequentialLR(torch_lr.SequentialLR):
    """One scheduler after another, changing at given epochs; each begins at its own epoch 0.

    Beyond torch: it can be nested; ``last_epoch=`` resumes at the very lr of an uninterrupted run,
    by stepping through the epochs; and a part may be a :class:`ReduceLROnPlateau`: pass its
    metric to :meth:`step`.

    Args:
        optimizer: whose groups' ``lr`` is driven.
        schedulers: at least one, all of this optimizer.
        milestones: the epoch at which each but the first begins.
        last_epoch: the last epoch that was run, to resume without a state dict.

    >>> import torch
    >>> optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.1)
    >>> warmup = LinearLR(optimizer, start_factor=0.1, total_iters=5)
    >>> cosine = CosineAnnealingLR(optimizer, T_max=195)
    >>> scheduler = SequentialLR(optimizer, [warmup, cosine], milestones=[5])
    >>> for _ in range(5):
    ...     optimizer.step()
    ...     scheduler.step()
    >>> scheduler.get_last_lr()
    [0.1]
    """

    def __init__(
        self,
        optimizer: Optimizer,
        schedulers: Sequence[LRScheduler] | None = None,
        milestones: Sequence[int] | None = None,
        last_epoch: int = -1,
    ) -> None:
        self._schedulers, self._milestones = _checked_parts(optimizer, schedulers, milestones)
        self.optimizer = optimizer
        for group, lr in zip(optimizer.param_groups, learning_rates(optimizer), strict=True):
            group.setdefault("initial_lr", lr)
        self.recursive_undo()
        self._initial_step()
        if last_epoch >= 0:
            self._replay(last_epoch + 1)

    def _part(self, epoch: int) -> LRScheduler:
        return self._schedulers[bisect_right(self._milestones, epoch)]

    def _initial_step(self) -> None:
        """Begin: when built, and again as a part of another one."""
        self.last_epoch = 0
        self._begin(self._part(0))

    def _begin(self, part: LRScheduler) -> None:
        """Start a part at its epoch 0, from the initial learning rates."""
        set_learning_rates(self.optimizer, learning_rates(self.optimizer, "initial_lr"))
        for single in part._schedulers if isinstance(part, ChainedScheduler) else [part]:
            single.last_epoch = -1
            single._initial_step()
        self._last_lr = learning_rates(self.optimizer)

    def _replay(self, epochs: int) -> None:
        if any(isinstance(part, torch_lr.ReduceLROnPlateau) for part in self._schedulers):
            raise InputError(
                "SequentialLR: last_epoch cannot resume a ReduceLROnPlateau, which depends on the "
                "metrics it saw; save state_dict() and use load_state_dict()"
            )
        vars(self.optimizer)["_opt_called"] = True  # a resumed run has stepped: no warning
        for _ in range(epochs):
            self.step()

    def step(self, metrics: SupportsFloat | None = None) -> None:
        """Go to the next epoch; ``metrics`` is for a part that is a :class:`ReduceLROnPlateau`."""
        self.last_epoch += 1
        part = self._part(self.last_epoch)
        if self.last_epoch in self._milestones:
            self._begin(part)
        elif isinstance(part, (ReduceLROnPlateau, SequentialLR)):
            part.step(metrics)
        else:
            part.step()
        self._last_lr = learning_rates(self.optimizer)

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Continue where ``state_dict`` was taken; torch's is as good. The lr as in StepLR's."""
        keys = ("_schedulers", "_milestones")
        check_state(self, state_dict, keys)
        if len(state_dict["_schedulers"]) != len(self._schedulers):
            raise InputError(
                f"SequentialLR: this state dict is of {len(state_dict['_schedulers'])} schedulers, "
                f"this one has {len(self._schedulers)}; build it as the saved one was built"
            )
        continue_from(self, super().load_state_dict, state_dict, keys)


def _checked_parts(
    optimizer: Any, schedulers: Sequence[LRScheduler] | None, milestones: Sequence[int] | None
) -> tuple[list[LRScheduler], list[int]]:
    """The parts and where they begin, or an error that says what to write."""
    if not isinstance(optimizer, Optimizer) or schedulers is None or milestones is None:
        given = schedulers if isinstance(optimizer, Optimizer) else optimizer
        raise InputTypeError(
            f"SequentialLR needs the optimizer, the schedulers and the milestones, got "
            f"{type(optimizer).__name__}, {type(schedulers).__name__} and "
            f"{type(milestones).__name__}. Write SequentialLR(optimizer, schedulers=[...], "
            f"milestones={_guessed_milestones(given)}), the epochs at which all but the first begin"
        )
    for index, part in enumerate(schedulers):
        if not hasattr(part, "optimizer"):
            raise InputTypeError(
                f"SequentialLR: schedulers[{index}] must be a scheduler, got {part!r}"
            )
        if part.optimizer is not optimizer:
            raise InputError(
                f"SequentialLR: schedulers[{index}], a {type(part).__name__}, is of another "
                "optimizer; all must be of the one given"
            )
        if isinstance(part, torch_lr.ReduceLROnPlateau) and not isinstance(part, ReduceLROnPlateau):
            raise InputError(
                f"SequentialLR: schedulers[{index}] is torch's ReduceLROnPlateau, which cannot "
                "begin in the middle; use downslope.optim.lr_scheduler.ReduceLROnPlateau"
            )
    bounds = [whole("SequentialLR: a milestone", bound, least=0) for bound in milestones]
    if not schedulers or len(bounds) != len(schedulers) - 1:
        raise InputError(
            f"SequentialLR: expected at least one scheduler and one milestone fewer than "
            f"schedulers, got {len(schedulers)} schedulers and {len(bounds)} milestones"
        )
    if any(after < before for before, after in pairwise(bounds)):
        raise InputError(f"SequentialLR: milestones must not decrease, got {bounds}")
    return list(schedulers), bounds


def _guessed_milestones(schedulers: Any) -> str:
    """The milestones that were meant, where each part but the last says how long it is."""
    try:
        return str(list(accumulate(part.total_iters for part in list(schedulers)[:-1])) or "[...]")
    except (AttributeError, TypeError):
        return "[...]"
