"""``downslope compare``: which optimizer reaches a target soonest, by experiment."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from ..errors import InputError
from ..training import Recipe
from .app import Debug
from .experiments import OPTIONS, Processes, Quiet
from .model import TASK, chosen_task, taken
from .options import assignments, listed, with_options
from .phases import Phases, interrupted
from .units import minutes

__all__ = ["command"]


def _compare(
    task: Annotated[str, typer.Argument(help=TASK, metavar="TASK")],
    optimizers: Annotated[
        str,
        typer.Option(
            help="names with commas between, or LABEL=NAME where one is meant twice",
            metavar="NAMES",
        ),
    ] = "sgd,adamw,lion,adam",
    seeds: Annotated[int, typer.Option(help="runs that count, of each")] = 5,
    trials: Annotated[int, typer.Option(help="tuning runs of each; 1: the range test alone")] = 5,
    search: Annotated[
        str,
        typer.Option(help="hyperparameters to tune, with commas between", metavar="NAMES"),
    ] = "lr",
    goal: Annotated[
        float | None,
        typer.Option(help="the metric's value to reach; found by the tuning when left out"),
    ] = None,
    budget: Annotated[
        str | None,
        typer.Option(
            help="time for all of it, such as 5m: runs are shortened to fit [default: as long as "
            "the recipe says]",
            metavar="TIME",
        ),
    ] = None,
    recipe: Annotated[
        Path | None,
        typer.Option(help="TOML file of what all have in common", metavar="FILE"),
    ] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            help="an argument of one of them, such as sgd.momentum=0.9",
            metavar="LABEL.NAME=VALUE",
        ),
    ] = None,
    run_dir: Annotated[
        Path | None,
        typer.Option(
            help="directory of the comparison [default: runs/compare-TASK-... by what is asked]",
            metavar="DIR",
        ),
    ] = None,
    processes: Processes = None,
    quiet: Quiet = False,
    debug: Debug = False,
    *,
    given: dict[str, Any],
) -> None:
    """Find out by experiment which optimizer reaches a target soonest."""
    from ..report import write_report
    from ..tuning import compare

    data = taken(given)
    base = (Recipe() if recipe is None else Recipe.from_toml(recipe)).replace(**given)
    contenders = _contenders(optimizers, settings or [], base)
    chosen = chosen_task(task, data, quiet=quiet)
    with interrupted(), Phases(quiet=quiet) as phases:
        result = compare(
            chosen,
            contenders,
            recipe=base,
            seeds=seeds,
            trials=trials,
            search=listed(search),
            goal=goal,
            budget=None if budget is None else minutes(budget),
            run_dir=run_dir,
            processes=processes,
            on_event=phases,
        )
    typer.echo(str(result))
    typer.echo(f"\npage        {write_report(result)}")


command = with_options(_compare, OPTIONS)


def _contenders(names: str, settings: Sequence[str], base: Recipe) -> dict[str, Recipe]:
    """By label the recipe: what all have in common, and what is set for it alone."""
    parts = [part.partition("=") for part in listed(names)]
    labels = [label for label, _, _ in parts]
    twice = [label for k, label in enumerate(labels) if label in labels[:k]]
    if twice:
        raise InputError(
            f"--optimizers: {twice[0]!r} is named twice. Give each a label of its own, such as "
            f"again={twice[0]}."
        )
    own: dict[str, dict[str, Any]] = {label: {} for label in labels}
    for text in settings:
        label, dot, assignment = text.partition(".")
        if not dot or label not in own:
            raise InputError(
                f"--set takes LABEL.NAME=VALUE with one of {', '.join(labels)}, got {text!r}."
            )
        own[label] |= assignments([assignment])
    recipes = {}
    for label, _, name in parts:
        fields = {k: v for k, v in own[label].items() if k in Recipe.model_fields}
        others = {k: v for k, v in own[label].items() if k not in fields}
        arguments = {**base.hyperparameters, **others}
        recipes[label] = base.replace(
            **{"optimizer": name or label, **fields, "hyperparameters": arguments}
        )
    return recipes
