"""Changing the recipe where the doctor knows a safe remedy: what to change, and how often."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from ..doctor import Doctor, Finding
from .recipe import Recipe

__all__ = ["HIGH", "LATE", "MOST", "Healer", "healed"]

Event = dict[str, Any]

MOST = 3  # changes a run; after them its findings stand

#: Causes whose remedy is a change of the recipe that cannot make a sound run worse for long.
_SAFE = frozenset(
    {
        "lr too high",
        "lr too low",
        "slow optimizer",
        "dead units",
        "warmup missing",
        "batch too small",
        "batch too large",
        "overfitting",
        "exploding gradients",
        "weight decay too strong",
        "schedule ended early",
        "lr not lowered",
        "float16 underflow",
    }
)

#: Those of them that leave what was learnt before as sound as it was.
LATE = frozenset({"overfitting", "lr not lowered", "schedule ended early", "float16 underflow"})

#: Those that no higher learning rate mends, whatever the range test finds.
HIGH = frozenset({"lr too high", "lr not lowered", "warmup missing"})

#: Those that say of a rate that it is too low.
SLOW = frozenset({"lr too low", "slow optimizer"})


class Healer:
    """Listens to a run's events until the doctor finds something that a new recipe may mend.

    Args:
        recipe: what the run is trained by.
        before: what was recorded of the run so far, where it is resumed.

    ``finding`` is what was found, None so far. The event ``heal`` begins the search anew, by which
    time ``recipe`` is to be the changed one.
    """

    def __init__(self, recipe: Recipe, before: Iterable[Event] = ()) -> None:
        self.finding: Finding | None = None
        self.recipe = recipe
        self._mended: list[Event] = []  # findings, in the order of heals
        self._doctor = Doctor(lambda finding: None)
        for event in before:
            self(event)

    def __call__(self, event: Event) -> None:
        """Take note of an event."""
        if event["event"] == "heal":
            self._mended.append(event["finding"])
            self.finding = None
        if self.finding is not None:
            return
        self._doctor(event)
        if len(self._mended) < MOST and event["event"] in ("monitor", "validation", "nonfinite"):
            found = next(filter(self.mends, self._doctor.latest), None)
            self.finding = None if found is None else self.milder(found)

    def milder(self, finding: Finding) -> Finding:
        """The finding; with a smaller change of a rate that a heal took from the range test."""
        tested = any("lr" in m["change"] for m in self._mended)
        if not tested or finding.cause != "lr too high" or finding.change.get("lr") != "x0.1":
            return finding
        return replace(finding, change={**finding.change, "lr": "x0.3"})

    def mends(self, finding: Finding) -> bool:
        """Whether it is a fault that a change of the recipe mends."""
        tried = [m["cause"] for m in self._mended if m["change"].get("lr") == "found"]
        again = finding.cause in tried and finding.change.get("lr") == "found"
        # What learns by heart is meant to be slow: its rate was lowered for it.
        again |= finding.cause in SLOW and "overfitting" in [m["cause"] for m in self._mended]
        changes = healed(self.recipe, finding) != self.recipe
        return finding.cause in _SAFE and changes and not again


def healed(recipe: Recipe, finding: Finding) -> Recipe:
    """The recipe with a finding's change: a factor (``"x0.1"``) of what it was, or a new value.

    A learning rate that is to be higher is left out: the range test finds it, which is surer than
    ten times.

    >>> high = Finding("lr too high", "", "warning", 9, {}, "", {"lr": "x0.1"})
    >>> healed(Recipe(lr=1e-2), high).lr
    0.001
    """
    changes: dict[str, Any] = {}
    own = {k: v for k, v in finding.change.items() if k in recipe.hyperparameters}
    if own:
        changes["hyperparameters"] = {**recipe.hyperparameters, **own}
    for name, value in finding.change.items():
        if name not in Recipe.model_fields:
            continue
        now = getattr(recipe, name)
        factor = float(value[1:]) if isinstance(value, str) and value.startswith("x") else None
        if name == "lr" and (value == "found" or (factor or 0) > 1):
            changes[name] = None
        elif factor is not None:
            if now is not None:
                times = now * factor
                changes[name] = round(times) if isinstance(now, int) else float(f"{times:.12g}")
        elif name == "clip_norm" and now is not None:
            changes[name] = min(now, value)
        else:
            changes[name] = value
    if "optimizer" in changes:
        changes |= {"hyperparameters": {}, "weight_decay": None}
    rate = finding.cause not in LATE and changes.keys() & {"lr", "warmup", "hyperparameters"}
    if rate and recipe.schedule == "constant":
        changes.setdefault("schedule", "warmup-cosine")  # a rate that is in doubt ends low
    return recipe.replace(**changes)
