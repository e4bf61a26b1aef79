"""A sink of events for TensorBoard, an optional extra."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import MissingExtraError
from .records import each

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter

__all__ = ["TensorBoard", "numbers"]

WRITTEN = ("train", "validation", "monitor")  # events
ABOUT = ("event", "step", "epoch", "seconds", "best", "name")  # what says when and which, not what


class TensorBoard:
    """Writes the numbers of each step, validation and look of the monitor for TensorBoard.

    Hand it to :func:`downslope.fit` or a :class:`~downslope.Monitor` as one of its ``on_event``. A
    resumed run goes on in the same curves: what a killed run wrote after its last checkpoint is
    hidden.

    Args:
        folder: where TensorBoard is pointed at, such as the run's directory.

    Raises:
        MissingExtraError: ``downslope[tensorboard]`` is not installed.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     board = TensorBoard(folder)
    ...     board({"event": "start", "metric": "accuracy", "resumed_from": None})
    ...     board({"event": "train", "step": 1, "loss": 0.7, "lr": 1e-3, "grad_norm": 2.0})
    ...     board.close()
    """

    def __init__(self, folder: str | Path) -> None:
        try:
            import torch.utils.tensorboard  # noqa: F401 - to fail here, not in the first event
        except ImportError:
            extra = "tensorboard"
            raise MissingExtraError(extra, extra, "Writing for TensorBoard") from None
        self._folder = Path(folder)
        self._writer: SummaryWriter | None = None
        self._metric = "metric"

    def __call__(self, event: dict[str, Any]) -> None:
        """Write the numbers of one event; events of other kinds are none of its business."""
        kind = event["event"]
        if kind == "start" or (kind == "setup" and self._writer is None):
            self._start(event)
        elif kind == "steps":
            for step in each(event):
                self(step)
        elif kind in WRITTEN:
            self._scalars(kind, event)
        elif kind == "end":
            self.close()

    def close(self) -> None:
        """Flush and close; called by the event ``end``."""
        if self._writer is not None:
            self._writer.close()
            self._writer = None

    def _start(self, event: dict[str, Any]) -> None:
        from torch.utils.tensorboard import SummaryWriter

        self.close()
        self._metric = event.get("metric", self._metric)
        done = event.get("resumed_from")
        self._writer = SummaryWriter(
            str(self._folder), purge_step=None if done is None else done + 1
        )

    def _scalars(self, kind: str, event: dict[str, Any]) -> None:
        if self._writer is None:
            raise RuntimeError("TensorBoard: the event 'start' must come first")
        told = {k: v for k, v in event.items() if k not in ABOUT}
        if kind == "validation":
            value, further = told.pop("metric"), told.pop("metrics", {})
            told = {**told, event.get("name", self._metric): value, **further}
        for name, value in numbers(told):
            self._writer.add_scalar(f"{kind}/{name}", value, event["step"])


def numbers(told: Mapping[str, Any]) -> Iterator[tuple[str, float]]:
    """The numbers in nested dictionaries, by the keys that lead to them.

    >>> list(numbers({"loss": 0.5, "tensors": {"weight": {"kind": "norm", "grad_norm": 2}}}))
    [('loss', 0.5), ('tensors/weight/grad_norm', 2.0)]
    """
    for name, value in told.items():
        if isinstance(value, Mapping):
            yield from ((f"{name}/{rest}", number) for rest, number in numbers(value))
        elif isinstance(value, (int, float)):
            yield name, float(value)
