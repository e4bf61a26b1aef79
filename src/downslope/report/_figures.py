"""Curves, drawn with matplotlib and returned as inline SVG. matplotlib is imported on first use."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from ._history import Series, spread
from ._svg import STYLE, colour, inline_svg

__all__ = ["Curve", "Mark", "draw"]

#: CSS pixels at one to one, which is how a phone shows a figure.
WIDTH, HEIGHT = 360, 220
#: Over more decades than this, a linear axis would hide the small values.
LOG_FROM = 1.5


@dataclass(frozen=True)
class Curve:
    """A series and its look: ``colour`` is one of the page's, ``faint`` is for what is noisy."""

    series: Series
    colour: str
    faint: bool = False


@dataclass(frozen=True)
class Mark:
    """A point worth finding on a curve."""

    x: float
    y: float
    colour: str


def draw(
    name: str,
    description: str,
    curves: Sequence[Curve],
    *,
    x_label: str = "step",
    log_x: bool = False,
    linear_y: bool = False,
    band: tuple[float, float] | None = None,
    level: float | None = None,
    x_end: float | None = None,
    marks: Sequence[Mark] = (),
) -> str:
    """One figure as an ``<svg>`` element.

    Args:
        name: prefix of its ids.
        description: what it shows, for readers who cannot see it.
        curves: what to draw.
        x_label: what the horizontal axis counts.
        log_x: a logarithmic horizontal axis.
        linear_y: a linear vertical axis, also where many orders of magnitude would ask for a
            logarithmic one.
        band: a shaded interval of x.
        level: a value of y to compare with, drawn as a dashed line.
        x_end: how far the horizontal axis reaches where the curves may not, from 0.
        marks: points to emphasise.
    """
    from matplotlib import rc_context
    from matplotlib.figure import Figure
    from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullLocator

    with rc_context(STYLE):
        figure = Figure((WIDTH / 72, HEIGHT / 72), layout="constrained")
        axes = figure.subplots()
        for curve in curves:
            thin = curve.series.thinned()
            axes.plot(
                thin.steps,
                thin.values,
                color=colour(curve.colour),
                alpha=0.4 if curve.faint else 1.0,
                linewidth=0.8 if curve.faint else 1.6,
                marker="" if len(thin.steps) > 1 else "o",
                markersize=3,
            )
        if band is not None:
            axes.axvspan(*band, color=colour("accent"), alpha=0.15, linewidth=0)
        if level is not None:
            axes.axhline(level, color=colour("soft"), linewidth=1, linestyle=(0, (4, 3)))
        for mark in marks:
            axes.plot(mark.x, mark.y, "o", markersize=7.5, color=colour(mark.colour))
            axes.plot(mark.x, mark.y, "o", markersize=4, color=colour("paper"))
        axis_x, axis_y = axes.xaxis, axes.yaxis
        if log_x:
            axes.set_xscale("log")
            axis_x.set_major_locator(LogLocator(numticks=7))
            axis_x.set_minor_locator(NullLocator())
        else:
            axis_x.set_major_locator(MaxNLocator(6, integer=True))
            if x_end is not None:
                axes.set_xlim(-0.02 * x_end, 1.02 * x_end)
        decades = math.log10(spread([c.series for c in curves]))
        if decades > LOG_FROM and not linear_y:
            axes.set_yscale("log")
            axis_y.set_major_locator(
                LogLocator(subs=(1.0, 3.0) if decades < 3 else (1.0,), numticks=6)
            )
            axis_y.set_minor_locator(NullLocator())
        else:
            axis_y.set_major_locator(MaxNLocator(5))
        axis_x.set_major_formatter(FuncFormatter(lambda value, _: tick(value, powers=log_x)))
        axis_y.set_major_formatter(FuncFormatter(lambda value, _: tick(value)))
        axes.set_xlabel(x_label)
        return inline_svg(figure, name, description)


_SUPERSCRIPTS = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


def tick(value: float, *, powers: bool = False) -> str:
    """A short label: plain numbers where they are short, powers of ten where they are not.

    Args:
        value: the number.
        powers: powers of ten from 0.1 down and from 100 up, as suits an axis of many decades.

    >>> tick(0.05), tick(1200), tick(1e-7), tick(2.5e-5), tick(0.01, powers=True)
    ('0.05', '1200', '10⁻⁷', '2.5·10⁻⁵', '10⁻²')
    """
    low, high = (0.5, 50.0) if powers else (1e-4, 1e5)
    if value == 0 or low <= abs(value) < high:
        return f"{value:.6g}"
    exponent = math.floor(math.log10(abs(value)) + 1e-9)
    power = "10" + str(exponent).translate(_SUPERSCRIPTS)
    factor = f"{value / 10**exponent:.3g}"
    return power if factor == "1" else f"{factor}·{power}"
