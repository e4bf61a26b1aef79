"""The monitor as a callback of Transformers' trainer."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from ..errors import MissingExtraError
from ..monitor import Monitor

try:
    from transformers import TrainerCallback
except ImportError:
    raise MissingExtraError("transformers", "integrations", "TransformersMonitor") from None

__all__ = ["TransformersMonitor"]


class TransformersMonitor(TrainerCallback):  # type: ignore[misc]  # not looked into
    """Writes records of a training by Transformers' ``Trainer`` for ``downslope diagnose``.

    Give it to the trainer: ``Trainer(..., callbacks=[TransformersMonitor("runs/mine")])``. What it
    measures is said at :class:`downslope.Monitor`. The loss is the one that the model returns: the
    trainer tells its callbacks none of a single step.

    Args:
        run_dir: where ``records.jsonl`` goes; ``None``: nowhere but ``on_event``.
        every: as in :class:`downslope.Monitor`.
        on_event: as in :class:`downslope.Monitor`.

    Raises:
        MissingExtraError: Transformers is not installed (when this is imported).
    """

    def __init__(
        self,
        run_dir: str | Path | None = None,
        *,
        every: int | None = None,
        on_event: Sequence[Callable[[dict[str, Any]], None]] = (),
    ) -> None:
        self._run_dir, self._every, self._sinks = run_dir, every, on_event
        self._monitor: Monitor | None = None
        self._losses: list[Tensor] = []
        self._shares = False
        self._hook: Any = None

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Begin to watch."""
        model, optimizer = kwargs["model"], kwargs["optimizer"]
        self._hook = model.register_forward_hook(self._note_loss, with_kwargs=True)
        self._monitor = Monitor(
            model,
            getattr(optimizer, "optimizer", optimizer),  # inside Accelerate's
            self._run_dir,
            every=self._every,
            total_steps=state.max_steps,
            done=state.global_step,
            on_event=self._sinks,
        )

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Note the step with its loss: the mean of its parts, or their sum if each is a share."""
        if self._monitor is not None and self._losses:
            total = sum(self._losses[1:], self._losses[0])
            self._monitor.step(total if self._shares else total / len(self._losses))
        self._losses = []

    def on_evaluate(
        self, args: Any, state: Any, control: Any, metrics: dict[str, float], **kwargs: Any
    ) -> None:
        """Note the loss of an evaluation, and a metric if there is one."""
        if self._monitor is not None and "eval_loss" in metrics:
            chosen = args.metric_for_best_model
            name = None if chosen in (None, "loss", "eval_loss") else chosen.removeprefix("eval_")
            value = None if name is None else metrics.get(f"eval_{name}")
            self._monitor.validation(metrics["eval_loss"], value, name=name or "metric")

    def on_train_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Write what is left."""
        if self._monitor is not None:
            self._hook.remove()
            self._monitor.close()
            self._monitor = None

    def _note_loss(self, module: nn.Module, args: Any, kwargs: dict[str, Any], output: Any) -> None:
        """Keep the loss of a part; a model told how many items a step has gives its share."""
        if not module.training:
            return
        loss = output["loss"] if isinstance(output, dict) else output[0]
        self._shares = kwargs.get("num_items_in_batch") is not None
        self._losses.append(loss.detach())
