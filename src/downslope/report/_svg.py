"""A matplotlib figure as inline SVG whose colours belong to the page, not to the figure.

Figures are drawn in the placeholder colours of :data:`COLOURS`; here each becomes a CSS variable,
so one drawing serves the light and the dark page. Text stays text, in the page's font.
"""

from __future__ import annotations

import io
import re
import xml.etree.ElementTree as ET
from typing import TYPE_CHECKING, Any

from ..errors import InputError

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["COLOURS", "LANES", "STYLE", "inline_svg"]

#: Placeholder colour in the drawing -> what the style sheet calls it.
COLOURS = {
    "#010101": "--ink",
    "#020202": "--soft",
    "#030303": "--rule",
    "#040404": "--train",
    "#050505": "--validation",
    "#060606": "--accent",
    "#070707": "--paper",
    **{f"#{k:02x}{k:02x}{k:02x}": f"--lane-{k - 8}" for k in range(8, 16)},
}
LANES = 8  #: colours for things that stand side by side, ``lane-0`` and so on
_NAMED = {variable[2:]: colour for colour, variable in COLOURS.items()}
_HEX = re.compile(r"#[0-9a-fA-F]{6}\b")
_SVG, _XLINK = "http://www.w3.org/2000/svg", "http://www.w3.org/1999/xlink"
_FONT = re.compile(r"font:\s*(?P<size>[\d.]+px)[^;]*")
_FAMILY = re.compile(r"font-family:[^;]*;?\s*")

#: The look of every figure. Sizes are CSS pixels on a phone, where a figure is drawn one to one.
STYLE: Any = {  # matplotlib types the keys of its settings one by one
    "axes.edgecolor": _NAMED["soft"],
    "axes.facecolor": "none",
    "axes.grid": True,
    "axes.grid.axis": "y",
    "axes.labelcolor": _NAMED["soft"],
    "axes.linewidth": 0.8,
    "axes.prop_cycle": f"cycler('color', ['{_NAMED['train']}', '{_NAMED['validation']}'])",
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.spines.left": False,
    "figure.dpi": 72,
    "figure.facecolor": "none",
    "font.family": "DejaVu Sans",  # measures the labels; the page draws them in its own font
    "font.size": 11,
    "grid.color": _NAMED["rule"],
    "grid.linewidth": 0.8,
    "lines.linewidth": 1.6,
    "lines.solid_capstyle": "round",
    "savefig.facecolor": "none",
    "svg.fonttype": "none",
    "svg.hashsalt": "downslope",
    "text.color": _NAMED["ink"],
    "xtick.color": _NAMED["soft"],
    "xtick.labelcolor": _NAMED["soft"],
    "xtick.major.size": 3,
    "ytick.color": _NAMED["soft"],
    "ytick.labelcolor": _NAMED["soft"],
    "ytick.major.size": 0,
    "ytick.minor.size": 0,
}


def colour(name: str) -> str:
    """The placeholder to draw in for a colour of the page.

    >>> colour("train")
    '#040404'
    """
    return _NAMED[name]


def inline_svg(figure: Figure, name: str, description: str) -> str:
    """A figure as one ``<svg>`` element for an HTML page.

    Args:
        figure: drawn under :data:`STYLE`, in colours of :data:`COLOURS`.
        name: a short word; every id in the element starts with it, so figures do not collide.
        description: what a reader who cannot see the figure is told.

    Raises:
        InputError: the figure has a colour that is not the page's.
    """
    buffer = io.StringIO()
    figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None})
    ET.register_namespace("", _SVG)
    root = ET.fromstring(buffer.getvalue())
    for parent in list(root.iter()):
        for child in list(parent):
            if child.tag in {f"{{{_SVG}}}metadata", f"{{{_SVG}}}style"}:
                parent.remove(child)
    _rename_ids(root, name)
    for element in root.iter():
        if "style" in element.attrib:
            element.set("style", _restyle(element.get("style", "")))
    attributes = {"viewBox": root.get("viewBox", ""), "role": "img", "aria-label": description}
    root.attrib.clear()
    root.attrib.update(attributes)
    text = ET.tostring(root, encoding="unicode").replace(f' xmlns:ns1="{_XLINK}"', "")
    return re.sub(r">\s+<", "><", text)


def _rename_ids(root: ET.Element, name: str) -> None:
    """Give the ids that are referred to a prefix, drop the others, and write plain ``href``."""
    used = set(re.findall(r"url\(#([^)]+)\)", " ".join(_attributes(root))))
    for element in root.iter():
        if reference := element.attrib.pop(f"{{{_XLINK}}}href", None):
            used.add(reference[1:])
            element.set("href", f"#{name}-{reference[1:]}")
    for element in root.iter():
        identity = element.attrib.pop("id", None)
        if identity in used:
            element.set("id", f"{name}-{identity}")
        for key, value in element.attrib.items():
            element.set(key, re.sub(r"url\(#([^)]+)\)", rf"url(#{name}-\1)", value))


def _attributes(root: ET.Element) -> list[str]:
    return [value for element in root.iter() for value in element.attrib.values()]


def _restyle(style: str) -> str:
    """CSS variables for placeholder colours, the page's font for matplotlib's.

    >>> _restyle("fill: none; stroke: #040404")
    'fill: none; stroke: var(--train)'
    >>> _restyle("font: 11px 'DejaVu Sans'; text-anchor: middle")
    'font-size: 11px; text-anchor: middle'
    """
    return _HEX.sub(_variable, _FONT.sub(r"font-size: \g<size>", _FAMILY.sub("", style)))


def _variable(match: re.Match[str]) -> str:
    placeholder = match.group().lower()
    if placeholder not in COLOURS:
        raise InputError(
            f"A figure of the report is drawn in {placeholder}, which has no twin for the dark "
            f"page. Use one of downslope.report's colours: {', '.join(_NAMED)}."
        )
    return f"var({COLOURS[placeholder]})"
