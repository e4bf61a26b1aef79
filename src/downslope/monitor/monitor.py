"""Measuring in anyone's own training loop: one call a step, records out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from time import perf_counter
from types import TracebackType
from typing import Any, Self

import numpy as np
from torch import Tensor, nn
from torch.optim import Optimizer

from ..errors import InputError, InputTypeError
from .hooks import Noting
from .locate import origin
from .look import Look
from .records import DELAY, RecordWriter
from .rows import data_event
from .setup import setup_event
from .tensors import finite

__all__ = ["BUDGET", "Monitor", "next_sampled"]

Event = dict[str, Any]

_NUMBERS = 3  # that are noted of a step
BUDGET = 0.01  #: share of the time that looks may take


def next_sampled(step: int, every: int | None) -> int:
    """The first step after ``step`` that is looked at closely.

    With ``every=None`` often at first and then less: every 8th step up to 128, then 8 to 16 times
    while the number of steps doubles.

    >>> steps = [next_sampled(0, None)]
    >>> while steps[-1] < 160:
    ...     steps.append(next_sampled(steps[-1], None))
    >>> steps
    [1, 2, 4, 8, 16, 24, 32, 40, 48, 56, 64, 72, 80, 88, 96, 104, 112, 120, 128, 144, 160]
    """
    if every is not None:
        return (step // every + 1) * every if step else 1
    if step < 8:
        return 1 << step.bit_length()
    period = max(8, 1 << (step.bit_length() - 4))
    return (step // period + 1) * period


class _Unread:
    """A loss on an accelerator, not waited for: a number for what steps ask of it."""

    __slots__ = ("_loss",)

    def __init__(self, loss: Tensor) -> None:
        self._loss = loss.detach()

    def __float__(self) -> float:
        return float(self._loss)

    def __sub__(self, other: object) -> float:
        return 0.0


def _read(loss: Any) -> Any:
    """A loss of any kind."""
    return _Unread(loss) if isinstance(loss, Tensor) and not loss.is_cpu else float(loss)


def _in_any_case(step: int) -> bool:
    """Whether a step is a power of two, which is looked at whatever that costs, and closely."""
    return step & (step - 1) == 0


class Monitor:
    """Watches a model being trained and writes records that ``downslope diagnose`` reads.

    Call :meth:`step` once after each optimizer step. The loss, the learning rate and the time of
    every step are kept. On sampled steps (see :func:`next_sampled`) it also measures, for every
    parameter: the norm of its gradient (before the clipping that the optimizer does itself, after
    yours), of its value and of its update, the share of zeros in its gradient; for every activation
    function: dead and saturated units; of the batch: size, scale, spread of inputs and outputs;
    whether gradients were left from an earlier step; how long the loop waited for data. A loss that
    is not finite is traced to the module, weight or row where it began. Records of steps, and of
    looks at one step after another, reach the file within half a second.

    Args:
        model: what is trained; must be in training mode when it is.
        optimizer: what steps it.
        run_dir: where ``records.jsonl`` goes; None: nowhere but ``on_event``.
        every: look closely at every so many steps; None: often at first, ever less later, as far
            as the budget goes.
        budget: share of the time that looks may take where ``every`` is None. Steps that are powers
            of two are looked at in any case.
        total_steps: how long training is planned to be, if known.
        constant_loss: the loss of the best constant outputs, if known: see :func:`constant_loss`.
        done: steps that were done before, where training goes on.
        losses: record every step's loss, rate and time; False where somebody else does.
        on_event: called with each event, as in :mod:`downslope.monitor.records`.

    Raises:
        InputTypeError: ``model`` or ``optimizer`` is something else.
        InputError: ``every`` or ``total_steps`` is below 1.

    >>> import torch
    >>> model = torch.nn.Sequential(torch.nn.Linear(2, 8), torch.nn.ReLU(), torch.nn.Linear(8, 1))
    >>> optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    >>> events = []
    >>> with Monitor(model, optimizer, on_event=[events.append]) as monitor:
    ...     for _ in range(10):
    ...         loss = model(torch.randn(16, 2)).square().mean()
    ...         optimizer.zero_grad()
    ...         loss.backward()
    ...         optimizer.step()
    ...         monitor.step(loss)
    >>> [event["event"] for event in events[:3]], sorted(events[1])[:3]
    (['setup', 'monitor', 'steps'], ['activations', 'data_seconds', 'data_share'])
    """

    def __init__(
        self,
        model: nn.Module,
        optimizer: Optimizer,
        run_dir: str | Path | None = None,
        *,
        every: int | None = None,
        budget: float = BUDGET,
        total_steps: int | None = None,
        constant_loss: float | None = None,
        done: int = 0,
        losses: bool = True,
        on_event: Sequence[Callable[[Event], None]] = (),
    ) -> None:
        if not isinstance(model, nn.Module) or not isinstance(optimizer, Optimizer):
            raise InputTypeError(
                f"Monitor: expected a torch module and an optimizer, got {type(model).__name__} "
                f"and {type(optimizer).__name__}: Monitor(model, optimizer, run_dir)."
            )
        for name, value in (("every", every), ("total_steps", total_steps)):
            if value is not None and value < 1:
                raise InputError(f"Monitor: {name} = {value}, but it counts steps: 1 or more.")
        begin = perf_counter()
        # What every step asks for comes first: attributes lie in this order, and these in a line.
        self._on_cpu = all(p.is_cpu for p in model.parameters())
        self._optimizer = optimizer
        #: Loss, learning rate and time of each step since `_done`, one after another.
        self._noted: list[Any] = []
        self._due = _NUMBERS  # how many there are when there is something to do
        self._late = begin + DELAY  # when what is not written yet has waited long enough
        self._done, self._last, self._begin = done, begin, begin
        self._model, self._every = model, every
        self._sinks = list(on_event)
        self._writer: RecordWriter | None = None
        self._writing: list[Callable[[Event], None]] = []  # the sinks that are files
        if run_dir is not None:
            Path(run_dir).mkdir(parents=True, exist_ok=True)
            self._writer = RecordWriter(Path(run_dir) / "records.jsonl")
            self._writing = [self._writer.write]
            self._sinks[:0] = self._writing
        self._budget, self._spent, self._usual = budget, 0.0, 0.0
        self._looked, self._looked_at = done, begin
        self._losses = losses
        self._same_until = 0  # looks up to this step are at one after another, and like each other
        self._nonfinite = False
        self._noting = Noting(model)
        self._look = Look(model, optimizer, self._noting, self.trace)
        self._emit({**setup_event(model, optimizer, total_steps), "constant_loss": constant_loss})
        self._plan(self._begin)

    @property
    def steps(self) -> int:
        """How many steps were watched."""
        return self._done + len(self._noted) // _NUMBERS

    def step(self, loss: Tensor | float) -> None:
        """Note a step that was just done.

        Args:
            loss: its loss, one number. A tensor on an accelerator is read later, without waiting.
        """
        # The whole cost of most steps: every name that is looked up here counts.
        now = perf_counter()
        value: Any = loss.item() if self._on_cpu and type(loss) is Tensor else _read(loss)
        noted = self._noted
        noted += (value, self._optimizer.param_groups[0]["lr"], now)
        if len(noted) >= self._due or now >= self._late or value - value != 0:
            self._attend(now)

    def _attend(self, now: float) -> None:
        """Do what few steps ask for: finish a look, write rows, begin another look."""
        step, noted, looked = self.steps, self._noted, self._look.armed
        before = max([self._last, *noted[-_NUMBERS - 1 : -_NUMBERS]])
        loss = noted[-_NUMBERS]
        finite = not looked or self._look.end(step, before, now)
        again = step < self._same_until
        if again:
            self._due += _NUMBERS
        else:
            self._plan(now)
        # Looks at one step after another wait for each other, as long as records may.
        follows = (again or self._look.armed) and self._sinks == self._writing
        if (looked and not follows) or now >= self._late:
            self._flush()
        self._last = perf_counter()
        if looked and self._every is None:  # what it took beyond a usual step
            usual_steps = step - 1 - self._looked
            if usual_steps:
                self._usual = (before - self._looked_at) / usual_steps
            self._spent += max(0.0, self._last - before - self._usual)
            self._looked, self._looked_at = step, self._last
        if loss - loss != 0 or not finite:
            self._trace(step)

    def _plan(self, now: float) -> None:
        """Begin a look, or say at which step to think about the next one."""
        step, every = self.steps, self._every
        sampled = next_sampled(step, every)
        if sampled == step + 1:
            thorough = _in_any_case(sampled)
            if every is not None or thorough or self._spent <= self._budget * (now - self._begin):
                self._look.arm(thorough=thorough)
                self._due = _NUMBERS * (sampled - self._done)
                if every == 1 and not thorough:
                    self._same_until = (1 << sampled.bit_length()) - 1
                return
            sampled = next_sampled(sampled, self._every)
        self._look.disarm()
        self._due = _NUMBERS * (sampled - 1 - self._done)

    def skip(self) -> None:
        """Forget what was seen of a step that was not taken (float16 overflowed)."""
        if self._look.armed:
            self._look.arm(thorough=_in_any_case(self.steps + 1))

    def trace(self) -> None:
        """Say where a number that is not finite comes from, before a step was made of it."""
        self._trace(self.steps + 1)

    def validation(self, loss: float, metric: float | None = None, *, name: str = "metric") -> None:
        """Note a validation: its mean loss, and a metric where there is one."""
        self._flush()
        self._emit(
            {
                "event": "validation",
                "step": self.steps,
                "loss": float(loss),
                "metric": None if metric is None else float(metric),
                "name": name,
                "seconds": perf_counter() - self._begin,
            }
        )

    def data(self, train: Tensor, validation: Tensor) -> None:
        """Note which rows repeat, and which are both trained on and judged by.

        Args:
            train: the inputs to train on: [rows, ...].
            validation: the inputs to judge by.
        """
        event = data_event(train, validation)
        if event is not None:
            self._emit(event)

    def close(self) -> None:
        """Write what is left and let go of the model."""
        self._look.disarm()
        self._noting.remove()
        self._flush()
        if self._writer is not None:
            self._writer.close()
            self._sinks.remove(self._writer.write)
            self._writer, self._writing = None, []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def _emit(self, event: Event) -> None:
        self._write_looks()
        event = finite(event)
        for sink in self._sinks:
            sink(event)

    def _flush(self) -> None:
        """Write the looks and the steps so far, these as one record of columns."""
        self._late = perf_counter() + DELAY
        self._write_looks()
        if not self._noted:
            return
        first, last, count = self._done + 1, self.steps, len(self._noted)
        numbers = np.fromiter(self._noted, np.float64, count)
        losses, lrs, times = numbers.reshape(-1, _NUMBERS).T.copy()
        self._noted.clear()
        self._due -= count
        self._done = last
        if self._losses:
            steps = np.arange(first, last + 1)
            noted = {"step": steps, "loss": losses, "lr": lrs, "seconds": times - self._begin}
            if self._writer is not None:
                self._writer.write_numbers([{"event": "steps", **noted}])
            for sink in self._sinks[len(self._writing) :]:
                sink(finite({"event": "steps"} | {k: v.tolist() for k, v in noted.items()}))
        if not np.isfinite(losses).all():
            self._trace(last)

    def _write_looks(self) -> None:
        looks = self._look.take()
        if self._writer is not None and looks:
            self._writer.write_numbers([found.record(rows) for found, rows in looks])
        for sink in self._sinks[len(self._writing) :]:
            for found, rows in looks:
                for numbers in rows:
                    sink(found.event(numbers))

    def _trace(self, step: int) -> None:
        """Say once where the first number that is not finite came from."""
        batches = self._noting.batches  # running them again notes them again
        if self._nonfinite or not batches:
            return
        self._nonfinite = True
        look = self._look
        step, found = origin(self._model, batches, look.kept, step, stepped=look.stepped)
        self._emit({"event": "nonfinite", "step": step, "kind": found.kind, "where": found.name})
