"""What a worker does: one range test, or one run with everything that is kept of it."""

from __future__ import annotations

import math
import os
import shutil
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch

from ..doctor import Doctor, Finding
from ..errors import DownslopeError
from ..monitor import read_records
from ..randomness import randomness_restored
from ..tasks import Task, batches
from ..training import Recipe, TrainingDivergedError, fit
from ..training.prepare import range_test
from ..training.run import RunFiles
from .outcome import Outcome

__all__ = ["Hope", "Interrupted", "Job", "Pruned", "do", "pace", "trained", "warm_up"]

Event = dict[str, Any]

#: What the doctor finds that no later step will mend, and that other settings may.
HOPELESS = frozenset(
    {
        "constant outputs",
        "exploding gradients",
        "lr too high",
        "lr too low",
        "not a number",
        "saturated activations",
        "weight decay too strong",
    }
)


@dataclass(frozen=True)
class Job:
    """One thing to do.

    Args:
        kind: a short run to time, a range test, a trial (that may be given up), one of the best
            trials once more, a run that counts.
        label: the contender's.
        number: which of its trials, or the seed.
        recipe: resolved; with a learning rate, unless that is what is sought.
        folder: where a run is kept.
    """

    kind: Literal["probe", "range test", "trial", "final", "run"]
    label: str
    number: int
    recipe: Recipe
    folder: Path

    @property
    def key(self) -> tuple[str, str, int]:
        """What tells it from every other job of a comparison."""
        return self.kind, self.label, self.number


class Interrupted(DownslopeError):  # noqa: N818 - not a fault: somebody asked for it
    """The run was stopped by a signal; it goes on where it was when the job is done again."""


class Pruned(Exception):  # noqa: N818 - as above
    """Raised among a run's listeners to end it, with the reason: there is no hope for it."""


def do(task: Task, job: Job, alive: Callable[[], None] = lambda: None) -> dict[str, Any]:
    """Do a job; returns plain data for the journal.

    Args:
        task: what is trained.
        job: what to do.
        alive: called after every event; raises where nobody waits for the result any more.
    """
    warm_up(task, job.recipe)
    if job.kind == "range test":
        return range_test(task, job.recipe, lambda _: alive()).to_dict()
    if job.kind == "probe":
        run = fit(task, job.recipe, job.folder, resume="auto", on_event=[lambda _: alive()])
        return pace(run.records())
    prune = job.kind == "trial" and job.number > 0  # one trial of each is always complete
    outcome = trained(task, job.recipe, job.folder, prune=prune, alive=alive)
    return outcome.to_dict()


def trained(
    task: Task,
    recipe: Recipe,
    folder: Path,
    *,
    prune: bool,
    alive: Callable[[], None] = lambda: None,
    on_event: Callable[[Event], None] | None = None,
) -> Outcome:
    """Train in ``folder``, go on with what is there, and remove the checkpoints at the end.

    Args:
        task: what is trained.
        recipe: resolved, with a learning rate.
        folder: the run's directory.
        prune: whether to give up where the doctor sees no hope. Such a run begins anew: the doctor
            has to see all of it.
        alive: as in :func:`do`.
        on_event: further listener.

    Raises:
        Interrupted: a signal came.
    """
    if prune:
        shutil.rmtree(folder, ignore_errors=True)
    hope = Hope()

    def listen(event: Event) -> None:
        alive()
        if prune:
            hope(event)
        if on_event is not None:
            on_event(event)

    files = RunFiles(folder)
    try:
        reason = fit(task, recipe, folder, resume="auto", on_event=[listen]).reason
    except TrainingDivergedError:
        return _kept(files, Outcome.of(read_records(files.records), "diverged"))
    except Pruned as end:
        return _kept(files, Outcome.of(read_records(files.records), "pruned", str(end)))
    if reason not in ("finished", "early stop"):
        raise Interrupted(f"interrupted in {str(folder)!r}")
    ending: Any = reason
    return _kept(files, Outcome.of(read_records(files.records), ending))


def pace(records: Sequence[Event]) -> dict[str, float]:
    """Steps, the seconds that they took with their validations, and what a run costs besides.

    Counted from the first validation on; what came before and was not its steps is the rest, in
    which a process that has not trained before pays for modules that it imports.

    >>> seen = [{"event": "validation", "step": 8 * k, "seconds": 5 + k} for k in (1, 2, 3)]
    >>> pace(seen)
    {'steps': 16, 'seconds': 2, 'besides': 5.0}
    """
    seen = [r for r in records if r["event"] == "validation"]
    first = seen[0] if len(seen) > 1 else {"step": 0, "seconds": 0.0}
    steps = seen[-1]["step"] - first["step"]
    seconds = seen[-1]["seconds"] - first["seconds"]
    besides = max(0.0, first["seconds"] - first["step"] * seconds / steps)
    return {"steps": steps, "seconds": seconds, "besides": besides}


class Hope:
    """Listens to a run; raises :class:`Pruned` where there is none left.

    At once where the doctor finds something fatal; where it finds what no later step will mend,
    at the next validation that is no better than constant outputs would be. The doctor alone would
    give up healthy runs: a small model's weights may double in a step and be the better for it.
    """

    def __init__(self) -> None:
        self._doctor = Doctor(self._hear)
        self._finding: Finding | None = None
        self._worthless = math.inf

    def __call__(self, event: Event) -> None:
        """Take note of an event."""
        self._doctor(event)
        if event["event"] == "setup" and event.get("constant_loss") is not None:
            self._worthless = event["constant_loss"]
        elif event["event"] == "train" and math.isinf(self._worthless):
            self._worthless = event["loss"]  # of a loss of the user's own: the first
        elif event["event"] == "validation" and event["loss"] >= self._worthless:
            self._give_up()

    def _hear(self, finding: Finding) -> None:
        if finding.severity == "fatal" or finding.cause in HOPELESS:
            self._finding = self._finding or finding
        if finding.severity == "fatal":
            self._give_up()

    def _give_up(self) -> None:
        if (found := self._finding) is not None:
            raise Pruned(f"{found.cause} ({found.symptom}, step {found.step})")


def _kept(files: RunFiles, outcome: Outcome) -> Outcome:
    """A comparison keeps what was measured, not the weights of every run."""
    shutil.rmtree(files.checkpoints, ignore_errors=True)
    return outcome


_WARM: set[tuple[int, str]] = set()


def warm_up(task: Task, recipe: Recipe) -> None:
    """Take one step on a throw-away model, so that no run's time has its kernels' compilation."""
    key = (os.getpid(), recipe.model_dump_json(include={"optimizer", "hyperparameters"}))
    if key in _WARM:
        return
    with randomness_restored(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the run itself will say it
        model = task.model().to(recipe.device)
        optimizer = recipe.build_optimizer(model.parameters())
        inputs, targets = next(iter(batches(task.train, recipe.batch_size or task.batch_size)))
        loss = task.loss(model(inputs.to(recipe.device)), targets.to(recipe.device))
        torch.autograd.backward(loss)
        optimizer.step()
    _WARM.add(key)
