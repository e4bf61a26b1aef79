"""The monitor as a callback of Lightning's trainer."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from torch import Tensor

from ..errors import InputError, MissingExtraError
from ..monitor import Monitor

try:
    import lightning.pytorch as pl
except ImportError:
    raise MissingExtraError("lightning", "integrations", "LightningMonitor") from None

__all__ = ["LightningMonitor"]


class LightningMonitor(pl.Callback):  # type: ignore[misc]  # not looked into
    """Writes records of a Lightning training, which ``downslope diagnose`` reads.

    Give it to the trainer: ``Trainer(callbacks=[LightningMonitor("runs/mine")])``. What it measures
    is said at :class:`downslope.Monitor`; a step is a step of the optimizer, whose loss is the mean
    of its batches' where gradients are accumulated.

    Args:
        run_dir: where ``records.jsonl`` goes; ``None``: nowhere but ``on_event``.
        module: name of the submodule that ``training_step`` calls, such as ``"net"``, where it does
            not call the LightningModule itself: inputs and waiting are seen at its call.
        every: as in :class:`downslope.Monitor`.
        on_event: as in :class:`downslope.Monitor`.

    Raises:
        MissingExtraError: Lightning is not installed (when this is imported).
        InputError: there is not one optimizer but several, when training begins.
    """

    def __init__(
        self,
        run_dir: str | Path | None = None,
        *,
        module: str = "",
        every: int | None = None,
        on_event: Sequence[Callable[[dict[str, Any]], None]] = (),
    ) -> None:
        self._run_dir, self._module, self._every, self._sinks = run_dir, module, every, on_event
        self._monitor: Monitor | None = None
        self._losses: list[Tensor] = []
        self._done = 0

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Begin to watch."""
        if len(trainer.optimizers) != 1:
            raise InputError(
                f"LightningMonitor watches one optimizer, got {len(trainer.optimizers)}. Use "
                "downslope.Monitor in training_step, one for each."
            )
        total = trainer.estimated_stepping_batches
        self._done = trainer.global_step
        self._monitor = Monitor(
            pl_module.get_submodule(self._module),
            trainer.optimizers[0],
            self._run_dir,
            every=self._every,
            total_steps=int(total) if total != float("inf") else None,
            done=self._done,
            on_event=self._sinks,
        )

    def on_train_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
    ) -> None:
        """Note the loss, and the step where the optimizer made one."""
        loss = outputs["loss"] if isinstance(outputs, dict) else outputs
        if self._monitor is None or loss is None:  # Lightning's way to skip a batch
            return
        # It is divided by the number of batches already.
        self._losses.append(loss.detach())
        if trainer.global_step > self._done:
            self._done = trainer.global_step
            self._monitor.step(sum(self._losses[1:], self._losses[0]))
            self._losses = []

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Note what was logged as ``val_loss``, if anything was."""
        loss = trainer.callback_metrics.get("val_loss")
        if self._monitor is not None and loss is not None and not trainer.sanity_checking:
            self._monitor.validation(float(loss))

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Write what is left."""
        self._close()

    def on_exception(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException
    ) -> None:
        """Write what is left."""
        self._close()

    def _close(self) -> None:
        if self._monitor is not None:
            self._monitor.close()
            self._monitor = None
