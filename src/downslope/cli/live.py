"""What the terminal shows while a run trains: a live view, or one line an epoch."""

from __future__ import annotations

from types import TracebackType
from typing import Self

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.panel import Panel
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from ..doctor.finding import healing
from .progress import Event, Progress, clock
from .say import say

__all__ = ["LiveView", "PlainView", "view_for"]

REFRESHES_A_SECOND = 8
NARROW = 72  # columns below which the numbers stand in two rows


def view_for(console: Console, title: str) -> LiveView | PlainView:
    """The live view on a terminal, plain lines anywhere else."""
    return LiveView(console, title) if console.is_terminal else PlainView(console)


class PlainView:
    """One line when training starts, and one an epoch: for files, pipes and continuous integration.

    Args:
        console: where the lines go.
    """

    def __init__(self, console: Console) -> None:
        self._console = console
        self._progress = Progress()

    def __call__(self, event: Event) -> None:
        """Take in one event of the loop."""
        self._progress.update(event)
        if event["event"] == "start":
            self.tell(_started(self._progress))
        elif event["event"] == "validation":
            self.tell(_epoch_line(self._progress))
        elif event["event"] == "heal":
            self.tell(healing(event))

    def tell(self, text: str) -> None:
        """Say something in between."""
        say(self._console, text)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Nothing is left to do."""


class LiveView:
    """Bars for the range test, the epochs and the steps, and the newest numbers.

    An event costs a dictionary look-up; drawing happens in rich's own thread, a few times a second.

    Args:
        console: the terminal.
        title: what is trained, and how.
    """

    def __init__(self, console: Console, title: str) -> None:
        self._title = title
        self._progress = Progress()
        self._live = Live(
            console=console,
            get_renderable=lambda: draw(self._progress, self._title, console.width),
            refresh_per_second=REFRESHES_A_SECOND,
        )

    def __call__(self, event: Event) -> None:
        """Take in one event of the loop."""
        self._progress.update(event)
        if event["event"] == "heal":
            self.tell(healing(event))

    def tell(self, text: str) -> None:
        """Say something above the bars."""
        say(self._live.console, text)

    def __enter__(self) -> Self:
        self._live.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Draw the last state and leave it on the terminal."""
        self._live.stop()


def draw(progress: Progress, title: str, width: int) -> RenderableType:
    """The live view of one moment."""
    parts: list[RenderableType] = [Text(title, style="bold", overflow="ellipsis", no_wrap=True)]
    bars = Table.grid(padding=(0, 2), expand=True)
    bars.add_column(style="dim", no_wrap=True)
    bars.add_column(ratio=1)
    bars.add_column(justify="right", no_wrap=True)
    bars.add_column(no_wrap=True, min_width=14)
    if progress.finding:
        found = progress.finding
        bars.add_row(
            "range test",
            _bar(found["iteration"], found["iterations"]),
            f"{found['iteration']}/{found['iterations']}",
            f"lr {progress.start['lr']:.3g}"
            if progress.start
            else f"lr {found['lr']:.1e}  loss {found['loss']:.4g}",
        )
    elif not progress.start:
        parts.append(Text("preparing ...", style="dim"))
    if progress.start:
        start = progress.start
        bars.add_row(
            "epoch",
            _bar(progress.step, start["total_steps"]),
            f"{progress.epoch}/{start['epochs']}",
            _time_left(progress),
        )
        bars.add_row(
            "step",
            _bar(progress.step_in_epoch, start["steps_per_epoch"]),
            f"{progress.step_in_epoch}/{start['steps_per_epoch']}",
            f"{progress.step} of {start['total_steps']}",
        )
    parts.append(bars)
    if progress.train:
        parts.append(Panel(_numbers(progress, width), border_style="dim", padding=(0, 1)))
    return Group(*parts)


def _bar(done: int, total: int) -> ProgressBar:
    return ProgressBar(total=max(total, 1), completed=done)


def _time_left(progress: Progress) -> str:
    if progress.end:
        return f"{progress.end['reason']}, {clock(progress.end['seconds'])}"
    left = progress.seconds_left
    return "" if left is None else f"{clock(left)} left"


def _numbers(progress: Progress, width: int) -> RenderableType:
    """Name, newest value and best value of each number."""
    train, validation, best = progress.train, progress.validation, progress.best
    metric = progress.start.get("metric", "metric")
    cells = [
        ("train loss", f"{train['loss']:.4f}", ""),
        (
            "val loss",
            f"{validation['loss']:.4f}" if validation else "-",
            f"epoch {validation['epoch']}" if validation else "",
        ),
        (
            metric,
            f"{validation['metric']:.4f}" if validation else "-",
            f"best {best['metric']:.4f}" if best else "",
        ),
        ("lr", f"{train['lr']:.3g}", ""),
        ("grad norm", f"{train['grad_norm']:.3g}", ""),
        ("samples/s", f"{train['samples_per_second']:,.0f}", ""),
    ]
    a_row = 6 if width >= NARROW else 3
    table = Table.grid(padding=(0, 2), expand=True)
    for _ in range(a_row):
        table.add_column(no_wrap=True)
    for row in (cells[i : i + a_row] for i in range(0, len(cells), a_row)):
        table.add_row(*(Text(name, style="dim") for name, _, _ in row))
        table.add_row(*(Text(value, style="bold") for _, value, _ in row))
        if any(note for _, _, note in row):
            table.add_row(*(Text(note, style="dim") for _, _, note in row))
    return table


def _started(progress: Progress) -> str:
    start = progress.start
    resumed = f", resumed after step {start['resumed_from']}" if start["resumed_from"] else ""
    return (
        f"{start['task']}: {start['epochs']} epochs of {start['steps_per_epoch']} steps, "
        f"lr {start['lr']:.3g}{resumed}"
    )


def _epoch_line(progress: Progress) -> str:
    """One epoch's numbers; a star marks the best metric so far."""
    now, start = progress.validation, progress.start
    star = " *" if now["best"] else ""
    lr = f"  lr {progress.train['lr']:.3g}" if progress.train else ""
    return (
        f"epoch {now['epoch']}/{start['epochs']}  step {now['step']}  "
        f"loss {now['train_loss']:.4f}  validation loss {now['loss']:.4f}  "
        f"{start['metric']} {now['metric']:.4f}{star}{lr}  {clock(now['seconds'])}"
    )
