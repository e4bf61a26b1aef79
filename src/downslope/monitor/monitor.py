"""Measuring in anyone's own training loop: one call a step, records out."""

from __future__ import annotations

import math
import weakref
from collections.abc import Callable, Sequence
from pathlib import Path
from time import perf_counter
from types import TracebackType
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike
from torch import Tensor, nn
from torch.optim import Optimizer

from ..errors import InputError, InputTypeError
from .given import as_rows, closed, later, number, unwrapped
from .hooks import Noting
from .locate import origin
from .look import Look
from .plan import BUDGET, Plan
from .records import DELAY, RecordWriter
from .rows import data_event
from .setup import setup_event
from .tensors import finite

__all__ = ["Monitor"]

Event = dict[str, Any]

_NUMBERS = 3  # that are noted of a step


def _regrouping(monitor: Monitor) -> Callable[[Optimizer], None]:
    """A hook for optimizers, which make new groups when they load a state."""
    watching = weakref.ref(monitor)  # an optimizer does not keep it alive

    def regroup(_: Optimizer) -> None:
        if (monitor := watching()) is not None:
            monitor._regroup()

    return regroup


class Monitor:
    """Watches a model being trained and writes records that ``downslope diagnose`` reads.

    Call :meth:`step` once after each optimizer step. The loss, the learning rate and the time of
    every step are kept. On sampled steps (see ``monitor/plan.py``) it also measures, for every
    parameter: the norm of its gradient (before the clipping that the optimizer does itself, after
    yours), of its value and of its update, the share of zeros in its gradient; for every activation
    function: dead and saturated units; of the batch: size, scale, spread of inputs and outputs;
    whether gradients were left from an earlier step; how long the loop waited for data. A loss that
    is not finite is traced to the module, weight or row where it began. Records of steps, and of
    looks at one step after another, reach the file within half a second.

    Args:
        model: what is trained; must be in training mode when it is.
        optimizer: what steps it.
        run_dir: where ``records.jsonl`` goes; None: nowhere but ``on_event``. What an earlier run
            wrote there stays in the file; of it only the first ``done`` steps are read again.
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
        InputTypeError: ``model`` or ``optimizer`` is something else, or a number is none.
        InputError: ``every`` or ``total_steps`` is below 1, or ``constant_loss`` is not finite.

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
        if constant_loss is not None:
            constant_loss = number("__init__: constant_loss", constant_loss)
            if not math.isfinite(constant_loss):
                raise InputError(
                    f"Monitor: constant_loss = {constant_loss}, but it must be finite: None where "
                    "there is none, as downslope.monitor.constant_loss gives."
                )
        begin = perf_counter()
        optimizer = unwrapped(optimizer)
        # What every step asks for comes first: attributes lie in this order, and these in a line.
        on_cpu = all(p.is_cpu for p in model.parameters())
        self._read: Callable[[Any], Any] = Tensor.item if on_cpu else later
        self._group = optimizer.param_groups[0]  # whose learning rate is noted
        #: Loss, learning rate and time of each step since `_done`, one after another.
        self._noted: list[Any] = []
        self._due = _NUMBERS  # how many there are when there is something to do
        self._late = begin + DELAY  # when what is not written yet has waited long enough
        self._done, self._last, self._begin = done, begin, begin
        self._model, self._optimizer = model, optimizer
        self._loading = optimizer.register_load_state_dict_post_hook(_regrouping(self))
        self._sinks = list(on_event)
        self._writer: RecordWriter | None = None
        self._writing: list[Callable[[Event], None]] = []  # the sinks that are files
        if run_dir is not None:
            Path(run_dir).mkdir(parents=True, exist_ok=True)
            self._writer = RecordWriter(Path(run_dir) / "records.jsonl")
            self._writing = [self._writer.write]
            self._sinks[:0] = self._writing
        self._plan = Plan(every, budget, done)
        self._usual = 0.0  # seconds that most steps took, of those written last
        self._losses = losses
        self._same_until = 0  # looks up to this step are at one after another, and like each other
        self._nonfinite = False
        self._noting = Noting(model)
        self._look = Look(model, optimizer, self._noting, self.trace)
        setup = setup_event(model, optimizer, total_steps)
        self._emit({**setup, "constant_loss": constant_loss, "done": done})
        self._prepare()

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
        try:
            value = self._read(loss)
        except (TypeError, RuntimeError):  # not a tensor, or one of several numbers
            value = number("step: the loss", loss)
        noted = self._noted
        noted += (value, self._group["lr"], now)
        # The difference is 0, or not a number, which is as good as True.
        if len(noted) >= self._due or now >= self._late or value - value:
            self._attend(now)

    def _regroup(self) -> None:
        """See which group is the optimizer's first now."""
        self._group = self._optimizer.param_groups[0]

    def _attend(self, now: float) -> None:
        """Do what few steps ask for: finish a look, write rows, begin another look."""
        step, noted, looked = self.steps, self._noted, self._look.armed
        thorough = self._look.thorough
        before = max([self._last, *noted[-_NUMBERS - 1 : -_NUMBERS]])
        loss = noted[-_NUMBERS]
        finite = not looked or self._look.end(step, before, now)
        again = step < self._same_until
        if again:
            self._due += _NUMBERS
        else:
            self._regroup()
            self._prepare()
        # Looks at one step after another wait for each other, as long as records may.
        follows = (again or self._look.armed) and self._sinks == self._writing
        if (looked and not follows) or now >= self._late:
            self._flush()
        self._last = perf_counter()
        if looked and self._plan.every is None:
            seconds = self._last - before
            self._plan.looked(step, seconds=seconds, usual=self._usual, thorough=thorough)
        if loss - loss != 0 or not finite:
            self._trace(step)

    def _prepare(self) -> None:
        """Begin a look, or say after which step to think about the next one."""
        plan, step = self._plan, self.steps + 1
        thorough = plan.thorough(step)
        if thorough is None:
            self._look.disarm()
            step = plan.next_look(step) - 1
        else:
            self._look.arm(thorough=thorough)
            if plan.every == 1 and not thorough:
                self._same_until = (1 << step.bit_length()) - 1
        self._due = _NUMBERS * (step - self._done)

    def skip(self) -> None:
        """Forget what was seen of a step that was not taken (float16 overflowed)."""
        if self._look.armed:
            self._look.arm(thorough=self._look.thorough)

    def trace(self) -> None:
        """Say where a number that is not finite comes from, before a step was made of it."""
        self._trace(self.steps + 1)

    def validation(self, loss: float, metric: float | None = None, *, name: str = "metric") -> None:
        """Note a validation: its mean loss, and a metric where there is one."""
        self._check_open()
        loss = number("validation: the loss", loss)
        metric = None if metric is None else number("validation: the metric", metric)
        self._flush()
        self._emit(
            {
                "event": "validation",
                "step": self.steps,
                "loss": loss,
                "metric": metric,
                "name": name,
                "seconds": perf_counter() - self._begin,
            }
        )

    def data(self, train: Tensor | ArrayLike, validation: Tensor | ArrayLike) -> None:
        """Note which rows repeat, and which are both trained on and judged by.

        Args:
            train: the inputs to train on, a tensor or an array: [rows, ...].
            validation: the inputs to judge by.

        Raises:
            InputTypeError: one is something else.
        """
        self._check_open()
        event = data_event(as_rows(train), as_rows(validation))
        if event is not None:
            self._emit(event)

    def close(self) -> None:
        """Write what is left and let go of the model."""
        self._look.disarm()
        self._noting.remove()
        self._loading.remove()
        self._flush()
        self._read = closed
        if self._writer is not None:
            self._writer.close()
            self._sinks.remove(self._writer.write)
            self._writer, self._writing = None, []

    def _check_open(self) -> None:
        if self._read is closed:
            closed()

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
        if count > _NUMBERS:
            self._usual = float(np.median(np.diff(times)))
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
