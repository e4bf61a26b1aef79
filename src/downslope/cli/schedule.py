"""``downslope schedule``: a schedule from its expression, drawn in the terminal and into a file."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from .app import Debug
from .curve import labelled
from .plot import check_plot, save_plot

if TYPE_CHECKING:
    from ..schedules import Schedule

__all__ = ["command", "drawing"]


def command(
    expression: Annotated[
        str, typer.Argument(help='such as "warmup(500) >> cosine(9500)"', metavar="EXPRESSION")
    ],
    lr: Annotated[
        float, typer.Option(help="the learning rate that the values are multiplied by")
    ] = 1.0,
    steps: Annotated[
        int | None, typer.Option(help="how many to draw [default: until the schedule ends]")
    ] = None,
    plot: Annotated[
        Path, typer.Option(help="where the plot goes; the suffix says the format", metavar="FILE")
    ] = Path("schedule.png"),
    debug: Debug = False,
) -> None:
    """Draw a schedule in the terminal and into a file."""
    from ..schedules import parse
    from ..schedules._schedule import finite

    check_plot(plot)
    schedule = parse(expression)
    if finite("--lr", lr) != 1:
        schedule = schedule * lr
    typer.echo("\n".join(drawing(schedule, steps)))
    save_plot(lambda axes: schedule.plot(axes, steps=steps), plot)
    typer.echo(f"plot        {plot}")


def drawing(schedule: Schedule, steps: int | None = None) -> list[str]:
    """The values over the steps, and those that matter, as lines of text.

    Args:
        schedule: what is drawn.
        steps: the last step; None is the schedule's own.
    """
    at, values = schedule.sampled(steps)
    top = int(values.argmax())
    return [
        repr(schedule),
        *labelled(at.tolist(), values.tolist()),
        f"first       {values[0]:.4g} at step 0",
        f"highest     {values[top]:.4g} at step {at[top]}",
        f"last        {values[-1]:.4g} at step {at[-1]}",
    ]
