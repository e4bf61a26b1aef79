"""Where a run stands, kept from its events: what the terminal views show. Nothing is drawn here."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

__all__ = ["Progress", "clock"]

Event = dict[str, Any]
_EARLY = 0.02  # share of the work before which an estimate of the time left would jump about


@dataclass
class Progress:
    """The newest event of each kind, and how fast the steps go.

    Args:
        now: a clock in seconds.
        finding: the newest ``find_lr`` event.
        start: the ``start`` event of this session.
        train: the newest ``train`` event.
        validation: the newest ``validation`` event.
        best: the best ``validation`` event seen in this session.
        end: the ``end`` event.
    """

    now: Callable[[], float] = time.monotonic
    finding: Event = field(default_factory=dict)
    start: Event = field(default_factory=dict)
    train: Event = field(default_factory=dict)
    validation: Event = field(default_factory=dict)
    best: Event = field(default_factory=dict)
    end: Event = field(default_factory=dict)
    _began: float = 0.0

    def update(self, event: Event) -> None:
        """Take in one event of the loop; other kinds are none of a view's business."""
        match event["event"]:
            case "find_lr":
                self.finding = event
            case "start":
                self.start = event
                self._began = self.now()
            case "train":
                self.train = event
            case "validation":
                self.validation = event
                if event["best"]:
                    self.best = event
            case "end":
                self.end = event
            case "heal":
                self.train, self.validation, self.best = {}, {}, {}

    @property
    def step(self) -> int:
        """Optimizer steps done, those of earlier sessions included."""
        done: int = self.train.get("step", 0) or self.start.get("resumed_from") or 0
        return done

    @property
    def epoch(self) -> int:
        """Epochs finished."""
        per_epoch: int = self.start.get("steps_per_epoch", 1)
        return self.step // per_epoch

    @property
    def step_in_epoch(self) -> int:
        """Steps done of the epoch at hand; all of them at its end."""
        per_epoch: int = self.start.get("steps_per_epoch", 1)
        return (self.step - 1) % per_epoch + 1 if self.step else 0

    @property
    def seconds_left(self) -> float | None:
        """Time until the last step at the mean speed of this session; ``None``: too early to say.

        >>> seconds = iter([100.0, 110.0])
        >>> progress = Progress(now=lambda: next(seconds))
        >>> progress.update({"event": "start", "total_steps": 40, "resumed_from": 20})
        >>> progress.update({"event": "train", "step": 30})
        >>> progress.seconds_left
        10.0
        """
        total = self.start.get("total_steps", 0)
        done = self.step - (self.start.get("resumed_from") or 0)
        if done <= _EARLY * total:
            return None
        return float((self.now() - self._began) / done * (total - self.step))


def clock(seconds: float) -> str:
    """A time span as a clock shows it.

    >>> clock(7.2), clock(125), clock(7325)
    ('0:07', '2:05', '2:02:05')
    """
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes}:{rest:02}"
    return f"{minutes // 60}:{minutes % 60:02}:{rest:02}"
