"""How many runs are judged rightly: detection, cause, false alarms, and how soon."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from downslope.doctor import Finding, History, findings

from .rivals import RIVALS
from .runs import OVERFITTED, Labelled

__all__ = ["Judged", "effective", "flags", "judge", "summary"]

Judge = Callable[[History], Sequence[Finding]]
#: Shares of the planned steps after which the records so far are judged.
LOOKS = (0.027, 0.054, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0)
#: Faults that are one only where they do harm: a network with batch norm forgives much.
_BY_OUTCOME = {"lr too high", "lr too low", "lr not lowered", "slow optimizer", "dead units",
               "inputs not scaled", "saturated activations", "overfitting", "exploding gradients",
               "weight decay too strong", "float16 underflow", "batch too small", "batch too large",
               "warmup missing", "lr lowered too early", "oscillation",
               "decay of biases and norms"}  # fmt: skip
HARM = 1.5  # times the healthy run's validation loss (with 2% of the untrained loss added to both)


@dataclass(frozen=True)
class Judged:
    """A run and what was said of it."""

    run: Labelled
    flagged_at: float | None  # share of the planned steps; None: never
    first_causes: tuple[str, ...]  # the first finding's cause at each look that had one

    @property
    def right(self) -> bool:
        """Whether the last look's first cause is a right one."""
        return bool(self.first_causes) and self.first_causes[-1] in self.run.causes


def effective(runs: Sequence[Labelled]) -> list[Labelled]:
    """Without settings that learn nothing even in health, and faults that did no harm."""
    healthy = {run.name: run for run in runs if run.fault is None}
    kept = []
    for run in runs:
        if not healthy[run.of].learnt:
            continue
        if run.fault == "overfitting":
            checks = [e["loss"] for e in run.events if e["event"] == "validation"]
            if run.final < OVERFITTED * min(checks):
                continue
        elif run.fault in _BY_OUTCOME:
            good = healthy[run.of]
            floor = 0.02 * good.events_untrained
            if run.final_or_inf + floor < HARM * (good.final + floor):
                continue
        kept.append(run)
    return kept


def doctor(history: History) -> list[Finding]:
    """Ours, without notes."""
    return [f for f in findings(history) if f.severity != "note"]


def judge(run: Labelled, by: Judge = doctor) -> Judged:
    whole = History.of(run.events)
    causes, at = [], None
    for share in LOOKS:
        step = math.ceil(share * run.steps)
        said = by(whole.until(step))
        if said:
            at = share if at is None else at
            causes.append(said[0].cause)
        if whole.last_step <= step:
            break
    return Judged(run, at, tuple(causes))


def summary(judged: Sequence[Judged]) -> str:
    """A table by fault, and the totals."""
    by: dict[str | None, list[Judged]] = defaultdict(list)
    for one in judged:
        by[one.run.fault].append(one)
    lines = [
        "| fault | runs | flagged | cause first | median share of the run |",
        "|---|---|---|---|---|",
    ]

    def line(name: str, of: list[Judged]) -> str:
        flagged = [j for j in of if j.flagged_at is not None]
        when = np.median([j.flagged_at or 1.0 for j in flagged]) if flagged else math.nan
        right = sum(j.right for j in of)
        return f"| {name} | {len(of)} | {len(flagged)} | {right} | {when:.2f} |"

    lines += [line(str(fault), of) for fault, of in by.items() if fault is not None]
    faulty = [j for j in judged if j.run.fault is not None]
    lines.append(line("all faulty", faulty))
    share = sum(j.flagged_at is not None for j in faulty) / len(faulty)
    right = sum(j.right for j in faulty) / len(faulty)
    alarms = sum(j.flagged_at is not None for j in by[None])
    lines += [
        "",
        f"flagged {share:.1%}, right cause first {right:.1%}, false alarms {alarms} of "
        f"{len(by[None])} healthy runs ({alarms / max(1, len(by[None])):.1%})",
    ]
    return "\n".join(lines)


def flags(runs: Sequence[Labelled]) -> str:
    """How many runs published thresholds flag, at the end of the run; beside ours."""
    lines = ["| thresholds | faulty runs flagged | healthy runs flagged |", "|---|---|---|"]
    rules = {"ours": lambda history: [f.cause for f in doctor(history)], **RIVALS}
    histories = [(run.fault is not None, History.of(run.events)) for run in runs]
    for name, rule in rules.items():
        shares = []
        for faulty in (True, False):
            of = [bool(rule(history)) for is_faulty, history in histories if is_faulty == faulty]
            shares.append(f"{sum(of) / max(1, len(of)):.1%} of {len(of)}")
        lines.append(f"| {name} | {shares[0]} | {shares[1]} |")
    return "\n".join(lines)
