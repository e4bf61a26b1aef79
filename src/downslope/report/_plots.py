"""The figures of experiments: several optimizers side by side, and the trials of a search."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from statistics import median
from typing import TYPE_CHECKING, Any

from ._figures import HEIGHT, WIDTH, tick
from ._svg import LANES, STYLE, colour, inline_svg

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["bars", "dots", "lane", "pairs_of", "profile", "scatter", "spreads"]

#: Beside its colour every optimizer has a style of line, for those who cannot tell colours apart.
_DASHES = ("-", (0, (5, 2)), (0, (1, 1.5)), (0, (6, 2, 1, 2)))
ROW = 26  # height of a row of dots, in pixels
Times = Mapping[str, Sequence[float]]


def lane(k: int) -> str:
    """The colour of the k-th optimizer, from 0."""
    return f"lane-{k % LANES}"


def figure(
    name: str, description: str, paint: Callable[[Axes], None], *, height: float = HEIGHT
) -> str:
    """One figure as an ``<svg>`` element, painted on axes in the page's style."""
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    with rc_context(STYLE):
        drawn = Figure((WIDTH / 72, height / 72), layout="constrained")
        paint(drawn.subplots())
        return inline_svg(drawn, name, description)


def spreads(
    name: str,
    description: str,
    curves: Mapping[str, Sequence[tuple[Sequence[float], Sequence[float]]]],
    *,
    log_y: bool,
    level: float | None = None,
) -> str:
    """The median over the runs of each optimizer as a line, all of them as a band.

    Args:
        name: prefix of the ids.
        description: for readers who cannot see it.
        curves: by optimizer, steps and values of each run.
        log_y: a logarithmic vertical axis.
        level: a value to compare with, dashed.
    """

    def paint(axes: Axes) -> None:
        for k, runs in enumerate(curves.values()):
            steps = sorted({s for run_steps, _ in runs for s in run_steps})
            found = [dict(zip(*run, strict=True)) for run in runs]
            seen = [[values[at] for values in found if at in values] for at in steps]
            style: Any = {"color": colour(lane(k)), "linestyle": _DASHES[k % len(_DASHES)]}
            axes.plot(steps, [median(v) for v in seen], **style, linewidth=1.4)
            low, high = [min(v) for v in seen], [max(v) for v in seen]
            axes.fill_between(steps, low, high, color=colour(lane(k)), alpha=0.12, linewidth=0)
        if level is not None:
            axes.axhline(level, color=colour("soft"), linewidth=1, linestyle=(0, (4, 3)))
        axes.set_xlabel("step")
        _ticks(axes, log_y=log_y)

    return figure(name, description, paint)


def dots(
    name: str,
    description: str,
    times: Times,
    intervals: Mapping[str, tuple[float, float]],
    *,
    label: str,
) -> str:
    """A row for each optimizer: a ring for each run, the median, the interval that holds it.

    Runs that missed stand beyond a dotted line at the right.
    """
    finite = [t for values in times.values() for t in values if math.isfinite(t)]
    missed = any(math.isinf(t) for values in times.values() for t in values)
    end = max(finite, default=1.0)
    beyond = 1.12 * end

    def at(value: float) -> float:
        return value if math.isfinite(value) else beyond

    def paint(axes: Axes) -> None:
        for k, (optimizer, values) in enumerate(times.items()):
            ink = colour(lane(k))
            low, high = intervals[optimizer]
            axes.plot([at(low), at(high)], [k, k], color=ink, linewidth=3, alpha=0.35)
            axes.plot([at(v) for v in values], [k] * len(values), "o", markersize=5.5, color=ink)
            axes.plot(
                [at(v) for v in values], [k] * len(values), "o", markersize=3, color=colour("paper")
            )
            axes.plot(at(median(values)), k, "|", markersize=14, markeredgewidth=2.4, color=ink)
        if missed:
            axes.axvline(1.05 * end, color=colour("soft"), linewidth=1, linestyle=(0, (1, 2)))
        axes.set_yticks(range(len(times)), list(times))
        axes.set_ylim(len(times) - 0.4, -0.6)
        axes.set_xlim(0, 1.18 * end if missed else 1.06 * end)
        axes.set_xlabel(label)
        axes.grid(visible=False)
        from matplotlib.ticker import MaxNLocator

        marks = [t for t in MaxNLocator(5).tick_values(0, end) if 0 <= t <= end]
        axes.set_xticks(
            [*marks, beyond] if missed else marks,
            [*(tick(m) for m in marks), "missed"] if missed else [tick(m) for m in marks],
        )

    return figure(name, description, paint, height=62 + ROW * len(times))


def profile(
    name: str, description: str, corners: Mapping[str, Sequence[tuple[float, float]]]
) -> str:
    """Share of seeds solved within a multiple of the fastest time, one staircase an optimizer."""
    most = max((x for steps in corners.values() for x, _ in steps), default=1.0)
    end = 1.1 * max(most, 1.2)

    def paint(axes: Axes) -> None:
        for k, steps in enumerate(corners.values()):
            xs = [1.0, *(x for x, _ in steps), end]
            ys = [0.0, *(y for _, y in steps), steps[-1][1] if steps else 0.0]
            style: Any = {"color": colour(lane(k)), "linestyle": _DASHES[k % len(_DASHES)]}
            axes.step(xs, ys, where="post", **style, linewidth=1.6)
        axes.set_xlim(0.98, end)
        axes.set_ylim(-0.03, 1.05)
        axes.set_xlabel("times the fewest steps of the seed")
        _ticks(axes, log_y=False)

    return figure(name, description, paint)


def scatter(
    name: str,
    description: str,
    points: Sequence[tuple[float, float]],
    *,
    label: str,
    log_x: bool = False,
    log_y: bool = False,
    best: Sequence[tuple[float, float]] = (),
    level: float | None = None,
    emphasised: tuple[float, float] | None = None,
) -> str:
    """Points, and what belongs to them.

    Args:
        name: prefix of the ids.
        description: for readers who cannot see it.
        points: what was measured.
        label: of the horizontal axis.
        log_x: a logarithmic horizontal axis.
        log_y: a logarithmic vertical axis.
        best: corners of the best value so far.
        level: a value to compare with, dashed.
        emphasised: the best point.
    """

    def paint(axes: Axes) -> None:
        if points:
            axes.plot(
                *zip(*points, strict=True), "o", markersize=4, color=colour("train"), alpha=0.6
            )
        if best:
            axes.step(*zip(*best, strict=True), where="post", color=colour("train"), linewidth=1.4)
        if level is not None:
            axes.axhline(level, color=colour("soft"), linewidth=1, linestyle=(0, (4, 3)))
        if emphasised is not None:
            axes.plot(*emphasised, "o", markersize=8, color=colour("accent"))
            axes.plot(*emphasised, "o", markersize=4, color=colour("paper"))
        axes.set_xlabel(label)
        _ticks(axes, log_y=log_y, log_x=log_x)

    return figure(name, description, paint)


def bars(name: str, description: str, shares: Mapping[str, float]) -> str:
    """A bar for each name, with its share at the end of it."""

    def paint(axes: Axes) -> None:
        axes.barh(range(len(shares)), list(shares.values()), color=colour("train"), height=0.5)
        for k, share in enumerate(shares.values()):
            axes.text(share, k, f" {share:.0%}", va="center", color=colour("ink"))
        axes.set_yticks(range(len(shares)), list(shares))
        axes.set_ylim(len(shares) - 0.4, -0.6)
        axes.set_xlim(0, 1.2 * max(shares.values()))
        axes.set_xticks([])
        axes.spines["bottom"].set_visible(False)
        axes.grid(visible=False)

    return figure(name, description, paint, height=40 + ROW * len(shares))


def pairs_of(
    name: str, description: str, pairs: Sequence[tuple[float, float]], *, label: str
) -> str:
    """A row for each pair: the default's value as a ring, the best trial's as a dot, and a line."""

    def paint(axes: Axes) -> None:
        for k, (best, default) in enumerate(pairs):
            axes.plot([default, best], [k, k], color=colour("soft"), linewidth=1)
            axes.plot(default, k, "o", markersize=6, color=colour("train"))
            axes.plot(default, k, "o", markersize=3, color=colour("paper"))
            axes.plot(best, k, "o", markersize=6, color=colour("accent"))
        axes.set_yticks([])
        axes.set_ylim(len(pairs) - 0.4, -0.6)
        axes.set_xlabel(label)
        axes.grid(visible=False)
        from matplotlib.ticker import FuncFormatter, MaxNLocator

        axes.xaxis.set_major_locator(MaxNLocator(5))
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: tick(value)))

    return figure(name, description, paint, height=62 + 15 * len(pairs))


def _ticks(axes: Axes, *, log_y: bool, log_x: bool = False) -> None:
    """Few marks with short labels."""
    from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullLocator

    for axis, log, scale in (
        (axes.xaxis, log_x, axes.set_xscale),
        (axes.yaxis, log_y, axes.set_yscale),
    ):
        if log:
            scale("log")
            low, high = axis.get_data_interval()
            few = high > 10 * low > 0  # marks a decade are enough
            subs = (1.0, 3.0) if few else (1.0, 1.5, 2.0, 3.0, 5.0, 7.0)
            axis.set_major_locator(LogLocator(subs=subs, numticks=6))
            axis.set_minor_locator(NullLocator())
        else:
            axis.set_major_locator(MaxNLocator(5))
        axis.set_major_formatter(FuncFormatter(lambda value, _: tick(value)))
