"""``python -m benchmarks.range_test.fit``: the numbers of ``downslope/finder/_suggest.py``.

It races every problem that may be fitted on as `find_lr` does and prints the numbers of least
expected cost, all fitted together, and what they score on data sets that they were not fitted on.
The cost counts how many runs end worse than 1.1, 1.5 and 3 times the best, and is averaged over
answers nearby, so that what costs much on one side (a rate too high, mostly) is kept away from.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray

from downslope.finder._races import Races
from downslope.finder._run import plan_of, raced
from downslope.finder._suggest import RULE, Rule, planned_lr
from downslope.finder._sweep import sweep
from downslope.finder._trial import Trial

from .cases import CASES, DRAWN_RUNS, LENGTHS, Case, Curve, load
from .problems import TUNING
from .score import percentages, score
from .suggest import parts
from .usual import USUAL

__all__ = ["expected_cost", "shift"]

SEED = 200
NEARBY = 0.1  # decades: what the race itself may be off by
SHIFTS = np.arange(-2.0, 1.01, 0.02)
OFFSETS = np.arange(-3.0, 3.01, 0.02)  # decades from the answer of the rule as it is
PARTS = 8  # of the data sets: each is scored by what was fitted on the others
CHOSEN = {problem.name: 2.0 for problem in TUNING} | {problem.name: 1.5 for problem in USUAL}
STEPS, LR, RIDGE = 220, 0.05, 0.002  # of the fit, for numbers in units of what they change

Array = NDArray[np.float64]


def expected_cost(scores: Array) -> Array:
    """Of scores at shifts of 0.02 decades: 1 for each limit passed, more for what is lost besides.

    The limits are softened and their cost averaged over :data:`NEARBY`, so that no single case
    decides by a hair.
    """

    def above(limit: float, softness: float) -> Array:
        return 1 / (1 + np.exp(-(np.log(scores) - math.log(limit)) / softness))

    lost = 0.4 * np.log(np.minimum(scores, 8.0))
    cost = lost + above(1.1, 0.03) + above(1.5, 0.08) + 1.5 * above(3.0, 0.15)
    away = np.arange(-15, 16) * 0.02
    weights = np.exp(-0.5 * (away / NEARBY) ** 2)
    padded = np.pad(cost, 15, mode="edge")
    return np.convolve(padded, weights / weights.sum(), "valid")


def shift(curves: Iterable[tuple[Curve, float]]) -> tuple[float, list[float]]:
    """The shift of least mean cost, and the scores that it gives.

    Args:
        curves: planned runs, and the best rate of races.
    """
    scores = np.array([[score(c, lr * 10**d) for d in SHIFTS] for c, lr in curves])
    mean = np.mean([expected_cost(row) for row in scores], axis=0)
    best = int(mean.argmin())
    return float(SHIFTS[best]), scores[:, best].tolist()


@dataclass(frozen=True)
class Test:
    """What a range test saw of a case, and what its planned runs say."""

    case: Case
    curve: Curve
    races: Races
    usual: float | None

    def answer(self, rule: Rule = RULE) -> float:
        """In decades."""
        lr = planned_lr(self.case.optimizer, self.races, self.usual, self.case.steps, rule)
        return math.log10(lr)


def tested(case: Case, curve: Curve) -> Test | None:
    """The races of a range test; None where the loss is not finite before them."""
    trial = Trial(*parts(case, SEED, 1.0))
    plan = plan_of(1e-7, None, None, "exponential", case.steps)
    seen = sweep(trial, (*plan.lrs, *plan.further), len(plan.lrs), lambda lr, loss: None)
    swept = len(seen.losses) + (seen.diverged_at is not None)
    if not seen.losses:
        return None
    races, usual, _ = raced(trial, plan, case.optimizer, plan.budget - swept, lambda lr, loss: None)
    return Test(case, curve, races, usual)


def numbers(record: Any, before: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    """The places of a rule's numbers that are fitted; the usual rates are not."""
    found = []
    for field in fields(record):
        value, place = getattr(record, field.name), (*before, field.name)
        if not isinstance(value, float):
            found += numbers(value, place)
        elif field.name != "usual" and "unknown" not in place:
            found.append(place)
    return found


def added(record: Any, place: tuple[str, ...], by: float) -> Any:
    """The record with so much more at a place."""
    value = getattr(record, place[0])
    return replace(record, **{place[0]: added(value, place[1:], by) if place[1:] else value + by})


def fitted(changes: Array, costs: Array, weights: Array) -> Array:
    """By how much each number changes for the least weighted cost.

    Args:
        changes: of each test's answer by each number, of shape (tests, numbers).
        costs: at :data:`OFFSETS` from its answer, of shape (tests, offsets).
        weights: of the tests.
    """
    unit = torch.tensor(changes.std(0) + 1e-9)
    x, cost = torch.tensor(changes) / unit, torch.tensor(costs)
    found = torch.zeros(x.shape[1], dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.Adam([found], lr=LR)
    share = torch.tensor(weights / weights.sum())
    for step in range(STEPS):
        optimizer.param_groups[0]["lr"] = LR * (1 - step / STEPS)
        at = ((x @ found - OFFSETS[0]) / (OFFSETS[1] - OFFSETS[0])).clamp(0, len(OFFSETS) - 1.001)
        left = at.long()
        near, far = (cost.gather(1, left[:, None] + k)[:, 0] for k in (0, 1))
        loss = (share * (near + (at - left) * (far - near))).sum() + RIDGE * found.square().sum()
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]  # torch's
        optimizer.step()
    return cast(Array, (found / unit).detach().numpy())


def report(tests: Sequence[Test]) -> None:
    """Fit the numbers to tests, and print them and what they score."""
    places = numbers(RULE)
    answers = np.array([test.answer() for test in tests])
    changes = np.array([[t.answer(added(RULE, place, 1.0)) for place in places] for t in tests])
    changes -= answers[:, None]
    costs = np.array(
        [
            expected_cost(np.array([score(test.curve, 10 ** (at + d)) for d in OFFSETS]))
            for test, at in zip(tests, answers, strict=True)
        ]
    )
    length = np.array([test.case.steps for test in tests])
    weights = np.array([CHOSEN.get(test.case.problem, 1.0) for test in tests])
    for steps in LENGTHS:  # both count alike
        weights[length == steps] /= weights[length == steps].sum()
    data = [t.case.problem.split()[0] if t.case.what in TUNING else t.case.problem for t in tests]
    part = np.unique(data, return_inverse=True)[1] % PARTS
    others = answers.copy()
    for rest in (part != k for k in range(PARTS)):
        by = fitted(changes[rest], costs[rest], weights[rest])
        others[~rest] += changes[~rest] @ by
    by = fitted(changes, costs, weights)
    for name, new in (
        ("as it is", answers),
        ("fitted on other data", others),
        ("fitted", answers + changes @ by),
    ):
        for steps in LENGTHS:
            these = np.flatnonzero(length == steps)
            scores = percentages(score(tests[i].curve, 10 ** new[i]) for i in these)
            cost = np.mean([np.interp(new[i] - answers[i], OFFSETS, costs[i]) for i in these])
            print(f"{name}, {steps} steps: {len(these)} tests, {scores}, cost {cost:.3f}")
    rule = RULE
    for place, change in zip(places, by, strict=True):
        rule = added(rule, place, float(change))
    for field in fields(rule):
        print(f"{field.name}: {getattr(rule, field.name)}")


def main() -> None:
    argparse.ArgumentParser(description=__doc__).parse_args()
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
    curves = {**load(), **load(DRAWN_RUNS)}
    found = (tested(c, curves[c.key]) for c in CASES if c.key in curves and c.tuning)
    report([test for test in found if test is not None])


if __name__ == "__main__":
    main()
