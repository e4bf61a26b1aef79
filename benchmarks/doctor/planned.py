"""Faults of the plan: batch size, schedule, momentum, groups, and how the data were split."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from torch import nn

from downslope.monitor.setup import kinds_of_parameters
from downslope.schedules import constant, cosine, multistep, warmup

from .faults import Fault, Setting, pick

__all__ = ["PLANNED", "has_batch_norm"]


def _small_batch(s: Setting, v: int) -> Setting:
    return replace(s, batch_size=pick(v, 1, 2), lr=s.lr * pick(v, 1, 1.5))


def has_batch_norm(s: Setting) -> bool:
    return any(isinstance(m, nn.modules.batchnorm._BatchNorm) for m in s.model().modules())


def _large_batch(s: Setting, v: int) -> Setting:
    """All rows in one batch, for as many epochs as there were: a few steps."""
    rows = s.rows // pick(v, 1, 2)
    steps = max(6, s.steps * s.batch_size // rows)
    rising = round(0.05 * steps)
    schedule = warmup(rising) >> cosine(steps - rising) if rising else cosine(steps)
    return replace(s, batch_size=rows, steps=steps, schedule=schedule)


def _many_rows(problem: str, s: Setting) -> bool:
    """On fewer a higher rate only overfits sooner, which is another fault."""
    return s.rows >= 500


def _no_warmup(s: Setting, v: int) -> Setting:
    return replace(s, lr=s.lr * pick(v, 4, 8, 6, 10, 5, 7), schedule=cosine(s.steps))


def _lowered_too_early(s: Setting, v: int) -> Setting:
    at = round(s.steps * pick(v, 0.05, 0.08, 0.1, 0.15))
    return replace(s, schedule=multistep([at], gamma=pick(v, 0.01, 0.003)))


def _oscillating(s: Setting, v: int) -> Setting:
    if s.optimizer == "sgd":
        return replace(s, arguments={"momentum": pick(v, 0.99, 0.995)}, schedule=constant(1.0))
    return replace(s, lr=s.lr * pick(v, 10, 15, 20), schedule=constant(1.0))


def _norms_decay(s: Setting, v: int) -> Setting:
    """Strong decay of biases and norms alone."""
    strong = {"sgd": pick(v, 0.3, 1.0), "adamw": pick(v, 10.0, 30.0), "lion": pick(v, 30.0, 100.0)}

    def groups(model: nn.Module) -> list[dict[str, Any]]:
        kinds = kinds_of_parameters(model)
        parts: dict[bool, list[nn.Parameter]] = {False: [], True: []}
        for name, p in model.named_parameters():
            parts[kinds[name] in ("bias", "norm")].append(p)
        return [
            {"params": parts[False], "weight_decay": 0.0},
            {"params": parts[True], "weight_decay": strong[s.optimizer]},
        ]

    return replace(s, parameters=groups)


def _leak(s: Setting, v: int) -> Setting:
    """A part of the validation rows is trained on."""
    held, targets = s.data.validation_inputs, s.data.validation_targets
    count = max(4, round(len(held) * pick(v, 0.2, 0.5, 1.0)))
    data = replace(
        s.data,
        inputs=torch.cat([s.data.inputs, held[:count]]),
        targets=torch.cat([s.data.targets, targets[:count]]),
    )
    return replace(s, data=data)


PLANNED = (
    Fault(
        "batch too small",
        ("batch too small", "lr too high"),  # for such a batch
        _small_batch,
        18,
        lambda problem, s: s.batch_size >= 16 and not has_batch_norm(s),
    ),
    Fault("batch too large", ("batch too large",), _large_batch, 10),
    Fault("warmup missing", ("warmup missing", "lr too high"), _no_warmup, 24, _many_rows),
    Fault(
        "lr lowered too early",
        ("schedule ended early", "lr too low", "plateau"),
        _lowered_too_early,
        12,
    ),
    Fault(
        "oscillation",
        ("lr too high", "lr not lowered", "oscillation"),
        _oscillating,
        20,
        _many_rows,
    ),
    Fault(
        "decay of biases and norms",
        ("decay of biases and norms", "weight decay too strong"),
        _norms_decay,
        24,
    ),
    Fault("data leak", ("data leak",), _leak, 8),
)
