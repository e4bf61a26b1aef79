"""Records made by hand: a loss's course, its looks, and what the doctor says of them."""

from __future__ import annotations

from typing import Any

import numpy as np

from downslope.doctor import diagnose


def course(
    losses: Any, validations: Any = (), *, update: float = 1e-3, optimizer: str = "Adam"
) -> list[dict[str, Any]]:
    """The events of a run with these losses, validated at equal distances; weights move alike."""
    setup = {"event": "setup", "optimizer": optimizer, "total_steps": len(losses)}
    tensors = {"w": {"weight_norm": 1.0, "update_norm": update, "grad_norm": 1.0}}
    tensors["w"]["zero_share"] = 0.0
    look = {"tensors": tensors, "data_share": 0.0, "data_seconds": 0.0, "activations": {}}
    apart = len(losses) // max(1, len(validations))
    return [
        setup,
        *({"event": "train", "step": k, "loss": x, "lr": 1e-3} for k, x in enumerate(losses, 1)),
        *({"event": "monitor", "step": 1 << k, **look} for k in range(6)),
        *(
            {"event": "validation", "step": (k + 1) * apart, "loss": x}
            for k, x in enumerate(validations)
        ),
    ]


FALL = np.exp(-np.arange(200) / 30)


NOISE = 0.3 * np.sin(np.arange(200) ** 2)


def steep(
    losses: Any,
    slope: float,
    rows: int = 32,
    dead: float = 0.0,
    update: float = 0.01,
    optimizer: str = "SGD",
) -> list[dict[str, Any]]:
    """A course that begins with this steepness, and ends with this share of dead units."""
    events = course(losses, update=update, optimizer=optimizer)
    events[0] |= {"tensors": {}, "groups": [{"momentum": 0.9}]}
    for event in events:
        if event["event"] == "monitor":
            event["grad_norm"] = gradient = slope * losses[0]
            event["tensors"] = {"w": {**event["tensors"]["w"], "grad_norm": gradient}}
            event["input"] = {"rows": rows, "checksum": event["step"]}
            event["activations"] = {"relu": {"dead": dead if event["step"] > 4 else 0.0}}
    return events


def of_plain_sgd(losses: Any, checks: Any = (), *, update: float) -> list[str]:
    """What is said of a course of SGD without momentum."""
    setup, *others = course(losses, checks, update=update, optimizer="SGD")
    found = diagnose([{**setup, "tensors": {}, "groups": [{}]}, *others])
    return [f.cause for f in found if f.severity != "note"]


def judged(events: list[dict[str, Any]], *metrics: float) -> list[dict[str, Any]]:
    """The same with these metrics at the validations, of 100 rows."""
    start = {"event": "start", "validation_size": 100, "total_steps": 200}
    known = iter(metrics)
    return [start] + [
        {**e, "metric": next(known)} if e["event"] == "validation" else e for e in events
    ]


def causes_of(events: list[dict[str, Any]]) -> list[str]:
    """What is said, notes left out."""
    return [f.cause for f in diagnose(events) if f.severity != "note"]


AT_ONCE = np.exp(-np.arange(200) / 5)
