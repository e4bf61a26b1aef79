"""From records to findings, the root cause first."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from os import PathLike
from pathlib import Path
from typing import Any

from ..monitor.records import read_records
from .detectors import data, gradients, plan, rate, settings, units
from .finding import Finding
from .history import History

__all__ = ["DETECTORS", "diagnose", "findings"]

#: In the order of causes: what stands before another is more likely its cause than its effect.
DETECTORS: tuple[Callable[[History], Finding | None], ...] = (
    gradients.gradients_not_cleared,
    gradients.not_a_number,
    settings.not_trained,
    data.inputs_not_scaled,
    gradients.float16_underflow,
    settings.weight_decay_too_strong,
    units.saturated_activations,
    gradients.exploding_gradients,
    gradients.vanishing_gradients,
    plan.batch_too_small,
    rate.lr_too_high,
    units.dead_units,
    units.constant_outputs,
    settings.schedule_ended_early,
    data.data_repeats,
    rate.lr_too_low,
    plan.batch_too_large,
    rate.slow_optimizer,
    data.labels_do_not_match,
    data.overfitting,
    plan.oscillation,
    rate.lr_not_lowered,
    plan.warmup_missing,
    settings.decay_of_biases_and_norms,
    data.data_leak,
    data.waiting,
)

#: What needs no other cause where one of these was found.
_EFFECTS = {
    "lr too high", "lr too low", "slow optimizer", "labels do not match", "constant outputs",
    "dead units", "lr not lowered", "vanishing gradients", "warmup missing", "batch too large",
}  # fmt: skip
_NO_ROOT = {
    "waiting for data",
    "data leak",
    "parameters not trained",
    "overfitting",
    "schedule ended early",
}


def findings(history: History) -> list[Finding]:
    """All that is wrong, the most likely cause first, effects of it left out."""
    kept: list[Finding] = []
    for detector in DETECTORS:
        found = detector(history)
        explained = any(k.cause not in _NO_ROOT for k in kept)
        if found is None or any(k.cause == found.cause for k in kept):
            continue
        if not (explained and found.cause in _EFFECTS):
            kept.append(found)
    return kept


def diagnose(run: str | PathLike[str] | Iterable[dict[str, Any]]) -> list[Finding]:
    """What is wrong with a run, the most likely cause first; an empty list where nothing is.

    Args:
        run: a run or its directory, its ``records.jsonl``, or its events.

    Raises:
        InputError: there are no records, or they cannot be read.

    >>> events = [{"event": "train", "step": k, "loss": 2.0 ** k, "lr": 1.0} for k in range(1, 30)]
    >>> print(diagnose(events)[0])
    warning: lr too high (the loss rises ... Lower the learning rate to a tenth (0.1) ...
    """
    if isinstance(run, (str, PathLike)):
        path = Path(run)
        run = read_records(path / "records.jsonl" if path.is_dir() else path)
    return findings(History.of(run))
