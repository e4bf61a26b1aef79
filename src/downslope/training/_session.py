"""One session of a run: the loop, and beside it the records, checkpoints, monitor and healer."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from torch.utils.data import TensorDataset

from ..files import write_atomically
from ..monitor import RecordWriter, data_event
from ..tasks import Task, size
from .heal import Healer
from .interrupt import Interrupt
from .keeper import Keeper
from .loop import Event, Reason, train
from .outcome import TrainingDivergedError
from .recipe import Recipe
from .run import Run, RunFiles
from .state import State
from .watch import Watch

__all__ = ["Resumed", "Sink", "session"]

Sink = Callable[[Event], None]


@dataclass(frozen=True)
class Resumed:
    """From where a run goes on.

    Args:
        source: the checkpoint.
        records_size: how long the records were then; None keeps all of them.
        changes: of the recipe since then: what was, and what is.
        told: an event that says why, recorded first.
    """

    source: Path
    records_size: int | None
    changes: dict[str, tuple[Any, Any]]
    told: Event | None = None


def session(
    state: State,
    task: Task,
    recipe: Recipe,
    files: RunFiles,
    on_event: Sequence[Sink],
    resumed: Resumed | None = None,
    healer: Healer | None = None,
) -> Run:
    """Train; the first process writes every event to the records, and tells the sinks.

    Where the healer has found something, the run has not ended: it is to go on by another recipe.

    Raises:
        TrainingDivergedError: the loss is not finite, and nothing was found that a recipe mends.
    """
    processes = state.processes
    with contextlib.ExitStack() as stack:
        interrupt = stack.enter_context(Interrupt())
        sinks: Sequence[Sink] = on_event if healer is None else [*on_event, healer]
        book = _Book(files, sinks, recipe, state, resumed) if processes.first else None
        if book is not None:
            stack.enter_context(book)

        def emit(event: Event) -> None:
            if book is not None:
                book.emit(event)
            if watch is not None:
                watch.follow(event)

        def stop() -> bool:
            return interrupt.requested or (healer is not None and healer.finding is not None)

        watch: Watch | None = None

        def save(which: Literal["last", "best"]) -> None:
            state.watch.saved_at = state.watch.seconds
            size = 0 if book is None else book.records.flushed_size()
            kept = state.state_dict(records_size=size, folder=files.checkpoints)
            if book is not None:
                book.keeper.save(which, kept, state.progress.step)

        if resumed is not None and resumed.told is not None:
            emit(resumed.told)
        emit(_start_event(state, task, recipe, resumed=resumed is not None))
        if resumed is None:
            if (rows := _rows(task)) is not None:
                emit(rows)
            save("last")
        elif resumed.changes:
            emit({"event": "recipe", "step": state.progress.step, "changes": resumed.changes})
        if resumed is not None and resumed.told is not None:
            # In this order: whoever goes on after a kill takes the recipe from the checkpoint.
            save("last")
            write_atomically(files.recipe, recipe.to_toml())
        watch = stack.enter_context(Watch(state, task, recipe, book.emit if book else _nobody))
        ended: Literal["diverged"] | Reason
        error: TrainingDivergedError | None = None
        try:
            ended = train(state, task, recipe, emit=emit, save=save, stop=stop)
        except TrainingDivergedError as diverged:
            ended, error = "diverged", diverged
            watch.trace()
        if healer is not None and interrupt.requested:
            healer.finding = None  # it is found again when the run is resumed
        if healer is None or healer.finding is None:
            emit(_end_event(state, ended))
            if error is not None:
                raise error
    return processes.by_first(lambda: Run.load(files.path))


def _nobody(event: Event) -> None:
    """Where this process tells no one."""


class _Book(contextlib.ExitStack):
    """What the first process writes: records and checkpoints; and whom it tells."""

    def __init__(
        self,
        files: RunFiles,
        sinks: Sequence[Sink],
        recipe: Recipe,
        state: State,
        resumed: Resumed | None,
    ) -> None:
        super().__init__()
        self._sinks = sinks
        from_last = resumed is not None and resumed.source == files.last
        self.keeper = self.enter_context(
            Keeper(
                files.checkpoints,
                keep=recipe.checkpoint_keep,
                background=recipe.checkpoint_background,
                last_step=state.progress.step if from_last else None,
            )
        )
        keep = 0 if resumed is None else resumed.records_size
        self.records = self.enter_context(RecordWriter(files.records, keep=keep))

    def emit(self, event: Event) -> None:
        """Record an event and tell it."""
        self.records.write(event)
        for sink in self._sinks:
            sink(event)


def _start_event(state: State, task: Task, recipe: Recipe, *, resumed: bool) -> Event:
    judge = task.judge(recipe.best)
    return {
        "event": "start",
        "task": task.name,
        "metric": judge.name,
        "higher_is_better": judge.higher_is_better,
        "parameters": sum(p.numel() for p in state.model.parameters() if p.requires_grad),
        "train_size": size(task.train),
        "validation_size": size(task.validation),
        "epochs": state.epochs,
        "steps_per_epoch": state.steps_per_epoch,
        "total_steps": state.total_steps,
        "lr": recipe.lr,
        "resumed_from": state.progress.step if resumed else None,
    }


def _rows(task: Task) -> Event | None:
    """What the training and the validation rows have in common, where they are in memory."""
    train, validation = task.train, task.validation
    if not isinstance(train, TensorDataset) or not isinstance(validation, TensorDataset):
        return None
    return data_event(train.tensors[0], validation.tensors[0])


def _end_event(state: State, reason: str) -> Event:
    at = state.progress
    return {
        "event": "end",
        "step": at.step,
        "epoch": at.epoch,
        "best_metric": at.best_metric,
        "best_step": at.best_step,
        "seconds": state.watch.seconds,
        "reason": reason,
    }
