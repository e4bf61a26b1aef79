"""``downslope tune``: a search for a better recipe, and whether it beats the default."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, cast

import typer

from ..training import Recipe
from .app import Debug
from .experiments import OPTIONS, Processes, Quiet
from .model import TASK, chosen_task, taken
from .options import assignments, listed, with_options
from .phases import Phases, interrupted

__all__ = ["command"]


def _tune(
    task: Annotated[str, typer.Argument(help=TASK, metavar="TASK")],
    optimizers: Annotated[
        str | None,
        typer.Option(
            help="names with commas between, to choose among [default: the recipe's]",
            metavar="NAMES",
        ),
    ] = None,
    trials: Annotated[int, typer.Option(help="how many, over all processes together")] = 40,
    folds: Annotated[int, typer.Option(help="of the cross validation; 1: none")] = 5,
    search: Annotated[
        str | None,
        typer.Option(
            help="hyperparameters to search, with commas between [default: all there are ranges "
            "for]",
            metavar="NAMES",
        ),
    ] = None,
    sampler: Annotated[str, typer.Option(help="how points are chosen", metavar="<tpe|random>")] = (
        "tpe"
    ),
    storage: Annotated[
        str | None,
        typer.Option(
            help="URL of a storage of Optuna's, to share a study between machines [default: a "
            "journal file in the directory]",
            metavar="URL",
        ),
    ] = None,
    recipe: Annotated[
        Path | None,
        typer.Option(help="TOML file of the recipe to begin with", metavar="FILE"),
    ] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            help="another argument of the optimizer, such as momentum=0.9",
            metavar="NAME=VALUE",
        ),
    ] = None,
    run_dir: Annotated[
        Path | None,
        typer.Option(
            help="directory of the search [default: runs/tune-TASK-... by what is asked]",
            metavar="DIR",
        ),
    ] = None,
    processes: Processes = None,
    quiet: Quiet = False,
    debug: Debug = False,
    *,
    given: dict[str, Any],
) -> None:
    """Search for a better recipe, and say whether it beats the default."""
    from ..report import write_report
    from ..tuning import tune
    from ..tuning.search import Sampler

    data = taken(given)
    names = None if optimizers is None else listed(optimizers)
    base = Recipe() if recipe is None else Recipe.from_toml(recipe)
    if names:
        given["optimizer"] = names[0]
    arguments = {**base.hyperparameters, **assignments(settings or [])}
    base = base.replace(**given, hyperparameters=arguments)
    chosen = chosen_task(task, data, quiet=quiet)
    with interrupted(), Phases(quiet=quiet) as phases:
        study = tune(
            chosen,
            names,
            recipe=base,
            trials=trials,
            folds=folds,
            search=None if search is None else listed(search),
            sampler=cast(Sampler, sampler),
            storage=storage,
            run_dir=run_dir,
            processes=processes,
            on_event=phases,
        )
    typer.echo(str(study))
    if study.verdict is not None:
        typer.echo(f"recipe      {study.path / 'recipe.toml'}")
    if not study.elsewhere:
        typer.echo(f"page        {write_report(study)}")


command = with_options(_tune, OPTIONS)
