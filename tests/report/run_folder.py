"""A run's directory made by hand: what a training run would leave, without training."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

RECIPE = """\
optimizer = "adamw"
lr = 0.003
weight_decay = 0.01
schedule = "warmup-cosine"
warmup = 0.05
clip_norm = 1.0
precision = "fp32"
batch_size = 32
epochs = {epochs}
seed = {seed}
device = "cpu"
"""


def make_run(
    folder: Path,
    *,
    epochs: int = 4,
    steps_per_epoch: int = 10,
    keep: int | None = None,
    reason: str | None = "finished",
    task: str = "digits",
    metric: str = "accuracy",
    range_test: bool = True,
    seed: int = 0,
) -> Path:
    """Write a run into ``folder``; ``keep`` cuts its records to the first so many."""
    folder.mkdir(parents=True, exist_ok=True)
    records = _records(epochs, steps_per_epoch, task, metric)[:keep]
    if reason is not None:
        last = records[-1]
        records.append(
            {
                "event": "end",
                "step": last.get("step", 0),
                "epoch": last.get("epoch", 0),
                "best_metric": None,
                "best_step": None,
                "seconds": last.get("seconds", 0.0),
                "reason": reason,
            }
        )
    (folder / "records.jsonl").write_text("".join(json.dumps(r) + "\n" for r in records))
    (folder / "recipe.toml").write_text(RECIPE.format(epochs=epochs, seed=seed))
    (folder / "environment.json").write_text(json.dumps({"python": "3.11.2", "cpu": task}))
    if range_test:
        (folder / "find_lr.json").write_text(json.dumps(_range_test()))
    return folder


def _records(epochs: int, steps_per_epoch: int, task: str, metric: str) -> list[dict[str, Any]]:
    total = epochs * steps_per_epoch
    start = {
        "event": "start",
        "task": task,
        "metric": metric,
        "higher_is_better": True,
        "parameters": 34_506,
        "train_size": 1437,
        "validation_size": 360,
        "epochs": epochs,
        "steps_per_epoch": steps_per_epoch,
        "total_steps": total,
        "lr": 0.003,
        "resumed_from": None,
    }
    records: list[dict[str, Any]] = [start]
    for step in range(1, total + 1):
        epoch = (step - 1) // steps_per_epoch + 1
        loss = 2.3 * math.exp(-5 * step / total) * (1 + 0.3 * math.sin(7 * step))
        records.append(
            {
                "event": "train",
                "step": step,
                "epoch": epoch,
                "loss": loss,
                "lr": 0.003 * 0.5 * (1 + math.cos(math.pi * step / total)),
                "grad_norm": 3 * math.exp(-4 * step / total) * (1 + 0.5 * math.sin(3 * step)),
                "samples_per_second": 12_000.0,
                "seconds": 0.01 * step,
            }
        )
        if step % steps_per_epoch == 0:
            records.append(
                {
                    "event": "validation",
                    "step": step,
                    "epoch": epoch,
                    "train_loss": loss,
                    "loss": loss + 0.05,
                    "metric": 1 - 0.5 * math.exp(-epoch),
                    "best": True,
                    "seconds": 0.01 * step,
                }
            )
    return records


def _range_test() -> dict[str, Any]:
    lrs = [10 ** (-7 + 0.1 * i) for i in range(70)]
    losses = [2.3 - 1.5 / (1 + math.exp(-3 * (math.log10(lr) + 3))) for lr in lrs]
    return {
        "optimizer": "adamw",
        "lrs": lrs,
        "losses": losses,
        "smoothed": losses,
        "steepest": lrs[40],
        "band": [lrs[40] / 10, lrs[40] / 2],
        "suggestion": lrs[40] / 4,
        "diverged_at": None,
        "reason": "",
    }
