"""How long runs may be, which target and which trial: the decisions of a comparison."""

from __future__ import annotations

from typing import Any

import pytest

from downslope.errors import InputError
from downslope.tuning.outcome import Outcome, Point
from downslope.tuning.plan import affordable_steps, chosen, default_target, finalists

PROBES = {
    "a": {"seconds": 0.1, "steps": 10, "besides": 9.0},
    "b": {"seconds": 0.3, "steps": 10, "besides": 0.5},
}


def plan(**changes: Any) -> dict[str, Any]:
    """Four runs and a trial of each, 1000 and 2000 steps of 10 and 30 ms, half a second besides."""
    return {
        "steps": {"a": 1000, "b": 2000},
        "contenders": {"a": {"lr": 0.1}, "b": {"lr": 0.1}},
        "seeds": [1, 2, 3, 4],
        "trials": 1,
        "goal": None,
        "budget": 1.0,
        **changes,
    }


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("lr", [0.1, None])
@pytest.mark.parametrize("goal", [None, 0.5])
def test_a_budget_is_spent_and_not_exceeded(
    workers: int, lr: float | None, goal: float | None
) -> None:
    """What the runs, trials and range tests of this length take is the budget, to a step."""
    asked = plan(contenders={"a": {"lr": lr}, "b": {"lr": 0.1}}, goal=goal)
    steps = affordable_steps(asked, PROBES, workers)
    runs = 4 + (goal is None)
    took = runs * (0.01 * steps["a"] + 0.03 * steps["b"] + 2 * 0.5)
    took += 0.01 * max(200, 0.15 * steps["a"]) if lr is None else 0
    assert 60 * workers - runs * 0.1 < took <= 60 * workers
    assert steps["b"] == pytest.approx(2 * steps["a"], abs=2)


def test_runs_are_never_longer_than_planned() -> None:
    """An hour does not make them so."""
    assert affordable_steps(plan(budget=60.0), PROBES, 1) == {"a": 1000, "b": 2000}


def test_too_small_a_budget_is_refused() -> None:
    """The error says how many steps it pays for."""
    with pytest.raises(InputError, match=r"0\.1 minutes pay for runs of 2 steps"):
        affordable_steps(plan(budget=0.1), PROBES, 1)


def run(*metrics: float, ending: Any = "finished") -> Outcome:
    curve = tuple(Point(10 * k, m, 1 - m) for k, m in enumerate(metrics, start=1))
    return Outcome(curve, 10 * len(metrics), 0.01, ending)


def test_the_target_is_what_half_of_the_optimizers_hold_less_a_hundredth_of_the_way() -> None:
    """Of three the second best; its last quarter counts, not its best moment."""
    tuned = {
        "good": [run(0.1, 0.9, 0.9, 0.9), run(0.2, 0.99, 0.99, 0.9)],
        "fair": [run(0.3, 0.95, 0.8, 0.8)],
        "poor": [run(0.4, 0.5, 0.5, 0.5)],
    }
    assert default_target(tuned, higher_is_better=True) == pytest.approx(0.1 + 0.99 * 0.7)


def test_where_lower_is_better_the_target_lies_above_what_is_held() -> None:
    """The same for a loss."""
    tuned = {"a": [run(0.9, 0.5, 0.2, 0.1)], "b": [run(0.8, 0.5, 0.4, 0.3)]}
    assert default_target(tuned, higher_is_better=False) == pytest.approx(0.9 - 0.99 * 0.8)


def test_trials_that_failed_say_nothing_about_the_target() -> None:
    """Not even where they were good before; and where all failed, there is none."""
    lost = run(0.1, 0.99, 0.99, 0.99, ending="pruned")
    found = default_target({"a": [lost], "b": [run(0.1, 0.5, 0.5, 0.5)]}, higher_is_better=True)
    assert found == pytest.approx(0.1 + 0.99 * 0.4)
    with pytest.raises(InputError, match="every trial of every optimizer"):
        default_target({"a": [lost]}, higher_is_better=True)


def test_the_two_trials_that_are_there_first_are_run_once_more() -> None:
    """Those that do not get there follow by what they hold; those that failed are left out."""
    late, early, never = run(0.1, 0.2, 0.9, 0.99), run(0.1, 0.8, 0.8, 0.8), run(0.1, 0.1, 0.1, 0.6)
    lost = run(0.9, 0.9, ending="diverged")
    assert finalists([late, lost, never, early], 0.7, higher_is_better=True) == [3, 0]
    assert finalists([never, lost, early], 0.999, higher_is_better=True) == [2, 0]
    assert finalists([lost], 0.5, higher_is_better=True) == []


def test_one_lucky_run_of_two_is_not_enough() -> None:
    """There after 10 and 90 steps or 20 and 30: the latter; a run that failed was never there."""
    lucky, other = run(0.9), run(*[0.1] * 8, 0.9)
    steady = [run(0.1, 0.9), run(0.1, 0.1, 0.9)]
    assert chosen({0: [lucky, other], 4: steady}, 0.8, higher_is_better=True) == 4
    assert chosen({0: [lucky, run(0.9, ending="diverged")], 4: steady}, 0.8,
                  higher_is_better=True) == 4  # fmt: skip
    assert chosen({}, 0.8, higher_is_better=True) is None
