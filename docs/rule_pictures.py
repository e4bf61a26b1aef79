"""A picture for every optimizer's page: where it goes on two surfaces.

``conf.py`` calls :func:`write` before a build. A picture is drawn again when what it shows changes:
the rule's source, or how races are run and drawn.
"""

from __future__ import annotations

import hashlib
import inspect
from pathlib import Path

import torch
from matplotlib.figure import Figure
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from downslope import optim, race
from downslope.race import run
from downslope.report import _race

__all__ = ["pictured", "write"]

SURFACES = ("rosenbrock", "beale")


def pictured(cls: type[optim.Optimizer]) -> bool:
    """Whether an optimizer can run on two numbers, so that it can be drawn."""
    return not cls.rule.needs


def write(folder: Path) -> None:
    """Write ``NAME.png`` for every optimizer that can be drawn.

    Args:
        folder: where the pages are.
    """
    folder.mkdir(exist_ok=True)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    for name in optim.names():
        if pictured(optim.get(name)):
            stamp, path = _stamp(optim.get(name)), folder / f"{name}.png"
            if not path.exists() or Image.open(path).info.get("stamp") != stamp:
                _draw(name, path, stamp)
    torch.set_num_threads(threads)


def _stamp(cls: type[optim.Optimizer]) -> str:
    sources = (inspect.getmodule(cls.rule.update), run, _race, inspect.getmodule(_draw))
    text = "".join(inspect.getsource(s) for s in sources if s is not None)
    return hashlib.sha256(text.encode()).hexdigest()


def _draw(name: str, path: Path, stamp: str) -> None:
    figure = Figure(figsize=(8, 3), layout="constrained")
    for axes, where in zip(figure.subplots(1, len(SURFACES)), SURFACES, strict=True):
        surface = race.surface(where)
        lanes = race.race(surface, race.runners([name]))
        _race.draw_race(surface, lanes, axes)
        axes.set_title(f"{surface.title}, lr {lanes[0].paths[lanes[0].best].lr:g}", fontsize=9)
    figure.savefig(path, dpi=120)
    note = PngInfo()
    note.add_text("stamp", stamp)
    Image.open(path).quantize(64).save(path, optimize=True, pnginfo=note)
