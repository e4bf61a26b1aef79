"""The cases: a problem, a batch size, an optimizer and the length of the planned run."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from downslope.schedules import Schedule, cosine, warmup

from .drawn import DRAWN, FRESH, MORE
from .late import LATE
from .many import OPTIMIZERS, Copies
from .problems import PROBLEMS, TEST, Problem
from .small import SMALL
from .usual import USUAL
from .wide import WIDE

__all__ = [
    "CASES",
    "DRAWN_RUNS",
    "LENGTHS",
    "PLANNED_RUNS",
    "POINTS",
    "RESULTS",
    "SEEDS",
    "TWICE",
    "Case",
    "Curve",
    "completed",
    "load",
    "planned_runs",
]

RESULTS = Path(__file__).parents[1] / "results" / "range_test"
PLANNED_RUNS = RESULTS / "planned-runs.json"
#: Those of :data:`TWICE`, of as many problems as there was time for.
DRAWN_RUNS = RESULTS / "drawn-runs.json"
LENGTHS = (300, 1500)
#: Of planned runs: of the test cases, which say how good the range test is; of problems that rules
#: are fitted on; of :data:`TWICE`, of which there are many. The range tests have other seeds.
TEST_SEEDS, SEEDS, FEW_SEEDS = {300: range(12), 1500: range(8)}, range(4), range(2)
POINTS = 25
#: The sweep's ends: five decades around what each optimizer is used with.
SPAN = {"sgd": (1e-4, 10.0), "adamw": (1e-5, 1.0), "lion": (1e-6, 0.1)}
WARMUP = 0.05


@dataclass(frozen=True)
class Case:
    """What is trained, how, and for how long."""

    problem: str
    optimizer: str
    batch_size: int
    steps: int

    @property
    def key(self) -> str:
        return f"{self.problem} / {self.optimizer} / {self.batch_size} / {self.steps}"

    @property
    def tuning(self) -> bool:
        """Whether rules may be fitted on it."""
        return self.what not in TEST

    @property
    def what(self) -> Problem:
        return _BY_NAME[self.problem]

    @property
    def seeds(self) -> range:
        """Of its planned runs."""
        if not self.tuning:
            return TEST_SEEDS[self.steps]
        return FEW_SEEDS if self.what in TWICE else SEEDS

    @property
    def lrs(self) -> NDArray[np.float64]:
        """The learning rates of the sweep."""
        return np.geomspace(*SPAN[self.optimizer], POINTS)


#: Problems whose planned runs are made with :data:`FEW_SEEDS`.
TWICE = (*MORE, *WIDE, *SMALL, *LATE, *USUAL)
_BY_NAME = {
    **PROBLEMS,
    **{problem.name: problem for problem in (*DRAWN, *FRESH, *TWICE)},
}
CASES = [
    Case(problem.name, optimizer, problem.batch_sizes[which], steps)
    for steps in LENGTHS
    for which in (0, 1)
    for problem in PROBLEMS.values()
    for optimizer in OPTIMIZERS
] + [
    Case(problem.name, optimizer, problem.batch_sizes[0], steps)
    for problem in (*DRAWN, *TWICE)
    for steps in LENGTHS
    for optimizer in OPTIMIZERS
]


@dataclass(frozen=True)
class Curve:
    """The final validation losses of a case's planned runs.

    Args:
        lrs: the learning rates.
        losses: of shape (seeds, lrs), not finite where a run diverged.
        untrained: before training, of shape (seeds,).
    """

    lrs: NDArray[np.float64]
    losses: NDArray[np.float64]
    untrained: NDArray[np.float64]

    def of(self, seeds: Sequence[int] | slice) -> Curve:
        """With some of its seeds."""
        return Curve(self.lrs, self.losses[seeds], self.untrained[seeds])


def schedule(steps: int) -> Schedule:
    """The planned run's: 5% warmup, then a cosine to 0."""
    rising = round(WARMUP * steps)
    return warmup(rising) >> cosine(steps - rising)


def completed(case: Case, done: Curve | None) -> Curve:
    """Planned runs with those of the case's seeds that they lack."""
    if done is None:
        return planned_runs(case, case.seeds)
    new = planned_runs(case, case.seeds[len(done.losses) :])
    return Curve(
        done.lrs,
        np.concatenate([done.losses, new.losses]),
        np.concatenate([done.untrained, new.untrained]),
    )


def planned_runs(case: Case, seeds: Sequence[int]) -> Curve:
    """Train every learning rate with every seed, from the beginning to the end."""
    copies = Copies(case.what, case.optimizer, list(seeds), POINTS, case.batch_size)
    untrained = copies.validation().view(len(seeds), POINTS)[:, 0]
    lrs = torch.tensor(case.lrs).repeat(len(seeds))
    factor = schedule(case.steps)
    for step in range(case.steps):
        copies.step(factor(step) * lrs)
    losses = copies.validation().view(len(seeds), POINTS)
    return Curve(case.lrs, losses.double().numpy(), untrained.double().numpy())


def load(file: Path = PLANNED_RUNS) -> dict[str, Curve]:
    """The planned runs that were done, by the case's key."""
    if not file.exists():
        return {}
    found = json.loads(file.read_text(encoding="utf-8"))
    by_key = {case.key: case for case in CASES}
    return {
        key: Curve(
            by_key[key].lrs,
            np.array([[np.nan if x is None else x for x in row] for row in saved["losses"]]),
            np.array(saved["untrained"]),
        )
        for key, saved in found.items()
    }


def save(curves: dict[str, Curve], file: Path) -> None:
    """Write the planned runs, a case a line, with five digits."""
    file.parent.mkdir(parents=True, exist_ok=True)

    def numbers(values: NDArray[np.float64]) -> list[float | None]:
        return [float(f"{x:.5g}") if np.isfinite(x) else None for x in values]

    lines = [
        f"{json.dumps(key)}: "
        + json.dumps(
            {"untrained": numbers(c.untrained), "losses": [numbers(row) for row in c.losses]}
        )
        for key, c in curves.items()
    ]
    file.write_text("{\n" + ",\n".join(lines) + "\n}\n", encoding="utf-8")
