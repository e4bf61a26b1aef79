"""What a detector looked at, as a curve: the series behind a finding, and the threshold in it."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from .detectors.signs import deadest, most_saturated, spread, steepness
from .finding import Finding
from .gathered import number
from .history import Array, History

__all__ = ["Trace", "trace"]

Event = dict[str, Any]


@dataclass(frozen=True)
class Trace:
    """A series over the steps and what it was compared with.

    Args:
        name: what is on the vertical axis.
        steps: at which it was seen.
        values: as many.
        limit: what it was compared with; None where that is no number.
        limit_name: what the limit is.
        beside: another series of the same quantity, where two were compared.
        beside_name: what that is.
    """

    name: str
    steps: tuple[float, ...]
    values: tuple[float, ...]
    limit: float | None = None
    limit_name: str = "threshold"
    beside: tuple[tuple[float, ...], tuple[float, ...]] | None = None
    beside_name: str = ""


def trace(history: History, finding: Finding) -> Trace | None:
    """The series behind a finding; None where it is a fact of the setup, not of a course.

    Args:
        history: from which the finding was made.
        finding: what was found.

    >>> from .diagnose import findings
    >>> rows = [{"event": "train", "step": k, "loss": 2.0 ** k, "lr": 1.0} for k in range(1, 30)]
    >>> history = History.of(rows)
    >>> drawn = trace(history, findings(history)[0])
    >>> drawn.name, drawn.limit
    ('training loss, smoothed', 60.0)
    """
    drawn = _drawn(history, finding)
    return drawn if drawn is not None and drawn.values else None


def _drawn(history: History, finding: Finding) -> Trace | None:
    known = finding.evidence
    if "update over weight" in known:
        limit, name = known.get("allowed", known.get("usual")), "update over weight, median"
        told = "allowed" if "allowed" in known else "usual"
        seen = history.update_ratio
        return _of_looks(history, name, lambda k: seen.get(k["step"], math.nan), limit, told)
    if "swing" in known:
        return _validation(history, None, "")
    found = _BY_CAUSE.get(finding.cause)
    return None if found is None else found(history, finding)


def _smoothed(history: History, finding: Finding) -> Trace:
    steps, losses = history.smoothed
    keep = np.isfinite(losses)
    limit = finding.evidence.get("limit")
    return Trace("training loss, smoothed", _floats(steps[keep]), _floats(losses[keep]), limit)


def _losses(history: History, finding: Finding) -> Trace:
    keep = np.isfinite(history.losses)
    return Trace("training loss", _floats(history.steps[keep]), _floats(history.losses[keep]))


def _rates(history: History, finding: Finding) -> Trace:
    return Trace("learning rate", _floats(history.steps), _floats(history.lrs))


def _decay(history: History, finding: Finding) -> Trace:
    known = finding.evidence
    at_most = known.get("lost a step")
    lost = history.lrs * known["weight_decay"]
    if at_most is not None:
        lost *= at_most / lost.max()
    allowed = None if at_most is None else known["allowed"]
    return Trace("weight lost a step", _floats(history.steps), _floats(lost), allowed)


def _learnt_by_heart(history: History, finding: Finding) -> Trace:
    drawn = _validation(history, finding.evidence["lowest"], "lowest")
    loss = _losses(history, finding)
    return Trace(
        drawn.name,
        drawn.steps,
        drawn.values,
        drawn.limit,
        drawn.limit_name,
        (loss.steps, loss.values),
        "training loss",
    )


def _validation(history: History, limit: float | None, name: str) -> Trace:
    checks = [v for v in history.validations if np.isfinite(v.loss)]
    steps, losses = tuple(float(v.step) for v in checks), tuple(v.loss for v in checks)
    return Trace("validation loss", steps, losses, limit, name)


def _of_looks(
    history: History,
    name: str,
    value: Callable[[Event], float],
    limit: float | None,
    limit_name: str = "threshold",
) -> Trace:
    pairs = [(float(look["step"]), value(look)) for look in history.looks]
    pairs = [(step, seen) for step, seen in pairs if np.isfinite(seen)]
    steps, values = tuple(s for s, _ in pairs), tuple(v for _, v in pairs)
    return Trace(name, steps, values, limit, limit_name)


def _look(
    name: str, value: Callable[[History, Event], float]
) -> Callable[[History, Finding], Trace]:
    def made(history: History, finding: Finding) -> Trace:
        limit = finding.evidence.get("allowed")
        return _of_looks(history, name, lambda look: value(history, look), limit)

    return made


def _first_over_last(history: History, look: Event) -> float:
    norms = history.weights(look)
    return float(norms[0] / norms[-1]) if len(norms) and norms[-1] > 0 else float("nan")


def _zeros(history: History, look: Event) -> float:
    shares = history.weights(look, "zero_share")
    return float(np.median(shares)) if len(shares) else float("nan")


def _floats(values: Array | np.typing.NDArray[np.int64]) -> tuple[float, ...]:
    return tuple(map(float, values))


#: Cause -> the series, where the evidence does not name it.
_BY_CAUSE: dict[str, Callable[[History, Finding], Trace]] = {
    "lr too high": _smoothed,
    "lr not lowered": _smoothed,
    "not a number": _losses,
    "batch too small": _losses,
    "batch too large": _losses,
    "schedule ended early": _rates,
    "weight decay too strong": _decay,
    "decay of biases and norms": _decay,
    "overfitting": _learnt_by_heart,
    "labels do not match": lambda history, finding: _validation(
        history, finding.evidence["loss of constant outputs"], "loss of constant outputs"
    ),
    "dead units": _look("share of dead units", lambda history, look: deadest(look)),
    "saturated activations": _look("share in the flat part", lambda h, k: most_saturated(k)[0]),
    "vanishing gradients": _look("first over last gradient norm", _first_over_last),
    "exploding gradients": _look("gradient norm x weight norm over loss", steepness),
    "float16 underflow": _look("share of gradients that are 0", _zeros),
    "constant outputs": _look("deviation of outputs over rows", lambda h, k: spread(k)),
    "waiting for data": _look("share of the step spent waiting", lambda h, k: k["data_share"]),
    "inputs not scaled": _look(
        "largest deviation of a feature",
        lambda h, k: number(k.get("input", {}).get("std_max")),
    ),
}
