"""What a range test tells while it runs: a bar on the terminal, an event to a caller."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

__all__ = ["reporter"]


@contextmanager
def reporter(
    iterations: int, on_step: Callable[[dict[str, Any]], None] | None, *, show: bool
) -> Iterator[Callable[[float, float], None]]:
    """A function that tells the caller and the progress bar how an iteration went.

    Args:
        iterations: how many there will be at most.
        on_step: told every one as an event.
        show: whether there is a bar.
    """
    count = 0
    with _bar(iterations, show=show) as update:

        def report(lr: float, loss: float) -> None:
            nonlocal count
            count += 1
            update(lr, loss)
            if on_step is not None:
                event = {"iteration": count, "iterations": iterations, "lr": lr}
                on_step({"event": "find_lr", **event, "loss": loss})

        yield report


@contextmanager
def _bar(iterations: int, *, show: bool) -> Iterator[Callable[[float, float], None]]:
    """A progress bar on the terminal's error stream; silent where there is none."""
    if not show:
        yield lambda lr, loss: None
        return
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
    )

    console = Console(stderr=True)
    columns = (
        TextColumn("range test"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        TextColumn("lr {task.fields[lr]:.1e}  loss {task.fields[loss]:.4g}"),
    )
    with Progress(*columns, console=console, disable=not console.is_terminal) as bar:
        task = bar.add_task("", total=iterations, lr=0.0, loss=math.nan)

        def update(lr: float, loss: float) -> None:
            bar.update(task, advance=1, lr=lr, loss=loss)

        yield update
