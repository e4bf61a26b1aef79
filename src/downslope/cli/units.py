"""Sizes and ages as people read them."""

from __future__ import annotations

from ..errors import InputError

__all__ = ["in_bytes", "in_time", "minutes"]


def in_bytes(size: float) -> str:
    """A size in the largest unit that leaves at least 1.

    >>> in_bytes(17), in_bytes(2_500_000)
    ('17 B', '2.5 MB')
    """
    for unit in ("B", "kB", "MB", "GB"):
        if size < 1000:
            return f"{size:.3g} {unit}"
        size /= 1000
    return f"{size:.3g} TB"


def in_time(seconds: float) -> str:
    """A time in whole units of the largest kind that fits.

    >>> in_time(59), in_time(7_300), in_time(86_400)
    ('59 s', '2 h', '1 d')
    """
    for unit, length in (("d", 86_400), ("h", 3_600), ("min", 60)):
        if seconds >= length:
            return f"{seconds // length:.0f} {unit}"
    return f"{max(seconds, 0):.0f} s"


def minutes(text: str) -> float:
    """A time with its unit, in minutes; minutes where it has none.

    Raises:
        InputError: something else.

    >>> minutes("90s"), minutes("5m"), minutes("2h"), minutes("7")
    (1.5, 5.0, 120.0, 7.0)
    """
    factors = {"s": 1 / 60, "m": 1.0, "h": 60.0}
    number, factor = (text[:-1], factors[text[-1]]) if text[-1:] in factors else (text, 1.0)
    try:
        return float(number) * factor
    except ValueError:
        raise InputError(
            f"A time is a number of minutes, or one with s, m or h, such as 90s; got {text!r}."
        ) from None
