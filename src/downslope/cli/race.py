"""``downslope race``: optimizers on a two-dimensional surface, as a page and as a picture."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ..errors import InputError
from .app import Debug
from .options import listed
from .plot import check_plot, save_plot

__all__ = ["command"]


def command(
    surface: Annotated[
        str,
        typer.Argument(
            help="ravine, rosenbrock, beale, himmelblau, saddle, noisy or sparse", metavar="SURFACE"
        ),
    ],
    optimizers: Annotated[
        str | None,
        typer.Option(
            help="names with commas between [default: sgd, momentum, nesterov, adagrad, rmsprop, "
            "adam, lion]",
            metavar="NAMES",
        ),
    ] = None,
    steps: Annotated[int, typer.Option(help="how far they run")] = 200,
    page: Annotated[
        Path | None, typer.Option(help="where the page goes [default: race-SURFACE.html]")
    ] = None,
    plot: Annotated[
        Path | None,
        typer.Option(help="where the picture goes [default: race-SURFACE.png]", metavar="FILE"),
    ] = None,
    debug: Debug = False,
) -> None:
    """Let optimizers race on a surface; writes a page that plays it, and a picture."""
    from ..race import race, runners
    from ..race import surface as surface_of
    from ..report import draw_race, write_race

    where = surface_of(surface)
    page = page or Path(f"race-{surface}.html")
    plot = plot or Path(f"race-{surface}.png")
    check_plot(plot)
    if not page.parent.is_dir():
        raise InputError(f"--page: there is no folder {str(page.parent)!r} to write into.")
    names = None if optimizers is None else listed(optimizers)
    lanes = race(where, None if names is None else runners(names), steps=steps)
    typer.echo(f"{where.title}: {where.formula}")
    for lane in sorted(lanes, key=lambda lane: lane.paths[lane.best].score):
        best = lane.paths[lane.best]
        typer.echo(f"  {lane.name:12} lr {best.lr:<8g} last value {best.score:.3g}")
    save_plot(lambda axes: draw_race(where, lanes, axes), plot)
    write_race(where, lanes, page)
    typer.echo(f"page        {page}\nplot        {plot}")
