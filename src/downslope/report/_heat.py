"""The gradients of all tensors over a run, as a heat map in inline SVG."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from ._figures import tick

__all__ = ["ROWS", "heat_map", "layers"]

ROWS, COLUMNS = 24, 40  # most of each
WIDTH, LABELS, CELL, FOOT = 360, 132, 15, 30
LONGEST = 20  # characters of a name
FAINTEST = 0.08  # opacity of the smallest value

Norms = Mapping[str, float | None]


def layers(looks: Sequence[Mapping[str, Any]]) -> list[tuple[float, dict[str, float]]]:
    """The gradient norm of each layer at each look: ``(step, name -> norm)``.

    Tensors are layers as long as there are few; else those of a module count as one, their norms
    added as lengths at right angles. NaN stands for a norm that is not finite.

    Args:
        looks: ``monitor`` events of a run.

    >>> seen = {"0.weight": {"grad_norm": 3.0}, "0.bias": {"grad_norm": 4.0}}
    >>> layers([{"step": 1, "tensors": seen}])
    [(1.0, {'0.weight': 3.0, '0.bias': 4.0})]
    """
    looks = [look for look in looks if look.get("tensors")]
    names = list(dict.fromkeys(name for look in looks for name in look["tensors"]))
    depth = max((name.count(".") + 1 for name in names), default=1)
    while depth > 1 and len({_cut(name, depth) for name in names}) > ROWS:
        depth -= 1
    found = []
    for look in _spread(looks, COLUMNS):
        squares: dict[str, float] = {}
        for name, seen in look["tensors"].items():
            norm = math.nan if seen["grad_norm"] is None else seen["grad_norm"]
            layer = _cut(name, depth)
            squares[layer] = squares.get(layer, 0.0) + norm * norm
        found.append((float(look["step"]), {k: math.sqrt(v) for k, v in squares.items()}))
    return found


def heat_map(columns: Sequence[tuple[float, Mapping[str, float]]]) -> str:
    """An ``<svg>`` element: a row a layer, a column a look, darker where the norm is larger.

    The scale is logarithmic. A norm that is not finite has the colour of what needs attention.

    Args:
        columns: as :func:`layers` has them; at least one number among them is positive.
    """
    rows = _spread(list(dict.fromkeys(name for _, norms in columns for name in norms)), ROWS)
    positive = [v for _, norms in columns for v in norms.values() if v > 0]
    low, high = math.log10(min(positive)), math.log10(max(positive))
    width = (WIDTH - LABELS) / len(columns)
    cells = []
    for y, name in enumerate(rows):
        short = name if len(name) <= LONGEST else "…" + name[1 - LONGEST :]
        cells.append(
            f'<text x="{LABELS - 6}" y="{y * CELL + 11}" text-anchor="end">{escape(short)}</text>'
        )
        for x, (step, norms) in enumerate(columns):
            if name in norms:
                place = LABELS + x * width, y * CELL, width
                cells.append(_cell(name, step, norms[name], place, (low, high)))
    foot = len(rows) * CELL + 18
    for x, (step, _) in ((0, columns[0]), (len(columns) - 1, columns[-1])):
        anchor = "start" if x == 0 else "end"
        at = LABELS if x == 0 else WIDTH
        cells.append(f'<text x="{at}" y="{foot}" text-anchor="{anchor}">step {step:g}</text>')
    return (
        f'<svg viewBox="0 0 {WIDTH} {len(rows) * CELL + FOOT}" role="img" '
        f'aria-label="{escape(_told(columns, rows))}" '
        f'style="font-size: 10px; fill: var(--soft)">{"".join(cells)}</svg>'
    )


def _cell(
    name: str,
    step: float,
    norm: float,
    place: tuple[float, float, float],
    scale: tuple[float, float],
) -> str:
    low, high = scale
    x, y, width = place
    if math.isnan(norm):
        look, told = 'fill="var(--accent)"', "not finite"
    else:
        share = (math.log10(norm) - low) / (high - low or 1) if norm > 0 else 0.0
        opacity = FAINTEST + (1 - FAINTEST) * share if norm > 0 else 0.0
        look, told = f'fill="var(--train)" fill-opacity="{opacity:.2f}"', _short(norm)
    return (
        f'<rect x="{x:.1f}" y="{y}" width="{width:.1f}" height="{CELL - 1}" {look}>'
        f"<title>{escape(name)}, step {step:g}: {told}</title></rect>"
    )


def _told(columns: Sequence[tuple[float, Mapping[str, float]]], rows: Sequence[str]) -> str:
    last = {k: v for k, v in columns[-1][1].items() if v > 0} or {rows[0]: 0.0}
    largest, smallest = max(last, key=last.__getitem__), min(last, key=last.__getitem__)
    return (
        f"Heat map: gradient norm of {len(rows)} layers at {len(columns)} steps. At step "
        f"{columns[-1][0]:g} it is largest in {largest}, {_short(last[largest])}, and smallest "
        f"in {smallest}, {_short(last[smallest])}."
    )


def _short(value: float) -> str:
    return tick(float(f"{value:.3g}"))


def _cut(name: str, depth: int) -> str:
    return ".".join(name.split(".")[:depth])


def _spread(items: Sequence[Any], most: int) -> list[Any]:
    """At most so many of them, evenly, the first and the last included."""
    if len(items) <= most:
        return list(items)
    return [items[k * (len(items) - 1) // (most - 1)] for k in range(most)]
