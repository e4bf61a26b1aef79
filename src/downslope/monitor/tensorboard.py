"""A sink of events for TensorBoard, an optional extra."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import MissingExtraError

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter

__all__ = ["TensorBoard"]


class TensorBoard:
    """Writes loss, lr and gradient norm of each step, and each validation, for TensorBoard.

    Hand it to :func:`downslope.fit` as one of its ``on_event``. A resumed run goes on in the same
    curves: what a killed run wrote after its last checkpoint is hidden.

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
        match event["event"]:
            case "start":
                self._start(event)
            case "train":
                self._scalars("train", event, ("loss", "lr", "grad_norm"))
            case "validation":
                named = {**event, self._metric: event["metric"]}
                self._scalars("validation", named, ("loss", self._metric))
            case "end":
                self.close()

    def close(self) -> None:
        """Flush and close; called by the event ``end``."""
        if self._writer is not None:
            self._writer.close()
            self._writer = None

    def _start(self, event: dict[str, Any]) -> None:
        from torch.utils.tensorboard import SummaryWriter

        self.close()
        self._metric = event["metric"]
        done = event["resumed_from"]
        self._writer = SummaryWriter(
            str(self._folder), purge_step=None if done is None else done + 1
        )

    def _scalars(self, group: str, event: dict[str, Any], names: tuple[str, ...]) -> None:
        if self._writer is None:
            raise RuntimeError("TensorBoard: the event 'start' must come first")
        for name in names:
            self._writer.add_scalar(f"{group}/{name}", event[name], event["step"])
