"""A progress bar for what takes long and is not training."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator

__all__ = ["bar"]


@contextlib.contextmanager
def bar(*, shown: bool = True) -> Iterator[Callable[[str, float], None] | None]:
    """A bar with the time left, on a terminal, gone when it is done; nothing elsewhere.

    Args:
        shown: whether there is to be one at all.

    Yields:
        what is told the work at hand and how much of it is done, from 0 to 1.
    """
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

    console = Console(stderr=True)
    if not (shown and console.is_terminal):
        yield None
        return
    columns = (TextColumn("{task.description}"), BarColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True) as progress:
        works: dict[str, TaskID] = {}

        def tell(work: str, share: float) -> None:
            if work not in works:
                works[work] = progress.add_task(work, total=1.0)
            progress.update(works[work], completed=share)

        yield tell
