"""The doctor beside a run: told every event, it speaks when it finds something new."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .diagnose import findings
from .finding import Finding
from .gathered import Gathered
from .history import History

__all__ = ["Doctor"]

Event = dict[str, Any]


class Doctor:
    """Watches events and tells each finding once; notes are left to ``diagnose``.

    Hand it to :class:`downslope.Monitor` or :func:`downslope.fit` as one of their ``on_event``. It
    looks after each event ``monitor``, ``validation`` and ``nonfinite``.

    Args:
        tell: called with each new finding; None prints it.

    >>> doctor = Doctor(tell=lambda finding: print(finding.cause))
    >>> for step in range(1, 30):
    ...     doctor({"event": "train", "step": step, "loss": 2.0 ** step, "lr": 1.0})
    >>> doctor({"event": "validation", "step": 29, "loss": 1e9})
    lr too high
    """

    def __init__(self, tell: Callable[[Finding], None] | None = None) -> None:
        self._tell = tell or print
        self._gathered = Gathered()
        self._told: set[str] = set()
        #: What was wrong at the last look, notes left out.
        self.latest: list[Finding] = []

    @property
    def findings(self) -> list[Finding]:
        """What is wrong as far as is known now."""
        return findings(History.of(self._gathered))

    def __call__(self, event: Event) -> None:
        """Take note of an event; look, where it is one that shows something."""
        if event["event"] == "heal":
            self._gathered.go_back(event["step"])
            self._told.clear()
            self.latest = []
        self._gathered.add(event)
        if event["event"] not in ("monitor", "validation", "nonfinite"):
            return
        self.latest = [f for f in self.findings if f.severity != "note"]
        for finding in self.latest:
            if finding.cause not in self._told:
                self._told.add(finding.cause)
                self._tell(finding)
