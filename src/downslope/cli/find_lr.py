"""``downslope find-lr``: a range test of a task, drawn in the terminal and into a file."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..finder import find_lr
from .app import Debug
from .curve import WIDTH, labelled
from .model import TASK, TASK_OPTIONS, chosen_task, taken
from .options import assignments, of_function, with_options
from .plot import check_plot, save_plot

if TYPE_CHECKING:
    from ..finder import RangeTest

__all__ = ["command", "drawing"]


def _find_lr(
    task: Annotated[str, typer.Argument(help=TASK, metavar="TASK")],
    optimizer: Annotated[
        str | None, typer.Option(help="optimizer, such as sgd", metavar="NAME")
    ] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            help="another argument of the optimizer, such as momentum=0.9",
            metavar="NAME=VALUE",
        ),
    ] = None,
    plot: Annotated[
        Path | None,
        typer.Option(
            help="where the plot goes; the suffix says the format [default: find-lr-TASK.png]",
            metavar="FILE",
        ),
    ] = None,
    debug: Debug = False,
    *,
    given: dict[str, Any],
) -> None:
    """Find a learning rate by a range test, and plot it."""
    chosen = chosen_task(task, taken(given))
    page = plot or Path(f"find-lr-{Path(chosen.name).stem}.png")
    check_plot(page)
    if optimizer is not None:
        given["optimizer"] = optimizer
    test = find_lr(chosen, hyperparameters=assignments(settings or []), **given)
    typer.echo("\n".join(drawing(test)))
    save_plot(test.plot, page)
    typer.echo(f"plot        {page}")


command = with_options(_find_lr, [*TASK_OPTIONS, *of_function(find_lr)])


def drawing(test: RangeTest) -> list[str]:
    """The smoothed loss over the learning rate, and what the test says, as lines of text."""
    lines = [f"{test.optimizer}: training loss over learning rate"]
    if test.lrs:
        lines += labelled(
            [math.log(lr) for lr in test.lrs],
            test.smoothed,
            ends=(f"{test.lrs[0]:.3g}", f"{test.lrs[-1]:.3g}"),
            axis=_axis(test),
        )
    if test.steepest is not None and test.band is not None:
        lines += [
            f"steepest    {test.steepest:.3g}",
            "band        {:.3g} to {:.3g}, which tutorials recommend".format(*test.band),
        ]
    if test.suggestion is not None:
        lines.append(f"suggestion  {test.suggestion:.3g}, confidence: {test.confidence}")
    if test.reason:
        lines.append(f"note        {test.reason}")
    return lines


def _axis(test: RangeTest) -> str:
    """A line below the curve: the band is thick, an arrow stands at the suggestion."""
    cells = ["─"] * WIDTH
    if test.band is not None:
        start, end = (_column(test, lr) for lr in test.band)
        cells[start : end + 1] = "━" * (end + 1 - start)
    if test.suggestion is not None:
        cells[_column(test, test.suggestion)] = "▲"
    return "".join(cells)


def _column(test: RangeTest, lr: float) -> int:
    first, last = math.log(test.lrs[0]), math.log(test.lrs[-1])
    share = (math.log(lr) - first) / (last - first) if last > first else 0.5
    return min(max(round(share * (WIDTH - 1)), 0), WIDTH - 1)
