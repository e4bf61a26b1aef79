"""How far an experiment has come: a bar on a terminal, and a line for each finished run."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from types import TracebackType
from typing import Any, Self

import typer

from .app import INTERRUPTED
from .say import say

__all__ = ["Phases", "interrupted"]

Event = dict[str, Any]


class Phases:
    """Listens to the events of :func:`downslope.compare` and :func:`downslope.tune`.

    The bar begins with the first event: by then workers are forked, which must not happen while
    the bar's thread runs.

    Args:
        quiet: say nothing.
    """

    def __init__(self, *, quiet: bool) -> None:
        self._quiet = quiet
        self._bar: Any = None
        self._task: Any = None

    def __call__(self, event: Event) -> None:
        """Take in an event."""
        if self._quiet:
            return
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeElapsedColumn

        if self._bar is None:
            self._bar = Progress(
                "{task.description}",
                BarColumn(),
                MofNCompleteColumn(),
                TimeElapsedColumn(),
                console=Console(),
                transient=True,
            )
            if self._bar.console.is_terminal:
                self._bar.start()
        if event["event"] == "phase":
            if self._task is not None:
                self._bar.remove_task(self._task)
            self._task = self._bar.add_task(
                event["name"], total=event["jobs"], completed=event["done"]
            )
            say(self._bar.console, f"{event['name']}: {event['jobs'] - event['done']} to do")
        else:
            self._bar.advance(self._task)
            say(self._bar.console, f"  {_line(event)}")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._bar is not None:
            self._bar.stop()


def _line(event: Event) -> str:
    """A finished job in a line."""
    if event["event"] == "search":
        job = event["job"]
        return _job(job.kind, job.recipe.optimizer, job.number, job.recipe.lr, event["result"])
    lr = event["recipe"]["lr"]
    return _job(event["event"], event["label"], event["number"], lr, event["result"])


def _job(what: str, label: str, number: int, lr: float | None, result: Event) -> str:
    """What was done of what, and what came out.

    >>> _job("range test", "adam", 0, None, {"suggestion": 0.00213})
    'adam         lr 0.00213'
    >>> seen = {"curve": [], "ending": "pruned", "finding": "lr too high"}
    >>> _job("trial", "adam", 3, 0.1, seen)
    'adam         trial 3   lr 0.1      ; pruned: lr too high'
    """
    name = f"{label:12}"
    if what == "probe":
        return f"{name} {1e3 * result['seconds'] / result['steps']:.1f} ms a step"
    if what == "range test":
        found = result["suggestion"]
        return f"{name} lr {found:.3g}" if found else f"{name} no lr found: {result['reason']}"
    which = f"{'seed' if what == 'run' else what} {number}"
    told = f"{name} {which:9} lr {lr:<9.3g}"
    if result.get("curve"):
        step, metric, loss = result["curve"][-1]
        told += f" metric {metric:.4g}, loss {loss:.4g} after {step} steps"
    if result.get("value") is not None:
        told += f" {result['value']:.5g}"
    if result["ending"] in ("diverged", "pruned"):
        told += f"; {result['ending']}{': ' * bool(result['finding'])}{result['finding']}"
    return told


@contextlib.contextmanager
def interrupted() -> Iterator[None]:
    """End in a line and exit code 130 where somebody stopped the experiment."""
    from ..tuning.work import Interrupted

    try:
        yield
    except (KeyboardInterrupt, Interrupted):
        typer.echo("interrupted; start the same command again to go on", err=True)
        raise typer.Exit(INTERRUPTED) from None
