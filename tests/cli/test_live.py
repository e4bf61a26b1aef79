from __future__ import annotations

import io
from typing import Any

import pytest
from rich.console import Console

from downslope.cli.live import LiveView, PlainView, draw, view_for
from downslope.cli.progress import Progress

Event = dict[str, Any]

FIND = {"event": "find_lr", "iteration": 30, "iterations": 100, "lr": 1.5e-4, "loss": 2.25}
START = {
    "event": "start",
    "task": "digits",
    "metric": "accuracy",
    "epochs": 3,
    "steps_per_epoch": 4,
    "total_steps": 12,
    "lr": 0.003,
    "resumed_from": None,
}


def train(step: int, **changes: Any) -> Event:
    event = {"event": "train", "step": step, "epoch": 1, "loss": 0.4321, "lr": 0.0012}
    return event | {"grad_norm": 0.777, "samples_per_second": 12345.6, "seconds": 9.0} | changes


def validation(step: int, *, best: bool = True) -> Event:
    event = {"event": "validation", "step": step, "epoch": step // 4, "train_loss": 0.5}
    return event | {"loss": 0.6789, "metric": 0.9123, "best": best, "seconds": 9.0}


def screen(*events: Event, width: int = 80, now: Any = None) -> str:
    """What the live view shows after these events."""
    progress = Progress() if now is None else Progress(now=now)
    for event in events:
        progress.update(event)
    console = Console(file=io.StringIO(), width=width, force_terminal=False)
    console.print(draw(progress, "digits · adamw", width))
    return str(console.file.getvalue())  # type: ignore[attr-defined]


def lines(*events: Event) -> list[str]:
    """What the plain view prints."""
    console = Console(file=io.StringIO())
    with view_for(console, "digits") as view:
        for event in events:
            view(event)
    return str(console.file.getvalue()).splitlines()  # type: ignore[attr-defined]


def test_the_range_test_shows_lr_and_loss() -> None:
    """While a learning rate is searched: iterations, learning rate and loss."""
    shown = screen(FIND)
    assert all(text in shown for text in ("range test", "30/100", "lr 1.5e-04", "loss 2.25"))


def test_training_shows_every_number() -> None:
    """Both losses, the metric, lr, gradient norm and throughput are on the screen."""
    shown = screen(START, train(4), validation(4), train(5))
    for text in ("0.4321", "0.6789", "0.9123", "0.0012", "0.777", "12,346", "best 0.9123"):
        assert text in shown


def test_training_shows_how_far_it_is() -> None:
    """Epochs done, steps of this epoch, and steps of all."""
    shown = screen(START, train(6))
    assert all(text in shown for text in ("1/3", "2/4", "6 of 12"))


def test_the_time_left_is_shown() -> None:
    """At a step a second, with 6 of 12 steps done, 6 seconds are left."""
    seconds = iter([100.0, 106.0])
    assert "0:06 left" in screen(START, train(6), now=lambda: next(seconds))


def test_a_resumed_run_is_timed_from_where_it_resumed() -> None:
    """Steps of an earlier session do not make this one look fast."""
    seconds = iter([0.0, 2.0])
    shown = screen(START | {"resumed_from": 4}, train(6), now=lambda: next(seconds))
    assert "0:06 left" in shown


@pytest.mark.parametrize("width", [40, 60, 80, 200])
def test_no_line_is_wider_than_the_terminal(width: int) -> None:
    """The view fits narrow and wide terminals."""
    shown = screen(FIND, START, train(4), validation(4), width=width)
    assert max(map(len, shown.splitlines())) <= width


def test_nothing_known_yet() -> None:
    """Before the first event the view says that it is preparing."""
    assert "preparing" in screen()


def test_events_of_other_kinds_are_ignored() -> None:
    """A new kind of event does not stop a run."""
    assert "preparing" in screen({"event": "skip", "step": 1})


def test_plain_lines_without_a_terminal() -> None:
    """A file gets one line at the start and one an epoch, and no control characters."""
    printed = lines(
        FIND, START, train(1), train(4), validation(4), train(8), validation(8, best=False)
    )
    assert printed == [
        "digits: 3 epochs of 4 steps, lr 0.003",
        "epoch 1/3  step 4  loss 0.5000  validation loss 0.6789  accuracy 0.9123 *  "
        "lr 0.0012  0:09",
        "epoch 2/3  step 8  loss 0.5000  validation loss 0.6789  accuracy 0.9123  lr 0.0012  0:09",
    ]


def test_a_terminal_gets_the_live_view() -> None:
    """The kind of view follows the kind of output."""
    assert isinstance(view_for(Console(file=io.StringIO(), force_terminal=True), ""), LiveView)
    assert isinstance(view_for(Console(file=io.StringIO()), ""), PlainView)


def test_the_last_state_stays_on_the_terminal() -> None:
    """When the view closes, the newest numbers are left behind."""
    console = Console(file=io.StringIO(), force_terminal=True, width=80)
    with view_for(console, "digits") as view:
        for event in (
            START,
            train(12),
            validation(12),
            {"event": "end", "reason": "finished", "seconds": 65.0},
        ):
            view(event)
    shown = str(console.file.getvalue())  # type: ignore[attr-defined]
    assert "finished, 1:05" in "".join(shown.splitlines()[-8:])
