"""Plots that a command writes beside what it prints."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import InputError

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["check_plot", "save_plot"]


def check_plot(path: Path) -> None:
    """Refuse a plot that could not be written, before time is spent on what it shows."""
    from matplotlib.figure import Figure

    formats = Figure().canvas.get_supported_filetypes()
    if path.suffix.lower().removeprefix(".") not in formats:
        raise InputError(
            f"--plot: {str(path)!r} does not end in a format that can be drawn. "
            f"Allowed: {', '.join(sorted(formats))}."
        )
    if not path.parent.is_dir():
        raise InputError(f"--plot: there is no folder {str(path.parent)!r} to write into.")


def save_plot(draw: Callable[[Axes], object], path: Path) -> None:
    """Draw on new axes and write them; the suffix says the format."""
    from matplotlib.figure import Figure

    figure = Figure((7, 4), layout="constrained")
    draw(figure.subplots())
    figure.savefig(path, dpi=150)
