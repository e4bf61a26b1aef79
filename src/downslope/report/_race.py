"""A race on a surface as one self-contained page, and as a picture."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from html import escape
from importlib.resources import files
from pathlib import Path
from string import Template
from typing import TYPE_CHECKING

import numpy as np

from .. import __version__
from ..files import write_atomically

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from ..race import Lane, Surface

__all__ = ["draw_race", "write_race"]

WIDTH, HEIGHT = 720, 540  # of the drawing, in its own units
LEVELS = 16
GRID = 140
#: Colours that differ in lightness too; the page's light and dark styles have their own.
COLOURS = ("#2a6db0", "#b8501a", "#2e8540", "#7a5bb5", "#b02a5b", "#8a6d00", "#00798c", "#555555")


def write_race(surface: Surface, lanes: Sequence[Lane], path: Path) -> Path:
    """Write the page: play, scrub, choose optimizers and their rates, hover for values."""
    own = files(__package__)
    data = {
        "width": WIDTH,
        "height": HEIGHT,
        "steps": max(len(p.values) for lane in lanes for p in lane.paths) - 1,
        "lanes": [
            {
                "name": lane.name,
                "best": lane.best,
                "paths": [
                    {
                        "lr": p.lr,
                        "points": np.round(_place(surface, p.points), 1).tolist(),
                        "values": [_short(v) for v in p.values],
                    }
                    for p in lane.paths
                ],
            }
            for lane in lanes
        ],
    }
    text = Template(own.joinpath("race.html").read_text("utf-8")).substitute(
        version=__version__,
        title=escape(surface.title),
        formula=escape(surface.formula),
        shows=escape(surface.shows),
        style=own.joinpath("style.css").read_text("utf-8")
        + own.joinpath("race.css").read_text("utf-8"),
        script=own.joinpath("race.js").read_text("utf-8"),
        data=json.dumps(data, separators=(",", ":")).replace("<", "\\u003c"),
        contours=_contours(surface),
        minima="".join(
            f'<path class="minimum" d="M{x - 6:.1f} {y:.1f}h12M{x:.1f} {y - 6:.1f}v12"/>'
            for x, y in _place(surface, np.array(surface.minima, float))
        ),
        width=WIDTH,
        height=HEIGHT,
    )
    write_atomically(path, text)
    return path


def draw_race(surface: Surface, lanes: Sequence[Lane], axes: Axes) -> None:
    """The whole paths, each at its best rate, over the contours."""
    left, right, bottom, top = surface.window
    x, y, z = _grid(surface)
    axes.contour(x, y, np.log(z), LEVELS, colors="0.8", linewidths=0.7)
    for lane, colour in zip(lanes, _colours(len(lanes)), strict=True):
        path = lane.paths[lane.best]
        label = f"{lane.name}, lr {path.lr:g}: {path.score:.1e}"
        axes.plot(*path.points.T, color=colour, lw=1.4, label=label)
        axes.plot(*path.points[-1], "o", color=colour, ms=5)
    axes.plot(*np.array(surface.minima, float).T, "k+", ms=10)
    axes.set(xlim=(left, right), ylim=(bottom, top), title=f"{surface.title}: {surface.formula}")
    axes.legend(fontsize=8, loc="best", framealpha=0.9)


def _colours(count: int) -> list[str]:
    return [COLOURS[k % len(COLOURS)] for k in range(count)]


def _grid(surface: Surface) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Coordinates, and how far the surface is above its lowest value, for a logarithm."""
    left, right, bottom, top = surface.window
    x, y = np.meshgrid(np.linspace(left, right, GRID), np.linspace(bottom, top, GRID))
    z = surface.value(x, y)
    lowest = min(surface.value(*m) for m in surface.minima)
    return x, y, z - lowest + 1e-3 * (z.max() - lowest)


def _contours(surface: Surface) -> str:
    """Level lines as SVG paths, evenly spaced in the logarithm."""
    from contourpy import contour_generator

    x, y, z = _grid(surface)
    height = np.log(z)
    lines = contour_generator(x, y, height)
    parts = []
    for level in np.linspace(height.min(), height.max(), LEVELS + 2)[1:-1]:
        drawn = "".join(_drawn(_place(surface, np.array(c))) for c in lines.lines(level))
        parts.append(f'<path d="{drawn}"/>')
    return "".join(parts)


def _drawn(points: np.ndarray) -> str:
    return "M" + "L".join(f"{x:.0f} {y:.0f}" for x, y in points)


def _place(surface: Surface, points: np.ndarray) -> np.ndarray:
    """Points of the surface in the drawing's units, the origin at the top left."""
    left, right, bottom, top = surface.window
    x = (points[:, 0] - left) / (right - left) * WIDTH
    y = (top - points[:, 1]) / (top - bottom) * HEIGHT
    return np.clip(np.stack([x, y], 1), -9999, 9999)


def _short(value: float) -> float | None:
    return float(f"{value:.4g}") if math.isfinite(value) else None
