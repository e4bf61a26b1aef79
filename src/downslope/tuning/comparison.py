"""What came out of a comparison: read from its journal, judged, and put into words."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import InputError
from ..training import Recipe
from .journal import entries
from .outcome import Outcome
from .statistics import ALPHA, median_interval, middle, performance_profile, rank_sum_p, tiers

__all__ = ["Comparison", "Row"]


@dataclass(frozen=True)
class Row:
    """One optimizer's line of the table.

    Args:
        label: what it is called here.
        recipe: of its runs that count, but for the seed.
        reached: how many of its runs reached the target.
        steps, seconds: to the target, of each seed; infinite where it was missed.
        final: the metric at the end of each run that ended well.
        state_bytes: that the optimizer keeps, a parameter.
        step_seconds: median over its runs; None where none was made.
    """

    label: str
    recipe: Recipe
    reached: int
    steps: tuple[float, ...]
    seconds: tuple[float, ...]
    final: tuple[float, ...]
    state_bytes: float
    step_seconds: float | None


@dataclass(frozen=True)
class Comparison:
    """A comparison that has ended.

    Args:
        path: its directory.
        plan: what was asked.
        target: the value of the metric to reach.
        rows: the optimizers, the fastest first.
        trials: the tuning runs of each, with their recipes.
        runs: the runs that count of each, in the order of the seeds.
        tests: the range test of each whose learning rate was sought.
        environment: versions and machine.
    """

    path: Path
    plan: Mapping[str, Any]
    target: float
    rows: tuple[Row, ...]
    trials: Mapping[str, Sequence[tuple[Recipe, Outcome]]]
    runs: Mapping[str, Sequence[Outcome]]
    tests: Mapping[str, Mapping[str, Any]]
    environment: Mapping[str, Any]

    @classmethod
    def load(cls, folder: str | Path) -> Comparison:
        """The comparison in a directory.

        Raises:
            InputError: there is none, or it has not ended yet.
        """
        path = Path(folder)
        journal = entries(path)
        if not journal or journal[0]["event"] != "plan":
            raise InputError(
                f"{str(path)!r} is not the directory of a comparison. Give one that `downslope "
                "compare` or compare() made."
            )
        plan = journal[0]
        kept = {e["event"]: e for e in journal}
        picks = kept.get("choice", {}).get("value", {})
        counted = {(e["label"], e["number"]): e for e in journal if e["event"] == "run"}
        wanted = [(k, s) for k, pick in picks.items() if pick is not None for s in plan["seeds"]]
        if not picks or any(key not in counted for key in wanted):
            raise InputError(
                f"The comparison in {str(path)!r} has not ended: {len(counted)} runs are done. "
                "Start it again with the same settings to go on."
            )
        tried: dict[str, list[tuple[Recipe, Outcome]]] = {label: [] for label in picks}
        for entry in sorted((e for e in journal if e["event"] == "trial"), key=_number):
            outcome = Outcome.from_dict(entry["result"])
            tried[entry["label"]].append((Recipe(**entry["recipe"]), outcome))
        runs = {
            label: [Outcome.from_dict(counted[key]["result"]) for key in wanted if key[0] == label]
            for label in picks
        }
        target = float(kept["target"]["value"])
        rows = []
        for label, outcomes in runs.items():
            used = [e["recipe"] for e in counted.values() if e["label"] == label]
            recipe = Recipe(**(used or [plan["contenders"][label]])[0])
            rows.append(_row(label, recipe, outcomes, target, plan))
        order = [name for tier in tiers({r.label: r.steps for r in rows}) for name in tier]
        return cls(
            path=path,
            plan=plan,
            target=target,
            rows=tuple(sorted(rows, key=lambda row: order.index(row.label))),
            trials=tried,
            runs=runs,
            tests={e["label"]: e["result"] for e in journal if e["event"] == "range test"},
            environment={k: v for k, v in kept["environment"].items() if k != "event"},
        )

    @property
    def tiers(self) -> list[list[str]]:
        """The optimizers by steps to the target, those together that cannot be told apart."""
        return tiers({row.label: row.steps for row in self.rows})

    @property
    def profile(self) -> dict[str, list[tuple[float, float]]]:
        """By optimizer the share of seeds solved within a multiple of the fewest steps."""
        return performance_profile({row.label: row.steps for row in self.rows})

    @property
    def goal(self) -> str:
        """The target in words, such as ``"accuracy 0.985"``."""
        return f"{self.plan['metric']} {self.target:.4g}"

    @property
    def answer(self) -> str:
        """Which optimizer reaches the target soonest, or that the difference is noise."""
        rows = {row.label: row for row in self.rows}
        first, *others = self.tiers
        seeds = len(self.plan["seeds"])
        if not any(row.reached for row in self.rows):
            return f"None reaches {self.goal}: give them longer, or set a lower goal."
        if not others:
            told = f"No difference that is more than noise in reaching {self.goal}: "
            told += f"{_after([rows[name] for name in first])} (medians of {seeds} seeds)."
            return f"{told} {_doubt(seeds)}"
        slower = rows[others[0][0]]
        if len(first) > 1:
            return (
                f"{_listed(first)} reach {self.goal} soonest, and the difference between them is "
                f"noise: {_after([rows[name] for name in first])} (medians of {seeds} seeds). "
                f"{_behind(others)}"
            )
        best = rows[first[0]]
        p = max(rank_sum_p(best.steps, row.steps) for row in self.rows if row is not best)
        told = (
            f"{best.label} reaches {self.goal} soonest: after {middle(best.steps):.0f} "
            f"steps, the median of {seeds} seeds"
        )
        if math.isfinite(middle(slower.steps)):
            ratio = middle(slower.steps) / middle(best.steps)
            told += f"; the next, {slower.label}, takes {ratio:.2g} times as many"
        else:
            told += f"; the next, {slower.label}, misses it with {seeds - slower.reached} of them"
        told += f" (p = {p:.2g}, exact rank-sum test)."
        return f"{told} {_behind(others)}" if len(self.rows) > 2 else told

    @property
    def by_the_clock(self) -> str:
        """The same by seconds, where runs side by side on this machine took them."""
        in_time = tiers({row.label: row.seconds for row in self.rows})
        if in_time == self.tiers:
            return "By the clock the order is the same."
        groups = ", then ".join(_listed(tier) for tier in in_time)
        return f"By the clock: {groups}." if len(in_time) > 1 else "By the clock all are alike."

    def __str__(self) -> str:
        return "\n".join([self.answer, self.by_the_clock, "", *self.table()])

    def table(self) -> list[str]:
        """The rows as lines of text, below a header."""
        head = self.heads()
        cells = [head, *(self.cells(row) for row in self.rows)]
        widths = [max(len(line[k]) for line in cells) for k in range(len(head))]
        return [
            "  ".join(c.ljust(w) if k == 0 else c.rjust(w) for k, (c, w) in enumerate(line))
            for line in ([*zip(row, widths, strict=True)] for row in cells)
        ]

    def heads(self) -> list[str]:
        """What stands above each column."""
        return ["", "lr", "steps to target", "seconds", self.plan["metric"], "state B/param", "ms"]

    def cells(self, row: Row) -> list[str]:
        """A row's numbers as text."""
        return [
            row.label,
            "" if row.recipe.lr is None else f"{row.recipe.lr:.3g}",
            _spread(row.steps, "{:.0f}"),
            _spread(row.seconds, "{:.2f}"),
            f"{middle(row.final):.4g}" if row.final else "none",
            f"{row.state_bytes:.1f}",
            "" if row.step_seconds is None else f"{1e3 * row.step_seconds:.2f}",
        ]


def _row(
    label: str,
    recipe: Recipe,
    outcomes: Sequence[Outcome],
    target: float,
    plan: Mapping[str, Any],
) -> Row:
    higher = plan["higher_is_better"]
    missed = (math.inf,) * len(plan["seeds"])
    steps = tuple(o.steps_to(target, higher_is_better=higher) for o in outcomes) or missed
    times = [o.step_seconds for o in outcomes if o.step_seconds is not None]
    return Row(
        label=label,
        recipe=recipe,
        reached=sum(map(math.isfinite, steps)),
        steps=steps,
        seconds=tuple(o.seconds_to(target, higher_is_better=higher) for o in outcomes) or missed,
        final=tuple(o.curve[-1].metric for o in outcomes if o.curve and not o.failed),
        state_bytes=plan["state_bytes"][label],
        step_seconds=middle(times) if times else None,
    )


def _number(entry: Mapping[str, Any]) -> int:
    number: int = entry["number"]
    return number


def _spread(values: Sequence[float], form: str) -> str:
    """The median, and the interval that holds the true one."""
    low, high, _ = median_interval(values)
    shown = [form.format(v) if math.isfinite(v) else "missed" for v in (middle(values), low, high)]
    return f"{shown[0]} ({shown[1]} to {shown[2]})"


def _listed(names: Sequence[str]) -> str:
    """Names in a sentence.

    >>> _listed(["a", "b", "c"])
    'a, b and c'
    """
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)


def _after(rows: Sequence[Row]) -> str:
    """When each reaches the target, in a sentence."""
    return _listed(
        [
            f"{row.label} after {middle(row.steps):.0f} steps"
            if math.isfinite(middle(row.steps))
            else f"{row.label} with {row.reached} of {len(row.steps)} seeds"
            for row in rows
        ]
    )


def _behind(others: Sequence[Sequence[str]]) -> str:
    """Who follows."""
    return f"Behind: {', then '.join(_listed(tier) for tier in others)}."


def _doubt(seeds: int) -> str:
    if 2 / math.comb(2 * seeds, seeds) >= ALPHA:
        return f"With {seeds} seeds nothing can be told from noise; 4 at least are needed."
    return "With other seeds the order may be another one."
