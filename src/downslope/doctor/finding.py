"""What the doctor says: a symptom, where it was seen, its cause, and what to change."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Literal

__all__ = ["Finding", "Severity", "healing"]

Severity = Literal["fatal", "warning", "note"]


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong with a run.

    Args:
        cause: what is wrong, in the doctor's words, such as ``"lr too high"``.
        symptom: how it shows.
        severity: ``fatal``: training cannot recover; ``warning``: it is worse than it could be;
            ``note``: worth knowing.
        step: at which it was first seen.
        evidence: the numbers that were compared, and with what.
        remedy: what to do, in words.
        change: the same as a change to the recipe, where a recipe can say it; a factor is written
            ``"x0.1"``.
        source: where the threshold comes from.

    >>> print(Finding("lr too high", "the loss rises", "fatal", 12, {"loss": 9.0},
    ...               "Lower the learning rate to a tenth.", {"lr": "x0.1"}, "the guides"))
    fatal: lr too high (the loss rises, step 12). Lower the learning rate to a tenth.
    """

    cause: str
    symptom: str
    severity: Severity
    step: int
    evidence: Mapping[str, Any]
    remedy: str
    change: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))
    source: str = ""

    def __str__(self) -> str:
        return f"{self.severity}: {self.cause} ({self.symptom}, step {self.step}). {self.remedy}"

    def to_dict(self) -> dict[str, Any]:
        """Plain data, for records and files."""
        return {
            "cause": self.cause,
            "symptom": self.symptom,
            "severity": self.severity,
            "step": self.step,
            "evidence": dict(self.evidence),
            "remedy": self.remedy,
            "change": dict(self.change),
            "source": self.source,
        }


def healing(event: Mapping[str, Any]) -> str:
    """What an event ``heal`` says, in a sentence.

    >>> found = {"cause": "lr too high", "symptom": "the loss rises", "step": 9}
    >>> print(healing({"step": 0, "finding": found, "changes": {"lr": (5.0, 0.5)}}))
    healed: lr too high (the loss rises, step 9). Trains on from step 0 with lr 5 -> 0.5.
    """
    found = event["finding"]
    changes = (
        f"{name} {_shown(was)} -> {_shown(now)}" for name, (was, now) in event["changes"].items()
    )
    return (
        f"healed: {found['cause']} ({found['symptom']}, step {found['step']}). "
        f"Trains on from step {event['step']} with {', '.join(changes)}."
    )


def _shown(value: Any) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)
