"""What the scheduler classes share: groups' learning rates, loading, skipped steps, reports."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import wraps
from typing import Any, ClassVar, TypeVar, cast
from weakref import WeakKeyDictionary, ref

import torch
from torch import Tensor
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from ..errors import InputError

__all__ = [
    "Driver",
    "Lr",
    "Updates",
    "check_not_scheduled",
    "check_state",
    "continue_from",
    "each_of",
    "learning_rates",
    "note_first_lrs",
    "set_learning_rates",
    "told",
]

Lr = float | Tensor
Value = TypeVar("Value")


class Driver(LRScheduler):
    """A scheduler of ours: it follows the optimizer's updates, and says what it changes.

    A call of :meth:`step` is ignored where the optimizer's step was skipped, by a ``GradScaler``
    that found an infinite gradient. ``verbose=True`` prints a line at each change. A class has
    torch's class of its name as its last base.
    """

    #: The state-dict keys that only this class has.
    _keys: ClassVar[tuple[str, ...]]
    verbose: bool

    @property
    def _bases(self) -> list[Lr]:
        """The base lr of each group; a group added later has the lr it came with."""
        late = self.optimizer.param_groups[len(self.base_lrs) :]
        if late:
            note_first_lrs(self.optimizer)
        return [*self.base_lrs, *(group["initial_lr"] for group in late)]

    def _initial_step(self) -> None:
        check_not_scheduled(self)
        Updates.of(self.optimizer)
        super()._initial_step()

    def step(self, epoch: int | None = None) -> None:
        """Go to the next epoch, unless the optimizer's step was skipped."""
        if self._is_initial or epoch is not None or not Updates.of(self.optimizer).skipped(self):
            super().step(epoch)

    def _update_lr(self, epoch: int | None = None) -> None:
        with told(self):
            super()._update_lr(epoch)

    def state_dict(self) -> dict[str, Any]:
        """The state under torch's keys: ``verbose`` is how it was built, not what it has seen."""
        return {key: value for key, value in super().state_dict().items() if key != "verbose"}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Continue where ``state_dict`` was taken; torch's is as good.

        If the optimizer's lr is still the one that building this scheduler set, it becomes the
        saved one: so the order of building, loading the optimizer and loading the scheduler does
        not matter.
        """
        continue_from(self, super().load_state_dict, state_dict, self._keys)
        self._resume()

    def _resume(self) -> None:
        """Set again what building set beside the lr: the momentum, where a class cycles it."""


class Updates:
    """How often an optimizer has updated its parameters, for the schedulers that follow it."""

    def __init__(self, optimizer: Optimizer) -> None:
        self._optimizer = ref(optimizer)
        self._calls = 0
        self._found_inf: Tensor | None = None  # of the last call, where a GradScaler made it
        self._seen: WeakKeyDictionary[LRScheduler, int] = WeakKeyDictionary()

    @classmethod
    def of(cls, optimizer: Optimizer) -> Updates:
        """The optimizer's own, which counts from now on."""
        found = vars(optimizer).get("_downslope_updates")
        if found is None:
            found = vars(optimizer)["_downslope_updates"] = cls(optimizer)
            _watch_steps(optimizer, found)
        return found

    def count(self, optimizer: Optimizer) -> None:
        """Count a call of the optimizer's step."""
        self._calls += 1
        self._found_inf = getattr(optimizer, "found_inf", None)

    def skipped(self, scheduler: LRScheduler) -> bool:
        """Whether the optimizer's step since this scheduler's last one was skipped.

        That is known where the optimizer was told (``found_inf``), and where it was not called
        and gradients are not finite. A second call for one step is no skipped step.
        """
        before, self._seen[scheduler] = self._seen.get(scheduler, 0), self._calls
        if self._calls > before:
            return self._found_inf is not None and float(self._found_inf) != 0
        optimizer = self._optimizer()
        return optimizer is not None and not _gradients_finite(optimizer)


def _watch_steps(optimizer: Optimizer, updates: Updates) -> None:
    """Count the calls of an optimizer's ``step``, as torch's schedulers watch that it is called."""
    held, step = ref(optimizer), optimizer.step
    act: Callable[..., Any] = getattr(step, "__func__", None) or _unbound(step)

    @wraps(step)
    def call(*args: Any, **kwargs: Any) -> Any:
        opt: Any = held()
        result = act(opt, *args, **kwargs)
        opt._opt_called = True
        updates.count(opt)
        return result

    vars(call)["_wrapped_by_lr_sched"] = True  # torch's mark: watched already
    vars(optimizer)["step"] = call


def _unbound(step: Callable[..., Any]) -> Callable[..., Any]:
    """A function that was put into an optimizer, as one that takes the optimizer first."""
    return lambda optimizer, *args, **kwargs: step(*args, **kwargs)


def _gradients_finite(optimizer: Optimizer) -> bool:
    grads = [p.grad for group in optimizer.param_groups for p in group["params"]]
    return all(bool(torch.isfinite(_values(g)).all()) for g in grads if g is not None)


def _values(grad: Tensor) -> Tensor:
    return grad.coalesce().values() if grad.is_sparse else grad


class told:  # noqa: N801  # read as a word: `with told(scheduler)`
    """Print what the body changes in the groups' learning rates, where it was asked for."""

    def __init__(self, scheduler: LRScheduler) -> None:
        self._scheduler = scheduler
        self._wanted = bool(vars(scheduler).get("verbose")) and not scheduler._is_initial

    def __enter__(self) -> None:
        self._before = learning_rates(self._scheduler.optimizer) if self._wanted else []

    def __exit__(self, *_: object) -> None:
        after = learning_rates(self._scheduler.optimizer)
        pairs = [(float(old), float(new)) for old, new in zip(self._before, after, strict=False)]
        for index, (old, new) in enumerate(pairs):
            if old != new:
                print(f"Epoch {_epoch(self._scheduler)}: group {index}: lr {old:g} -> {new:g}")


def _epoch(scheduler: LRScheduler) -> int:
    """The epoch that a scheduler is at; the parts' where several step together."""
    own = vars(scheduler)
    return own["last_epoch"] if "last_epoch" in own else _epoch(own["_schedulers"][0])


def _copy(lr: Lr) -> Lr:
    return lr.clone() if isinstance(lr, Tensor) else lr


def note_first_lrs(optimizer: Optimizer) -> None:
    """Let every group remember the lr that it came with, before a scheduler changes it."""
    for group in optimizer.param_groups:
        if "initial_lr" not in group:
            group["initial_lr"] = _copy(group["lr"])


def learning_rates(optimizer: Optimizer, key: str = "lr") -> list[Lr]:
    """Copies of the groups' ``lr``, or of their ``initial_lr`` where they have one."""
    return [_copy(group.get(key, group["lr"])) for group in optimizer.param_groups]


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


def check_not_scheduled(scheduler: LRScheduler) -> None:
    """Raise if the optimizer would set the lr back at each step: a schedule drives it."""
    for index, schedules in enumerate(getattr(scheduler.optimizer, "_schedules", ())):
        schedule = schedules.get(("lr", None))
        if schedule is not None:
            raise InputError(
                f"{type(scheduler).__name__}: the lr of group {index} is the schedule "
                f"{schedule!r}, which sets it at each step. Give the optimizer a number as lr, "
                "or leave the scheduler out"
            )


def check_state(scheduler: Any, state: dict[str, Any], keys: Sequence[str]) -> None:
    """Raise unless a state has the keys that tell its class from the others."""
    missing = [key for key in keys if key not in state]
    if missing:
        raise InputError(
            f"{type(scheduler).__name__}: this state dict is of another class: it has no "
            f"{missing[0]!r}, only {sorted(state)}. Load it into the class that wrote it"
        )


def each_of(given: Value | Sequence[Value]) -> Sequence[Value]:
    """What is given for all groups, or one a group, as a list."""
    return given if isinstance(given, (list, tuple)) else [cast(Value, given)]
