"""A small curve drawn with braille dots: two across and four down in each character."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence

__all__ = ["WIDTH", "curve", "labelled"]

WIDTH, HEIGHT = 64, 10  # of a labelled drawing, in characters

Dot = tuple[int, int]  # column and row, both counted from the lower left

_DOTS = ((0x01, 0x02, 0x04, 0x40), (0x08, 0x10, 0x20, 0x80))  # by column, then row


def curve(
    xs: Sequence[float], ys: Sequence[float], *, width: int = 60, height: int = 10
) -> list[str]:
    r"""Lines of text that show ``ys`` over ``xs``; values that are not finite leave a gap.

    Args:
        xs: ascending.
        ys: as many.
        width: in characters.
        height: in lines.

    >>> print("\n".join(curve([0, 1, 2, 3], [0, 1, 2, 3], width=4, height=2)))
    ⠀⠀⡠⠊
    ⡠⠊⠀⠀
    """
    points = [(x, y) for x, y in zip(xs, ys, strict=True)]
    finite = [(x, y) for x, y in points if math.isfinite(x) and math.isfinite(y)]
    cells = [[0] * width for _ in range(height)]
    if finite:
        across = _scale([x for x, _ in finite], 2 * width - 1)
        up = _scale([y for _, y in finite], 4 * height - 1)
        dots = [
            (across(x), up(y)) if math.isfinite(x) and math.isfinite(y) else None for x, y in points
        ]
        for a, b in zip(dots, [*dots[1:], None], strict=True):
            for column, row in _line(a, b):
                line = 4 * height - 1 - row
                cells[line // 4][column // 2] |= _DOTS[column % 2][line % 4]
    return ["".join(chr(0x2800 + cell) for cell in row) for row in cells]


def labelled(
    xs: Sequence[float],
    ys: Sequence[float],
    *,
    ends: tuple[str, str] | None = None,
    axis: str = "─" * WIDTH,
) -> list[str]:
    r"""A :func:`curve` with its highest and lowest value beside it and its ends below.

    Args:
        xs: ascending.
        ys: as many.
        ends: what stands below the first and the last column; None is the first and last x.
        axis: the line below the curve.

    >>> print("\n".join(line.rstrip() for line in labelled([0, 9], [2, 2])[-2:]))
      ────────────────────────────────────────────────────────────────
      0                                                              9
    """
    high, low = f"{max(ys):.3g}", f"{min(ys):.3g}"
    margin = max(len(high), len(low))
    labels = [high, *[""] * (HEIGHT - 2), low]
    picture = curve(xs, ys, width=WIDTH, height=HEIGHT)
    first, last = ends or (f"{xs[0]:g}", f"{xs[-1]:g}")
    return [
        *(f"{a:>{margin}} {b}" for a, b in zip(labels, picture, strict=True)),
        " " * (margin + 1) + axis,
        " " * (margin + 1) + first + last.rjust(WIDTH - len(first)),
    ]


def _scale(values: list[float], top: int) -> Callable[[float], int]:
    """Map the span of ``values`` onto 0..top; a single value lies in the middle."""
    low, high = min(values), max(values)
    if high == low:
        return lambda value: top // 2
    return lambda value: round((value - low) / (high - low) * top)


def _line(a: Dot | None, b: Dot | None) -> Iterator[Dot]:
    """The dots from ``a`` to ``b``; none without a start, one without an end."""
    if a is None:
        return
    if b is None:
        b = a
    count = max(abs(b[0] - a[0]), abs(b[1] - a[1]), 1)
    for i in range(count + 1):
        yield a[0] + round((b[0] - a[0]) * i / count), a[1] + round((b[1] - a[1]) * i / count)
