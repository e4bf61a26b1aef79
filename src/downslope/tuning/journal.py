"""What was done, one JSON object a line, only ever appended: a kill loses the line at hand."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from ..errors import InputError
from ..files import locked
from ..monitor.records import RecordWriter, read_records
from ..tasks import Task

__all__ = ["ASIDE", "JOURNAL", "Journal", "entries", "named"]

Entry = dict[str, Any]

#: Of what is asked what may differ from one place to another: data are known by their fingerprint.
ASIDE = frozenset({"source", "environment"})

#: The journal of a folder.
JOURNAL = "journal.jsonl"
PATIENCE = 10.0  # seconds in which the workers of a killed process notice that they are alone


def entries(folder: Path) -> list[Entry]:
    """All complete lines of a folder's journal; none where there is none.

    Raises:
        InputError: a line that is not a journal's.
    """
    path = folder / JOURNAL
    return read_records(path) if path.exists() else []


def named(kind: str, task: Task, plan: Mapping[str, Any]) -> str:
    """A name that the same question leads to again, wherever it is asked."""
    asked = {k: v for k, v in plan.items() if k not in ASIDE}
    digest = hashlib.sha256(json.dumps(asked, sort_keys=True).encode()).hexdigest()
    return f"{kind}-{Path(task.name).stem}-{digest[:8]}"


class Journal:
    """The one writer of a folder's journal, open in a ``with`` block.

    Args:
        folder: made where it is missing.

    Raises:
        InputError: another process is at work there.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder, Journal(Path(folder)) as journal:
    ...     journal.write({"event": "target", "value": 0.9})
    ...     journal.entries
    [{'event': 'target', 'value': 0.9}]
    """

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._lock = _locked(folder)
        self.entries = entries(folder)
        self._writer = RecordWriter(folder / JOURNAL)

    def write(self, entry: Entry) -> None:
        """Append a line; it is on the disk when this returns."""
        self._writer.write(entry)
        self._writer.flushed_size()
        self.entries.append(entry)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._writer.close()
        if self._lock is not None:
            os.close(self._lock)


def _locked(folder: Path) -> int | None:
    """A descriptor that holds the folder's lock, as do workers that are forked meanwhile."""
    try:
        return locked(folder / ".lock", PATIENCE)
    except ImportError:  # not a system with such locks
        return None
    except BlockingIOError:
        raise InputError(
            f"Another process is at work in {str(folder)!r}. Wait for it, or choose "
            "another directory."
        ) from None
