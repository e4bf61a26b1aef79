"""What a worker does: one range test, or one run with everything that is kept of it."""

from __future__ import annotations

import os
import shutil
import warnings
from collections.abc import Callable
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

__all__ = ["Interrupted", "Job", "Pruned", "do", "hopeless"]

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
        kind: a short run to time, a range test, a trial (that may be given up), a run that counts.
        label: the contender's.
        number: which of its trials, or the seed.
        recipe: resolved; with a learning rate, unless that is what is sought.
        folder: where a run is kept.
    """

    kind: Literal["probe", "range test", "trial", "run"]
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
    """Raised among a run's listeners to end it: there is no hope for it."""

    def __init__(self, finding: Finding) -> None:
        super().__init__(str(finding))
        self.finding = finding


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
        return {"steps": job.recipe.max_steps, "seconds": run.seconds}
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
    doctor = Doctor(_give_up)

    def listen(event: Event) -> None:
        alive()
        if prune:
            doctor(event)
        if on_event is not None:
            on_event(event)

    files = RunFiles(folder)
    try:
        reason = fit(task, recipe, folder, resume="auto", on_event=[listen]).reason
    except TrainingDivergedError:
        return _kept(files, Outcome.of(read_records(files.records), "diverged"))
    except Pruned as end:
        seen = f"{end.finding.cause} ({end.finding.symptom}, step {end.finding.step})"
        return _kept(files, Outcome.of(read_records(files.records), "pruned", seen))
    if reason not in ("finished", "early stop"):
        raise Interrupted(f"interrupted in {str(folder)!r}")
    ending: Any = reason
    return _kept(files, Outcome.of(read_records(files.records), ending))


def hopeless(finding: Finding) -> bool:
    """Whether to give up a trial in which the doctor found this."""
    return finding.severity == "fatal" or finding.cause in HOPELESS


def _give_up(finding: Finding) -> None:
    if hopeless(finding):
        raise Pruned(finding)


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
