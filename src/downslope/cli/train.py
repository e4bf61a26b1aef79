"""``downslope train``: from a task to a trained run and its report."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .. import report
from ..errors import InputError
from ..tasks import load_task
from ..training import Recipe, Run, fit
from .app import Debug
from .options import assignments, with_options

if TYPE_CHECKING:
    from ..tasks import Task

__all__ = ["command"]

INTERRUPTED = 130  # 128 + SIGINT, as shells have it


def _train(
    task: Annotated[
        str | None, typer.Argument(help="digits, or the path of a CSV file.", metavar="TASK")
    ] = None,
    target: Annotated[
        str | None, typer.Option(help="Column of the file to predict.", metavar="COLUMN")
    ] = None,
    recipe: Annotated[
        Path | None,
        typer.Option(help="TOML file of settings; options given here come first.", metavar="FILE"),
    ] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            help="Another argument of the optimizer, such as momentum=0.9 or 'betas=[0.9, 0.99]'.",
            metavar="NAME=VALUE",
        ),
    ] = None,
    run_dir: Annotated[
        Path | None,
        typer.Option(
            help="New directory of the run.", metavar="DIR", show_default="runs/TASK-TIME"
        ),
    ] = None,
    resume: Annotated[
        Path | None, typer.Option(help="Go on with an interrupted run.", metavar="RUN_DIR")
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print the resolved recipe as TOML and stop.")
    ] = False,
    tensorboard: Annotated[
        bool, typer.Option("--tensorboard", help="Also write for TensorBoard, in the directory.")
    ] = False,
    quiet: Annotated[bool, typer.Option("--quiet", help="Print the last line only.")] = False,
    debug: Debug = False,
    *,
    given: dict[str, Any],
) -> None:
    """Find a learning rate, train, watch, save and report."""
    if resume is not None:
        _refuse_with_resume(task, target, recipe, settings, run_dir, given)
        chosen, plan, folder = _resumed(resume)
    else:
        if task is None:
            raise InputError("Missing TASK: give digits, the path of a CSV file, or --resume DIR.")
        plan = _recipe(recipe, given, assignments(settings or []))
        chosen = load_task(task, target=target)
        folder = run_dir or _fresh(Path("runs"), chosen.name)
    if dry_run:
        _print_recipe(plan.resolve(chosen))
        return
    _run(chosen, plan, folder, resume=resume is not None, tensorboard=tensorboard, quiet=quiet)


command = with_options(_train, Recipe.model_fields)


def _recipe(file: Path | None, given: dict[str, Any], hyperparameters: dict[str, Any]) -> Recipe:
    """The file's settings, then those of the command line."""
    base = Recipe() if file is None else Recipe.from_toml(file)
    merged = {**base.hyperparameters, **hyperparameters}
    return base.replace(**given, hyperparameters=merged)


def _resumed(folder: Path) -> tuple[Task, Recipe, Path]:
    run = Run.load(folder)
    return run.task(), run.recipe, folder


def _refuse_with_resume(
    task: str | None,
    target: str | None,
    recipe: Path | None,
    settings: list[str] | None,
    run_dir: Path | None,
    given: dict[str, Any],
) -> None:
    """A resumed run keeps its task and its recipe, or it would not be the same run."""
    others = {"--target": target, "--recipe": recipe, "--set": settings, "--run-dir": run_dir}
    named = [option for option, value in others.items() if value]
    named += [f"--{name.replace('_', '-')}" for name in given]
    if task is not None:
        named.insert(0, f"TASK {task!r}")
    if named:
        raise InputError(
            f"--resume goes on with the run's own task and recipe, got {', '.join(named)} beside "
            "it. Leave that out, or start a new run without --resume."
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


def _run(
    task: Task, recipe: Recipe, folder: Path, *, resume: bool, tensorboard: bool, quiet: bool
) -> None:
    """Train, write the report, and say in one line what came out."""
    sinks: list[Callable[[dict[str, Any]], None]] = []
    if tensorboard:
        from ..monitor import TensorBoard

        sinks.append(TensorBoard(folder))
    if quiet:
        run = fit(task, recipe, folder, resume=resume, on_event=sinks)
    else:
        from rich.console import Console

        from .live import view_for

        title = f"{task.name} · {recipe.optimizer} · {recipe.schedule}"
        with view_for(Console(), title) as view:
            run = fit(task, recipe, folder, resume=resume, on_event=[view, *sinks])
    page = report.write_report(run)
    if run.reason == "interrupted":
        typer.echo(f"interrupted; go on with: downslope train --resume {run.path}", err=True)
        raise typer.Exit(INTERRUPTED)
    typer.echo(f"{report.headline(run)} -> {page}")
