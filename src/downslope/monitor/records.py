"""Records: what was measured while training, one JSON object a line, only ever appended.

A record is an event of the loop (see :mod:`downslope.training.loop`); ``event`` says which kind:

================  ==============================================================================
``start``         task, metric, higher_is_better, parameters, train_size, validation_size, epochs,
                  steps_per_epoch, total_steps, lr, resumed_from (step, or None)
``train``         step (optimizer steps done), epoch (from 1), loss, lr, grad_norm (before
                  clipping), samples_per_second, seconds (since the start, over all resumptions)
``skip``          step, epoch, scale: fp16 gradients overflowed, nothing was updated
``validation``    step, epoch, train_loss (mean of the epoch so far), loss, metric, best, seconds;
                  metrics (further ones, by name, where the task has them)
``recipe``        step, changes (field -> what it was, what it is): named when the run was resumed
``end``           step, epoch, best_metric, best_step, seconds, reason
``steps``         ``train`` events of several steps as columns: step, loss, lr, seconds; a loss is
                  null where it was not finite. :func:`read_records` gives them one by one
``setup``         what a :class:`~downslope.Monitor` knows before the first step: optimizer, groups,
                  tensors, modules, total_steps, done (steps that were done before)
``data``          rows, validation_rows, repeated (share of the rows), shared (share of the
                  validation rows that are trained on), finest (values of a feature over rows)
``looks``         several ``monitor`` events: said (what all say alike), paths (the keys that lead
                  to each number), numbers (a row each). :func:`read_records` gives them one by one
``monitor``       step; what its look at that step found: input, output, activations, tensors,
                  grad_norm, stale_gradients, data_share (of the step's time), data_seconds
``heal``          step (that the run went back to), finding, changes (of the recipe)
``nonfinite``     step, kind, where: the origin of the first number that was not finite
================  ==============================================================================
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterable
from pathlib import Path
from time import perf_counter
from types import TracebackType
from typing import Any, Self

import orjson

from ..errors import CheckpointError, InputError
from .forms import laid_out

__all__ = ["RecordWriter", "each", "gone_back", "read_records"]


_ENCODE = json.JSONEncoder(allow_nan=False).encode  # json.dumps would make one for each record
#: Events after which a run goes on from an earlier step, and where they say which.
_BACK = {"heal": "step", "setup": "done"}
DELAY = 0.5  # seconds that a step's record may wait, so that small steps do not wait for the file


class RecordWriter:
    """Appends records to a file.

    A record is handed to the system before ``write`` returns; those of single steps (``train``)
    within half a second, with the next record: a kill can lose them, but they lie after the
    last checkpoint, whose :meth:`flushed_size` comes first, and are made again.

    Args:
        path: the file; made where it is missing.
        keep: bytes of an existing file to keep: the :meth:`flushed_size` that a checkpoint
            remembers; what a killed run wrote after it, and a torn last line, is cut off.
            ``None`` keeps every complete line.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     with RecordWriter(f"{folder}/records.jsonl") as writer:
    ...         writer.write({"event": "train", "step": 1, "loss": 0.5})
    ...     read_records(f"{folder}/records.jsonl")
    [{'event': 'train', 'step': 1, 'loss': 0.5}]
    """

    def __init__(self, path: str | Path, *, keep: int | None = None) -> None:
        path = Path(path)
        if path.exists():
            _cut(path, keep)
        self._path = path
        self._waiting: list[bytes] = []
        self._file = path.open("ab")
        self._flushed = perf_counter()

    def flushed_size(self) -> int:
        """Bytes written so far, after they have reached the disk."""
        self.flush()
        os.fsync(self._file.fileno())
        return self._file.tell()

    def write(self, record: dict[str, Any]) -> None:
        """Append one record; its numbers must be finite, as JSON has no NaN.

        Raises:
            CheckpointError: the disk is full.
        """
        self._waiting.append(_ENCODE(record).encode())
        if record["event"] != "train" or perf_counter() - self._flushed > DELAY:
            self.flush()

    def write_numbers(self, records: Iterable[dict[str, Any]]) -> None:
        """Append records of thousands of numbers; null is written for those that are not finite."""
        option = orjson.OPT_SERIALIZE_NUMPY
        self._waiting += [orjson.dumps(record, option=option) for record in records]
        self.flush()

    def flush(self) -> None:
        """Hand every record to the system.

        Raises:
            CheckpointError: the disk is full.
        """
        waiting, self._waiting = self._waiting, []
        self._flushed = perf_counter()
        try:
            self._file.write(b"".join(line + b"\n" for line in waiting))
            self._file.flush()
        except OSError as error:
            raise CheckpointError(
                f"The records {str(self._path)!r} cannot be written: {error.strerror}. Make room, "
                "then resume the run from its last checkpoint."
            ) from error

    def close(self) -> None:
        """Flush, and close the file."""
        try:
            self.flush()
        finally:
            with contextlib.suppress(OSError):  # what could not be written is told already
                self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()


def read_records(path: str | Path) -> list[dict[str, Any]]:
    """All complete records of a file; the torn last line of a killed run is left out.

    What was recorded of steps that a healed run went back over is left out too, and what an earlier
    run wrote of steps that a monitor in the same folder began behind.

    Raises:
        InputError: the file cannot be read, or a complete line is not a record.
    """
    path = Path(path)
    try:
        lines = path.read_bytes().split(b"\n")[:-1]  # what follows the last newline is torn
    except OSError as error:
        raise InputError(
            f"records {str(path)!r} cannot be read: {error.strerror}. Give the folder of a run, "
            "in which downslope train or a Monitor wrote records.jsonl."
        ) from None
    records: list[dict[str, Any]] = []
    for number, line in enumerate(lines, start=1):
        try:
            record = json.loads(line)
            if (back := _BACK.get(record["event"])) in record:
                records = gone_back(records, record[back])
            records += each({"event": record["event"], **record})
        except (ValueError, KeyError, TypeError):
            raise InputError(
                f"records {str(path)!r}, line {number}: not a record of a run: {line[:60]!r}."
            ) from None
    return records


def each(record: dict[str, Any]) -> list[dict[str, Any]]:
    """The record itself; of one of columns or rows the events that it stands for.

    >>> each({"event": "steps", "step": [1, 2], "loss": [0.5, 0.4], "lr": [0.1, 0.1]})[1]
    {'event': 'train', 'step': 2, 'loss': 0.4, 'lr': 0.1}
    """
    if record["event"] == "looks":
        return [laid_out(record["said"], record["paths"], row) for row in record["numbers"]]
    if record["event"] != "steps":
        return [record]
    names = [name for name in record if name != "event"]
    rows = zip(*(record[name] for name in names), strict=True)
    return [{"event": "train", **dict(zip(names, row, strict=True))} for row in rows]


def gone_back(records: list[dict[str, Any]], step: int) -> list[dict[str, Any]]:
    """Records without what belongs to later steps, and without how the run ended then.

    >>> gone_back([{"event": "train", "step": 1}, {"event": "train", "step": 2}], 1)
    [{'event': 'train', 'step': 1}]
    """
    own = ("train", "validation", "monitor", "nonfinite", "skip", "recipe")
    return [
        r for r in records if r["event"] != "end" and not (r["event"] in own and r["step"] > step)
    ]


def _cut(path: Path, keep: int | None) -> None:
    """Shorten a file to its complete lines among the first ``keep`` bytes."""
    with path.open("r+b") as file:
        content = file.read(-1 if keep is None else keep)
        file.truncate(content.rfind(b"\n") + 1)
