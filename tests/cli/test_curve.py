from __future__ import annotations

import math

from downslope.cli.curve import curve


def dots(lines: list[str]) -> int:
    return sum((ord(character) - 0x2800).bit_count() for line in lines for character in line)


def test_size() -> None:
    """The drawing has the width and height that were asked for."""
    lines = curve([1.0, 2.0], [3.0, 4.0], width=12, height=3)
    assert [len(line) for line in lines] == [12, 12, 12]


def test_a_rising_line_rises() -> None:
    """The first point is at the lower left, the last at the upper right."""
    lines = curve([0.0, 1.0], [0.0, 1.0], width=4, height=4)
    assert lines[-1][0] != "\u2800"
    assert lines[0][-1] != "\u2800"
    assert lines[0][0] == lines[-1][-1] == "\u2800"


def test_neighbours_are_joined() -> None:
    """Two points far apart are joined by a line without gaps."""
    assert dots(curve([0.0, 1.0], [0.0, 0.0], width=10, height=1)) == 20


def test_a_gap_stays_open() -> None:
    """A value that is not finite is not drawn, and nothing is drawn across it."""
    whole = dots(curve([0.0, 1.0, 2.0], [0.0, 0.0, 0.0], width=10, height=1))
    broken = dots(curve([0.0, 1.0, 2.0], [0.0, math.nan, 0.0], width=10, height=1))
    assert (whole, broken) == (20, 2)


def test_nothing_to_draw() -> None:
    """Without a finite value the drawing is blank."""
    assert dots(curve([1.0], [math.inf], width=5, height=2)) == 0
