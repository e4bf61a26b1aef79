"""From a task and a recipe to a trained run: the side effects around the loop."""

from __future__ import annotations

import json
import os
import warnings
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

import torch

from ..errors import CheckpointError, InputError, InputTypeError, told
from ..files import remove_leftovers, write_atomically
from ..finder import RangeTest
from ..monitor import RecordWriter, read_records
from ..tasks import Task, fingerprint
from ..tasks.task import check_task
from . import checkpoint
from ._session import Resumed, Sink, session
from .environment import environment
from .heal import HIGH, LATE, Healer, healed
from .keeper import newest_sound
from .loop import Event
from .prepare import range_test
from .processes import joined
from .recipe import Recipe
from .run import Run, RunFiles, read_settings
from .state import State, recipe_of

__all__ = ["fit"]

#: What cannot change in the middle of a run, and why.
FAR_LOWER = 1 / 3  # of a learning rate: it was too high from the start
FIXED = {
    "seed": "the order of the rows comes from it",
    "batch_size": "the steps of an epoch are counted by it",
    "optimizer": "another one has another state",
}


def fit(
    task: Task,
    recipe: Recipe | None = None,
    run_dir: str | Path | None = None,
    *,
    resume: bool | str | Path = False,
    changes: Mapping[str, Any] | None = None,
    on_event: Sequence[Sink] = (),
) -> Run:
    """Train a task by a recipe and keep everything in a directory.

    Where the recipe has no learning rate, a range test finds one first. Ctrl-C or SIGTERM saves a
    checkpoint and ends the run with the reason ``"interrupted"``; ``resume=True`` goes on from
    there, or from the last checkpoint of a run that was killed, to the same bits that an
    uninterrupted run would have reached (on the CPU: with as many threads, or it warns). A run that
    has ended is returned as it is, unless its recipe is changed.

    The global random generators of Python, NumPy and torch are seeded.

    Args:
        task: what is trained.
        recipe: how; ``None`` takes the default recipe, or the run's own when resuming.
        run_dir: a new or empty directory; ``None`` makes one under ``runs``.
        resume: ``True`` goes on with the run in ``run_dir``; the path of one of its checkpoints
            goes on from that one, and forgets what was recorded after it. ``"auto"`` resumes where
            ``run_dir`` holds a run and starts one where it holds nothing.
        changes: fields of the recipe, by name, that are to be other ones from here on when a run
            is resumed; what changed is recorded.
        on_event: called with every event, as in :mod:`downslope.monitor.records`, and with the
            ``find_lr`` events of the range test.

    Raises:
        InputError: the directory holds something already, or the recipe cannot be used here.
        InputTypeError: no task, or no recipe.
        CheckpointError: the checkpoint to resume from is missing, damaged (a sound one beside it
            is named) or of another task; or one cannot be written.
        TrainingDivergedError: the loss is not finite; the last checkpoint is kept.

    >>> import tempfile
    >>> from downslope import Recipe, fit, load_task
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     run = fit(load_task("digits"), Recipe(lr=3e-3, epochs=2), f"{folder}/run")
    >>> run.reason, run.best_step, run.best_metric > 0.9
    ('finished', 46, True)
    """
    check_task(task)
    if recipe is not None and not isinstance(recipe, Recipe):
        raise InputTypeError(
            f"fit: recipe must be a downslope.Recipe, got {told(recipe)}. Write "
            "Recipe(lr=..., epochs=...)."
        )
    if resume is False and os.environ.get("TORCHELASTIC_RESTART_COUNT", "0") != "0":
        resume = "auto"  # torchrun starts the same command again after a process died
    if resume == "auto" and run_dir is not None and RunFiles(Path(run_dir)).last.exists():
        resume = True
    if resume and resume != "auto":
        files = _existing_directory(run_dir, resume)
        source = files.last if resume is True else Path(resume)
        return _resume(task, recipe, files, source, dict(changes or {}), on_event)
    if changes:
        raise InputError("fit: changes are for a run that is resumed. Put them into the recipe.")
    plan = (recipe or Recipe()).resolve(task)
    with joined(plan.strategy) as processes:

        def prepared() -> tuple[RunFiles, Recipe]:
            files = _new_directory(task, run_dir, or_settings=resume == "auto")
            complete, test = _with_lr(task, plan, on_event)
            _write_settings(files, task, complete, test)
            return files, complete

        files, plan = processes.by_first(prepared)
        state = State(task, plan, processes)
        return (_heal if plan.heal else session)(state, task, plan, files, on_event)


def _heal(
    state: State,
    task: Task,
    plan: Recipe,
    files: RunFiles,
    on_event: Sequence[Sink],
    resumed: Resumed | None = None,
    before: Sequence[Event] = (),
) -> Run:
    """Train; go back, change the recipe and train on as long as the doctor knows a safe remedy.

    It goes back to the best checkpoint where that was written before the fault was seen, fits the
    changed recipe and is not spoilt, to the beginning otherwise.

    Args:
        state: where to begin.
        task: what is trained.
        plan: the recipe.
        files: of the run.
        on_event: the sinks.
        resumed: from where a run that was stopped goes on.
        before: what was recorded until then.

    Raises:
        InputError: the steps are shared by several processes.
    """
    if state.processes.count > 1:
        raise InputError("fit: heal is for one process; leave it out, or leave torchrun out.")
    healer = Healer(plan, before)
    while True:
        run = session(state, task, plan, files, on_event, resumed, healer)
        finding = healer.finding
        if finding is None:
            return run
        earlier, old = plan, state
        plan = healed(plan, finding).resolve(task)
        if earlier.batch_size not in (plan.batch_size, task.batch_size):
            plan = plan.replace(batch_size=task.batch_size)
        best = run.best_step is not None and files.best.exists() and run.best_step < finding.step
        fixed = {*FIXED, "hyperparameters"}  # an optimizer's state is made by them
        best &= finding.cause in LATE and not set(plan.differences(earlier)) & fixed
        if plan.lr != earlier.lr:
            most = earlier.lr if plan.lr is None and finding.cause in HIGH else plan.lr
            plan = _no_higher(task, plan, most, on_event)
        if finding.cause == "lr not lowered" and (plan.lr or 0) < FAR_LOWER * (earlier.lr or 0):
            best = False  # what was learnt by such a rate is not worth keeping
        healer.recipe = plan
        state = State(task, plan, state.processes)
        changes = plan.differences(earlier)
        if best:
            state.take_up(_sound(files.best), str(files.best), files.checkpoints)
        state.watch = old.watch  # what was tried in vain took its time too
        back = {"event": "heal", "step": state.progress.step, "finding": finding.to_dict()}
        resumed = Resumed(files.best, None, changes, {**back, "changes": changes})


def _no_higher(task: Task, recipe: Recipe, most: float | None, on_event: Sequence[Sink]) -> Recipe:
    """The recipe with the range test's learning rate, at most as high as allowed."""
    found, _ = _with_lr(task, recipe.replace(lr=None), on_event)
    assert found.lr is not None
    return found if most is None else found.replace(lr=min(most, found.lr))


def _resume(
    task: Task,
    recipe: Recipe | None,
    files: RunFiles,
    source: Path,
    changes: dict[str, Any],
    on_event: Sequence[Sink],
) -> Run:
    run = Run.load(files.path)
    if recipe is not None:
        _check_same(recipe.resolve(task), run.recipe, ignore_lr=recipe.lr is None)
    if read_settings(files.task, "data")["data"] != fingerprint(task.train, task.validation):
        raise InputError(
            f"{str(files.path)!r} was trained on other data than this task's: "
            f"the file {dict(task.source).get('spec', task.name)!r} or the split has changed. "
            "Resume with the same data, or start a new run."
        )
    own = run.recipe
    if own.heal:  # a kill may have come between the changed recipe's checkpoint and its file
        own = recipe_of(_sound(source)) or own
    plan = _changed(own, changes).resolve(task)
    if run.over and source == files.last and plan == own:
        return run
    _warn_of_other_threads(files)
    with joined(plan.strategy) as processes:
        saved = _sound(source)
        state = State(task, plan, processes)
        size = state.take_up(saved, str(source), files.checkpoints)
        if state.taken > state.total_steps:
            raise InputError(
                f"The run has taken {state.taken} steps ({state.progress.epoch} epochs) so far: "
                f"it cannot end after {state.total_steps}. Give it more epochs or steps, or go on "
                "from an earlier checkpoint."
            )
        if processes.first:
            remove_leftovers(files.checkpoints)
            write_atomically(files.recipe, plan.to_toml())
        resumed = Resumed(source, size, plan.differences(recipe_of(saved) or run.recipe))
        if not plan.heal:
            return session(state, task, plan, files, on_event, resumed)
        RecordWriter(files.records, keep=size).close()
        return _heal(state, task, plan, files, on_event, resumed, read_records(files.records))


def _with_lr(
    task: Task, recipe: Recipe, on_event: Sequence[Sink]
) -> tuple[Recipe, RangeTest | None]:
    """The recipe with a learning rate: its own, or the range test's."""
    if recipe.lr is not None:
        return recipe, None

    def tell(event: Event) -> None:
        for sink in on_event:
            sink(event)

    test = range_test(task, recipe, tell)
    if test.suggestion is not None:
        return recipe.replace(lr=test.suggestion), test
    lr, what = recipe.default_lr(), f"the default of {recipe.optimizer}"
    if test.fallback is not None:
        lr, what = test.fallback, "what is usual for such weights and gradients"
    warnings.warn(
        f"No learning rate was found for {task.name!r}: {test.reason}. Training starts with "
        f"{what}, {lr:.2g}.",
        stacklevel=3,
    )
    return recipe.replace(lr=lr), test


def _new_directory(task: Task, run_dir: str | Path | None, *, or_settings: bool) -> RunFiles:
    """The place of a new run; made only when there is something to put in it.

    Args:
        task: names it where there is no ``run_dir``.
        run_dir: the directory.
        or_settings: a run that was killed before its first checkpoint may be there.
    """
    if run_dir is None:
        name = Path(task.name).stem
        run_dir = Path("runs") / f"{name}-{datetime.now():%Y%m%d-%H%M%S-%f}"
    path = Path(run_dir)
    if or_settings and path.is_dir() and RunFiles(path).only_settings():
        for folder in (path, path / "checkpoints"):
            remove_leftovers(folder)
        return RunFiles(path)
    if path.exists() and (not path.is_dir() or any(path.iterdir())):
        raise InputError(
            f"The run directory {str(path)!r} exists already. Choose a new one, or resume the run "
            "that is in it."
        )
    return RunFiles(path)


def _existing_directory(run_dir: str | Path | None, resume: Literal[True] | str | Path) -> RunFiles:
    """The run to go on with, from its directory or from the path of one of its checkpoints."""
    if resume is True:
        if run_dir is None:
            raise InputError("fit: resume=True needs the run_dir of the run to go on with.")
        return RunFiles(Path(run_dir))
    folder = Path(resume).absolute().parents[1]
    if run_dir is not None and Path(run_dir).absolute() != folder:
        raise InputError(
            f"fit: the checkpoint {str(resume)!r} is not of the run in {str(run_dir)!r}. Leave "
            "run_dir out."
        )
    return RunFiles(folder)


def _sound(path: Path) -> Any:
    """What a checkpoint holds; where it is damaged, the error offers the newest sound one."""
    try:
        return checkpoint.load(path)
    except CheckpointError as error:
        other = newest_sound(path.parent)
        if other is None:
            if not any(path.parent.glob("*.pt")):
                raise CheckpointError(
                    f"{error} The run was stopped before its first checkpoint, so there is nothing "
                    "to go on from: start it in another directory, or in this one with "
                    "resume='auto' (--auto-resume)."
                ) from error
            raise
        raise CheckpointError(
            f"{error} {str(other)!r} is sound: resume with that path to go on from it."
        ) from error


def _write_settings(files: RunFiles, task: Task, recipe: Recipe, test: RangeTest | None) -> None:
    """Make the directory and write what is known before the first step."""
    files.checkpoints.mkdir(parents=True, exist_ok=True)
    about: dict[str, Any] = {
        "name": task.name,
        "source": dict(task.source),
        "data": fingerprint(task.train, task.validation),
    }
    if task.preparation is not None:
        about["preparation"] = task.preparation.to_dict()
    write_atomically(files.recipe, recipe.to_toml())
    write_atomically(files.task, _json(about))
    write_atomically(files.environment, _json(environment(torch.device(recipe.device))))
    if test is not None:
        write_atomically(files.find_lr, _json(test.to_dict()))


def _check_same(given: Recipe, stored: Recipe, *, ignore_lr: bool) -> None:
    """Refuse to resume with another recipe than the run's, where nobody said what is to change."""
    for name, (before, value) in given.differences(stored).items():
        if not (name == "lr" and ignore_lr):
            raise InputError(
                f"The run was started with {name} = {before!r}, not {value!r}. Name what is to "
                f"change, changes={{{name!r}: {value!r}}}, or resume without a recipe."
            )


def _changed(recipe: Recipe, changes: dict[str, Any]) -> Recipe:
    """The recipe with some fields changed, of those that may change in the middle of a run."""
    changed = recipe.replace(**changes)
    for name, (before, value) in changed.differences(recipe).items():
        if name in FIXED:
            raise InputError(
                f"A run cannot change its {name} on the way, from {before!r} to {value!r}: "
                f"{FIXED[name]}. Start a new run."
            )
    return changed


def _warn_of_other_threads(files: RunFiles) -> None:
    """Say so where torch will not give the same bits: on the CPU they depend on its threads."""
    then = read_settings(files.environment, "device", "threads")
    now = torch.get_num_threads()
    if then["device"] == "cpu" and then["threads"] != now:
        warnings.warn(
            f"The run was started with {then['threads']} threads and goes on with {now}: torch's "
            "sums and dropout masks may differ from those of an uninterrupted run. Call "
            f"torch.set_num_threads({then['threads']}) first for the same bits.",
            stacklevel=4,
        )


def _json(value: Any) -> str:
    return json.dumps(value, indent=2) + "\n"
