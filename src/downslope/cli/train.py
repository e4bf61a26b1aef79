"""``downslope train``: from a task to a trained run and its report."""

from __future__ import annotations

import os
import shlex
import sys
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer

from ..errors import InputError
from ..training import Recipe
from .app import INTERRUPTED, Debug
from .bar import bar
from .model import TASK, TASK_OPTIONS, chosen_task, taken
from .options import assignments, of_fields, with_options

if TYPE_CHECKING:
    from ..tasks import Task
    from .live import LiveView, PlainView

__all__ = ["command"]


def _train(
    task: Annotated[
        str | None,
        typer.Argument(help=TASK, metavar="TASK"),
    ] = None,
    recipe: Annotated[
        Path | None,
        typer.Option(help="TOML file of settings; options given here come first", metavar="FILE"),
    ] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            help="another argument of the optimizer, such as momentum=0.9 or 'betas=[0.9, 0.99]'",
            metavar="NAME=VALUE",
        ),
    ] = None,
    run_dir: Annotated[
        Path | None,
        typer.Option(
            help="new directory of the run [default: runs/TASK-TIME]",
            metavar="DIR",
        ),
    ] = None,
    resume: Annotated[
        Path | None,
        typer.Option(
            help="go on with an interrupted run, or from one of its checkpoints", metavar="RUN_DIR"
        ),
    ] = None,
    auto_resume: Annotated[
        bool,
        typer.Option(
            "--auto-resume", help="go on with the run in --run-dir, or start it if there is none"
        ),
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="print the resolved recipe as TOML and stop")
    ] = False,
    tensorboard: Annotated[
        bool, typer.Option("--tensorboard", help="also write for TensorBoard, in the directory")
    ] = False,
    quiet: Annotated[bool, typer.Option("--quiet", help="print the last line only")] = False,
    debug: Debug = False,
    *,
    given: dict[str, Any],
) -> None:
    """Find a learning rate, train, watch, save and report."""
    hyperparameters = assignments(settings or [])
    data = taken(given)
    if resume is not None:
        others = {**data, "recipe": recipe, "run_dir": run_dir, "auto_resume": auto_resume}
        _refuse_with_resume(task, others)
        job = _resumed(resume, given, hyperparameters, quiet=quiet)
    else:
        if task is None:
            raise InputError(f"Missing TASK: give {TASK}, or --resume DIR.")
        if auto_resume and run_dir is None:
            raise InputError("--auto-resume needs --run-dir DIR, where the run is or will be.")
        plan = _recipe(recipe, given, hyperparameters)
        try:
            chosen = chosen_task(task, data, quiet=quiet)
        except KeyboardInterrupt:
            _interrupted(run_dir or Path("runs", task))
        folder = run_dir or _fresh(Path("runs"), Path(chosen.name).stem)
        job = _Job(chosen, plan, folder, resume="auto" if auto_resume else False)
    if dry_run:
        _print_recipe(job.plan)
        return
    _run(job, tensorboard=tensorboard, quiet=quiet)


command = with_options(_train, [*TASK_OPTIONS, *of_fields(Recipe.model_fields)])


def _recipe(file: Path | None, given: dict[str, Any], hyperparameters: dict[str, Any]) -> Recipe:
    """The file's settings, then those of the command line."""
    base = Recipe() if file is None else Recipe.from_toml(file)
    merged = {**base.hyperparameters, **hyperparameters}
    return base.replace(**given, hyperparameters=merged)


@dataclass(frozen=True)
class _Job:
    """What the command line asks for, as :func:`~downslope.fit` takes it."""

    task: Task
    recipe: Recipe
    folder: Path
    resume: bool | str | Path
    changes: dict[str, Any] = field(default_factory=dict)

    @property
    def plan(self) -> Recipe:
        """The recipe that is going to be used, every choice made but the learning rate."""
        return self.recipe.replace(**self.changes).resolve(self.task)


def _resumed(
    source: Path, changes: dict[str, Any], hyperparameters: dict[str, Any], *, quiet: bool
) -> _Job:
    """A run's own task and recipe; what is named beside them changes from here on."""
    from ..training import Run

    folder = source.parent.parent if source.suffix == ".pt" else source
    run = Run.load(folder)
    if run.over and source == folder and not (changes or hyperparameters):
        more = "nothing is left to do: --epochs N goes on for longer"
        typer.echo(f"the run has ended ({run.reason}); {more}", err=True)
    if hyperparameters:
        merged = {**run.recipe.hyperparameters, **hyperparameters}
        changes = {**changes, "hyperparameters": merged}
    with bar(shown=not quiet) as tell:
        task = run.task(tell)
    return _Job(task, run.recipe, folder, source == folder or source, changes)


def _refuse_with_resume(task: str | None, others: dict[str, Any]) -> None:
    """A resumed run keeps its task and its directory; what is to change in its recipe is named."""
    named = [f"--{name.replace('_', '-')}" for name, value in others.items() if value]
    if task is not None:
        named.insert(0, f"TASK {task!r}")
    if named:
        raise InputError(
            f"--resume goes on with the run's own task and recipe, got {', '.join(named)} beside "
            "it. Leave that out, or start a new run without --resume. Options such as --epochs "
            "change the recipe from here on."
        )


def _fresh(parent: Path, task: str) -> Path:
    """A directory that does not exist yet, named by the task and the time."""
    stem = f"{task}-{time.strftime('%Y%m%d-%H%M%S')}"
    names = (stem, *(f"{stem}-{number}" for number in range(2, 1000)))
    return next(path for path in (parent / name for name in names) if not path.exists())


def _print_recipe(recipe: Recipe) -> None:
    if recipe.lr is None:
        typer.echo("# lr is found by a range test when training starts")
    typer.echo(recipe.to_toml(), nl=False)


def _run(job: _Job, *, tensorboard: bool, quiet: bool) -> None:
    """Train, write the report, and say in one line what came out: the first process does."""
    from .. import report
    from ..training import TrainingDivergedError, fit

    first = os.environ.get("RANK", "0") == "0"
    sinks: list[Callable[[dict[str, Any]], None]] = []
    if tensorboard and first:
        from ..monitor import TensorBoard

        sinks.append(TensorBoard(job.folder))
    try:
        with _view(job.task, job.recipe, quiet=quiet or not first) as view:
            if view is not None:
                from ..doctor import Doctor

                tell = view.tell
                sinks += [view, Doctor(lambda finding: tell(str(finding)))]
            run = fit(
                *(job.task, job.recipe, job.folder),
                resume=job.resume,
                changes=job.changes,
                on_event=sinks,
            )
    except KeyboardInterrupt:
        _interrupted(job.folder)
    except TrainingDivergedError as error:
        if not first:
            raise
        page = report.write_report(job.folder)
        raise TrainingDivergedError(f"{error} What was recorded is drawn in {page}.") from error
    if not first:
        _leave(0)
        return
    page = report.write_report(run)
    if run.reason == "interrupted":
        _interrupted(job.folder)
    if run.reason == "time limit":
        typer.echo(f"time limit; {_how_to_go_on(job.folder)}", err=True)
    typer.echo(f"{report.headline(run)} -> {page}")
    _leave(0)


def _view(
    task: Task, recipe: Recipe, *, quiet: bool
) -> AbstractContextManager[LiveView | PlainView | None]:
    if quiet:
        return nullcontext()
    from rich.console import Console

    from .live import view_for

    return view_for(Console(), f"{task.name} · {recipe.optimizer} · {recipe.schedule}")


def _how_to_go_on(folder: Path) -> str:
    local = os.environ.get("LOCAL_WORLD_SIZE")
    program = f"torchrun --nproc-per-node {local} -m downslope" if local else "downslope"
    return f"go on with: {program} train --resume {shlex.quote(str(folder))}"


def _interrupted(folder: Path) -> NoReturn:
    if (folder / "checkpoints").exists():
        told = _how_to_go_on(folder)
    else:
        told = "training had not begun, so nothing was written"
    typer.echo(f"interrupted; {told}", err=True)
    _leave(INTERRUPTED)
    raise typer.Exit(INTERRUPTED)


def _leave(code: int) -> None:
    """End a process of torchrun's at once.

    While Python shuts down, torch's own threads now and then abort the process, and torchrun takes
    a job that has finished for one that failed.
    """
    if "TORCHELASTIC_RUN_ID" in os.environ:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
