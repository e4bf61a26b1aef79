"""Two-dimensional surfaces that optimizers are compared on, each with what it is known for."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from ..errors import unknown

__all__ = ["SURFACES", "Surface", "surface"]


@dataclass(frozen=True)
class Surface:
    """A function of two numbers.

    Args:
        name: as in ``downslope race NAME``.
        title: in words.
        formula: as it is written.
        value: the function; arithmetic only, so numbers, arrays and tensors will do.
        start: where optimizers begin.
        window: left, right, bottom, top of the picture.
        minima: its lowest points.
        shows: what to look for.
        noise: standard deviation of what is added to each gradient component.
        seen: the second gradient component is 0 except in every so many-th step, and as many times
            as large then: a feature that is rare.
    """

    name: str
    title: str
    formula: str
    value: Callable[[Any, Any], Any]
    start: tuple[float, float]
    window: tuple[float, float, float, float]
    minima: tuple[tuple[float, float], ...]
    shows: str
    noise: float = 0.0
    seen: int = 1


def _ravine(x: Any, y: Any) -> Any:
    return 0.1 * x**2 + 2 * y**2


#: Every surface by its name.
SURFACES = {
    s.name: s
    for s in (
        Surface(
            "ravine",
            "A ravine",
            "x²/10 + 2y²",
            _ravine,
            (-4.5, 1.6),
            (-5, 2.5, -2, 2),
            ((0, 0),),
            "Plain SGD is held back by the steep direction; momentum and adaptive steps are not.",
        ),
        Surface(
            "rosenbrock",
            "Rosenbrock's valley",
            "(1 - x)² + 100(y - x²)²",
            lambda x, y: (1 - x) ** 2 + 100 * (y - x**2) ** 2,
            (-1.4, 1.8),
            (-2, 2, -1, 3),
            ((1, 1),),
            "The valley is found at once; following its bend takes momentum or curvature.",
        ),
        Surface(
            "beale",
            "Beale's function",
            "(1.5 - x + xy)² + (2.25 - x + xy²)² + (2.625 - x + xy³)²",
            lambda x, y: (
                (1.5 - x + x * y) ** 2 + (2.25 - x + x * y**2) ** 2 + (2.625 - x + x * y**3) ** 2
            ),
            (0.6, 1.4),
            (-1, 4.5, -2, 2),
            ((3, 0.5),),
            "Steep walls around a plain: one learning rate cannot serve both.",
        ),
        Surface(
            "himmelblau",
            "Himmelblau's function",
            "(x² + y - 11)² + (x + y² - 7)²",
            lambda x, y: (x**2 + y - 11) ** 2 + (x + y**2 - 7) ** 2,
            (-0.3, -0.9),
            (-5.5, 5.5, -5.5, 5.5),
            ((3, 2), (-2.805118, 3.131312), (-3.77931, -3.283186), (3.584428, -1.848126)),
            "Four minima, equally deep: from one place optimizers come to different ones.",
        ),
        Surface(
            "saddle",
            "A saddle",
            "x² - y² + y⁴/4",
            lambda x, y: x**2 - y**2 + y**4 / 4,
            (1.6, 0.01),
            (-2, 2, -2.2, 2.2),
            ((0, 2**0.5), (0, -(2**0.5))),
            "Almost no gradient leads away from the saddle: adaptive steps leave it first.",
        ),
        Surface(
            "noisy",
            "A ravine in noise",
            "x²/10 + 2y², gradients ± 1",
            _ravine,
            (-4.5, 1.6),
            (-5, 2.5, -2, 2),
            ((0, 0),),
            "With noisy gradients the rate decides how near to the minimum a method can stay.",
            noise=1.0,
        ),
        Surface(
            "sparse",
            "A rare feature",
            "(x² + y²)/2, y seen in every 10th step",
            lambda x, y: (x**2 + y**2) / 2,
            (-2, 2),
            (-2.5, 1.5, -1, 2.5),
            ((0, 0),),
            "y gets a gradient seldom: Adagrad keeps its step large for it.",
            seen=10,
        ),
    )
}


def surface(name: str) -> Surface:
    """The surface of a name.

    Raises:
        InputError: there is none; the nearest name is offered.

    >>> surface("saddle").formula
    'x² - y² + y⁴/4'
    """
    if name not in SURFACES:
        raise unknown("surface", name, SURFACES)
    return SURFACES[name]
