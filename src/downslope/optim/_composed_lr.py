"""The scheduler classes made of others: one after another, and several at once."""

from __future__ import annotations

from abc import abstractmethod
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from itertools import accumulate, pairwise
from typing import Any, SupportsFloat

import torch.optim.lr_scheduler as torch_lr
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from ..errors import InputError, InputTypeError
from ..schedules._schedule import whole
from ._lr_base import (
    Driver,
    Updates,
    learning_rates,
    note_first_lrs,
    set_learning_rates,
    told,
)
from ._plateau_lr import ReduceLROnPlateau

__all__ = ["ChainedScheduler", "SequentialLR"]


class Composed(Driver):
    """A scheduler made of others: a call of :meth:`step` goes on with all that run now."""

    _schedulers: Any  # torch has a list in one class and a sequence in the other

    def step(self, metrics: SupportsFloat | None = None) -> None:
        """Go to the next epoch; ``metrics`` is for a part that is a :class:`ReduceLROnPlateau`."""
        if not Updates.of(self.optimizer).skipped(self):
            with told(self):
                self._advance(metrics)

    @abstractmethod
    def _advance(self, metrics: SupportsFloat | None) -> None:
        """Go to the next epoch."""

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Continue where ``state_dict`` was taken; torch's is as good. The lr as in StepLR's."""
        own = len(self._schedulers)
        saved = len(state_dict.get("_schedulers", self._schedulers))
        if saved != own:
            raise InputError(
                f"{type(self).__name__}: this state dict is of {saved} schedulers, this one has "
                f"{own}; build it as the saved one was built"
            )
        super().load_state_dict(state_dict)


class SequentialLR(Composed, torch_lr.SequentialLR):
    """One scheduler after another, changing at given epochs; each begins at its own epoch 0.

    Beyond torch: it can be nested; ``last_epoch=`` resumes at the very lr of an uninterrupted run,
    by stepping through the epochs; and a part may be a :class:`ReduceLROnPlateau`: pass its
    metric to :meth:`step`. A call of :meth:`step` is ignored where the optimizer's step was
    skipped.

    Args:
        optimizer: whose groups' ``lr`` is driven.
        schedulers: at least one, all of this optimizer.
        milestones: the epoch at which each but the first begins.
        last_epoch: the last epoch that was run, to resume without a state dict.
        verbose: print a line at each change, as torch once did.

    >>> import torch
    >>> optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.1)
    >>> from downslope.optim.lr_scheduler import CosineAnnealingLR, LinearLR
    >>> warmup = LinearLR(optimizer, start_factor=0.1, total_iters=5)
    >>> cosine = CosineAnnealingLR(optimizer, T_max=195)
    >>> scheduler = SequentialLR(optimizer, [warmup, cosine], milestones=[5])
    >>> for _ in range(5):
    ...     optimizer.step()
    ...     scheduler.step()
    >>> scheduler.get_last_lr()
    [0.1]
    """

    _keys = ("_schedulers", "_milestones")

    def __init__(
        self,
        optimizer: Optimizer,
        schedulers: Sequence[LRScheduler] | None = None,
        milestones: Sequence[int] | None = None,
        last_epoch: int = -1,
        verbose: bool = False,
    ) -> None:
        self.verbose = bool(verbose)
        self._schedulers, self._milestones = _checked_parts(optimizer, schedulers, milestones)
        self.optimizer = optimizer
        note_first_lrs(optimizer)
        self.recursive_undo()
        self._initial_step()
        if last_epoch >= 0:
            self._replay(last_epoch + 1)

    def _part(self, epoch: int) -> LRScheduler:
        part: LRScheduler = self._schedulers[bisect_right(self._milestones, epoch)]
        return part

    def _initial_step(self) -> None:
        """Begin: when built, and again as a part of another one."""
        self.last_epoch = 0
        self._begin(self._part(0))

    def _begin(self, part: LRScheduler) -> None:
        """Start a part at its epoch 0, from the initial learning rates."""
        set_learning_rates(self.optimizer, learning_rates(self.optimizer, "initial_lr"))
        _start(part)
        self._last_lr = learning_rates(self.optimizer)

    def _replay(self, epochs: int) -> None:
        if any(isinstance(part, torch_lr.ReduceLROnPlateau) for part in _all_parts(self)):
            raise InputError(
                "SequentialLR: last_epoch cannot resume a ReduceLROnPlateau, which depends on the "
                "metrics it saw; save state_dict() and use load_state_dict()"
            )
        vars(self.optimizer)["_opt_called"] = True  # a resumed run has stepped: no warning
        for _ in range(epochs):
            self._advance(None)

    def _advance(self, metrics: SupportsFloat | None) -> None:
        self.last_epoch += 1
        part = self._part(self.last_epoch)
        if self.last_epoch in self._milestones:
            self._begin(part)
        else:
            _step(part, metrics)
        self._last_lr = learning_rates(self.optimizer)

    def _resume(self) -> None:
        """Let the part that is running have the last word on the momentum."""
        _resume(self._part(self.last_epoch))


class ChainedScheduler(Composed, torch_lr.ChainedScheduler):
    """Several schedulers at once, each applied to what those before it made of the lr.

    Beyond torch: a part may be a :class:`ReduceLROnPlateau`: pass its metric to :meth:`step`; and
    a call of :meth:`step` is ignored where the optimizer's step was skipped.

    Args:
        schedulers: at least one, all of one optimizer.
        optimizer: theirs.
        verbose: print a line at each change.

    >>> import torch
    >>> optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.5)
    >>> from downslope.optim.lr_scheduler import ConstantLR, ExponentialLR
    >>> parts = [ConstantLR(optimizer, factor=0.5), ExponentialLR(optimizer, gamma=0.5)]
    >>> scheduler = ChainedScheduler(parts)
    >>> optimizer.step()
    >>> scheduler.step()
    >>> scheduler.get_last_lr()
    [0.125]
    """

    _keys = ("_schedulers",)

    def __init__(
        self,
        schedulers: Sequence[LRScheduler],
        optimizer: Optimizer | None = None,
        verbose: bool = False,
    ) -> None:
        if not isinstance(schedulers, Sequence) or not schedulers:
            raise InputError(
                f"ChainedScheduler expects at least one scheduler to be chained, got {schedulers!r}"
            )
        self.verbose = bool(verbose)
        found = optimizer or getattr(schedulers[0], "optimizer", None)
        _check_parts("ChainedScheduler", found, schedulers)
        self._schedulers = list(schedulers)
        self.optimizer = schedulers[0].optimizer
        self._last_lr = learning_rates(self.optimizer)
        Updates.of(self.optimizer)

    def _advance(self, metrics: SupportsFloat | None) -> None:
        note_first_lrs(self.optimizer)
        for part in self._schedulers:
            _step(part, metrics)
        self._last_lr = learning_rates(self.optimizer)

    def _initial_step(self) -> None:
        """Begin as a part of a :class:`SequentialLR`."""
        for part in self._schedulers:
            _start(part)
        self._last_lr = learning_rates(self.optimizer)

    def _resume(self) -> None:
        for part in self._schedulers:
            _resume(part)


def _step(part: LRScheduler, metrics: SupportsFloat | None) -> None:
    """Step a part, with the metric where it may watch one."""
    if isinstance(part, (ReduceLROnPlateau, Composed)):
        part.step(metrics)
    else:
        part.step()


def _start(part: LRScheduler) -> None:
    """Start a part, or the parts of a chain, at epoch 0."""
    if isinstance(part, torch_lr.ChainedScheduler) and not isinstance(part, ChainedScheduler):
        for single in part._schedulers:
            _start(single)
        return
    if not isinstance(part, ChainedScheduler):
        part.last_epoch = -1
    part._initial_step()


def _resume(part: LRScheduler) -> None:
    if isinstance(part, Driver):
        part._resume()


def _all_parts(scheduler: LRScheduler) -> Iterator[LRScheduler]:
    """The schedulers in a composed one, at any depth."""
    for part in getattr(scheduler, "_schedulers", ()):
        yield part
        yield from _all_parts(part)


def _check_parts(name: str, optimizer: Any, schedulers: Sequence[Any]) -> None:
    """Raise unless all are schedulers of this optimizer that can begin where they are told."""
    for index, part in enumerate(schedulers):
        if not hasattr(part, "optimizer"):
            raise InputTypeError(f"{name}: schedulers[{index}] must be a scheduler, got {part!r}")
        if part.optimizer is not optimizer:
            raise InputError(
                f"{name}: schedulers[{index}], a {type(part).__name__}, is of another optimizer; "
                "all must be of the one given"
            )
        if isinstance(part, torch_lr.ReduceLROnPlateau) and not isinstance(part, ReduceLROnPlateau):
            raise InputError(
                f"{name}: schedulers[{index}] is torch's ReduceLROnPlateau, which cannot begin in "
                "the middle; use downslope.optim.lr_scheduler.ReduceLROnPlateau"
            )


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
    _check_parts("SequentialLR", optimizer, schedulers)
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
