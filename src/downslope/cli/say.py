"""Lines that a terminal shows as they are."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console

__all__ = ["say"]


def say(console: Console, text: str) -> None:
    """Print text that may hold brackets, numbers and paths: no markup, colours or line breaks.

    >>> from rich.console import Console
    >>> say(Console(), "[red] is a layer's name")
    [red] is a layer's name
    """
    console.print(text, highlight=False, markup=False, soft_wrap=True)
