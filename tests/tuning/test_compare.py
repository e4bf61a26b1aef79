"""Comparisons of optimizers: what they claim, what they keep, how they go on."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from downslope import Comparison, Recipe, compare
from downslope.errors import DownslopeError, InputError
from downslope.tuning.journal import Journal, entries

from .small import QUICK, SLOW, plane

ROOT = Path(__file__).parents[2]


def done(folder: Path) -> list[dict[str, Any]]:
    """The jobs in a journal."""
    return [e for e in entries(folder) if "result" in e]


@pytest.fixture(scope="module")
def planted(tmp_path_factory: pytest.TempPathFactory) -> Comparison:
    """The same optimizer at a rate ten times too low, and the two under another name each."""
    contenders = {"slow": SLOW, "quick": QUICK, "twin": QUICK}
    return compare(
        plane(), contenders, seeds=4, trials=1, run_dir=tmp_path_factory.mktemp("c"), processes=0
    )


def test_a_planted_difference_is_found(planted: Comparison) -> None:
    """At a tenth of the rate the target is later with every seed; that is no noise."""
    assert planted.tiers == [["quick", "twin"], ["slow"]]
    assert "quick and twin reach rmse" in planted.answer
    assert planted.answer.endswith("Behind: slow.")


def test_an_optimizer_does_not_differ_from_itself_under_another_name(planted: Comparison) -> None:
    """With the same seeds they do the same, step by step, and noise is called noise."""
    rows = {row.label: row for row in planted.rows}
    assert rows["quick"].steps == rows["twin"].steps
    assert "the difference between them is noise" in planted.answer


def test_one_winner_is_named_with_its_p_value(tmp_path: Path) -> None:
    """Four seeds against four, all faster: 2 of the 70 ways to deal the ranks are as extreme."""
    result = compare(
        plane(), {"quick": QUICK, "slow": SLOW}, seeds=4, trials=1, run_dir=tmp_path, processes=0
    )
    assert result.answer.startswith("quick reaches rmse")
    assert "(p = 0.029, exact rank-sum test)" in result.answer
    assert [row.label for row in result.rows] == ["quick", "slow"]


def test_who_misses_the_goal_takes_for_ever(tmp_path: Path) -> None:
    """A goal that no rate of this size reaches in time counts as missed, not as late."""
    result = compare(
        plane(),
        {"quick": QUICK, "never": QUICK.replace(lr=1e-5)},
        seeds=4,
        trials=1,
        goal=0.5,
        run_dir=tmp_path,
        processes=0,
    )
    never = result.rows[-1]
    assert (never.label, never.reached, set(never.steps)) == ("never", 0, {float("inf")})
    assert "never, misses it with 4 of them" in result.answer
    assert not any(e["event"] == "trial" for e in entries(tmp_path))


def test_with_three_seeds_it_says_that_nothing_can_be_told(tmp_path: Path) -> None:
    """Three against three can be no rarer than 1 in 10."""
    result = compare(
        plane(), {"a": QUICK, "b": SLOW}, seeds=3, trials=1, run_dir=tmp_path, processes=0
    )
    assert "With 3 seeds nothing can be told from noise" in result.answer


def test_every_optimizer_has_the_same_budget_and_no_seed_is_used_twice(tmp_path: Path) -> None:
    """As many range tests, trials, steps and runs; tuning and counting use different seeds."""
    compare(
        plane(), ["sgd", "adam"], recipe=Recipe(epochs=2, seed=7), seeds=2, trials=3, goal=0.1,
        run_dir=tmp_path, processes=0,
    )  # fmt: skip
    count = Counter((e["event"], e["label"]) for e in done(tmp_path))
    for label in ("sgd", "adam"):
        assert [count[kind, label] for kind in ("range test", "trial", "run")] == [1, 3, 2]
    steps = {e["recipe"]["max_steps"] for e in done(tmp_path)}
    assert steps == {16}
    kinds = ("range test", "trial", "final", "run")
    seeds = {k: {e["recipe"]["seed"] for e in done(tmp_path) if e["event"] == k} for k in kinds}
    assert seeds == {"range test": {7}, "trial": {7}, "final": {10}, "run": {8, 9}}


def test_trials_are_at_the_same_points_around_each_range_test(tmp_path: Path) -> None:
    """The first at the suggestion, the others at equal multiples of it."""
    compare(
        plane(), ["sgd", "adam"], recipe=Recipe(epochs=2), seeds=1, trials=4, goal=0.1,
        run_dir=tmp_path, processes=0,
    )  # fmt: skip
    found = {}
    for label in ("sgd", "adam"):
        mine = [e for e in done(tmp_path) if e["label"] == label]
        centre = next(e for e in mine if e["event"] == "range test")["result"]["suggestion"]
        rates = {e["number"]: e["recipe"]["lr"] for e in mine if e["event"] == "trial"}
        found[label] = [rates[k] / centre for k in range(4)]
    assert found["sgd"][0] == 1
    assert found["sgd"] == pytest.approx(found["adam"], rel=1e-3)


def test_the_target_is_decided_before_the_runs_that_count(planted: Comparison) -> None:
    """In the journal it stands before the first of them, and follows from the trials alone."""
    kinds = [e["event"] for e in entries(planted.path)]
    assert max(k for k, e in enumerate(kinds) if e == "trial") < kinds.index("target")
    assert kinds.index("target") < kinds.index("run")


def test_a_hopeless_trial_is_given_up(tmp_path: Path) -> None:
    """Rates hundreds of times too high: the doctor ends the second, its own numbers the first."""
    result = compare(
        plane(), {"wild": QUICK.replace(lr=30.0, clip_norm=None), "quick": QUICK}, seeds=1,
        trials=2, run_dir=tmp_path, processes=0,
    )  # fmt: skip
    (_, first), (_, second) = result.trials["wild"]
    assert (first.ending, second.ending) == ("diverged", "pruned")
    assert "lr too high" in second.finding
    assert second.steps < first.steps < 32
    assert result.runs["wild"] == []
    assert result.rows[-1].label == "wild"


def test_the_same_call_again_does_nothing(planted: Comparison) -> None:
    """The journal answers, byte for byte as it was."""
    journal = planted.path / "journal.jsonl"
    before = journal.read_bytes()
    contenders = {"slow": SLOW, "quick": QUICK, "twin": QUICK}
    again = compare(plane(), contenders, seeds=4, trials=1, run_dir=planted.path, processes=0)
    assert journal.read_bytes() == before
    assert again == planted


def test_another_question_in_the_same_directory_is_refused(planted: Comparison) -> None:
    """The error says what differs."""
    with pytest.raises(InputError, match="its seeds differ"):
        compare(
            plane(), {"slow": SLOW, "quick": QUICK, "twin": QUICK}, seeds=5, trials=1,
            run_dir=planted.path, processes=0,
        )  # fmt: skip


def test_a_budget_sets_the_length_of_all_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A few steps of each are tried, once; every run then has the steps that follow from them."""
    monkeypatch.setattr(
        "downslope.tuning.course.affordable_steps",
        lambda plan, probes, workers: {k: 24 for k in probes if probes[k]["seconds"] > 0},
    )
    result = compare(
        plane(), {"a": QUICK, "b": SLOW}, seeds=1, trials=1, budget=1, run_dir=tmp_path,
        processes=0,
    )  # fmt: skip
    assert {o.steps for outcomes in result.runs.values() for o in outcomes} == {24}
    assert sum(e["event"] == "probe" for e in entries(tmp_path)) == 2


def test_a_budget_that_shows_nothing_is_refused(tmp_path: Path) -> None:
    """Before anything but the tries was run."""
    with pytest.raises(InputError, match="20 at least are needed"):
        compare(plane(), {"a": QUICK, "b": SLOW}, budget=1e-5, run_dir=tmp_path, processes=0)


def test_two_at_once_in_one_directory_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second would write into the first one's journal."""
    monkeypatch.setattr("downslope.tuning.journal.PATIENCE", 0.2)
    with Journal(tmp_path), pytest.raises(InputError, match="Another process is at work"):
        Journal(tmp_path)


KILLED = """
import sys
from tests.tuning.small import QUICK, SLOW, plane
from downslope import compare
both = {"quick": QUICK, "slow": SLOW}
compare(plane(), both, seeds=6, trials=2, run_dir=sys.argv[1], processes=2)
"""


def test_killed_midway_it_goes_on_and_repeats_no_run(tmp_path: Path) -> None:
    """SIGKILL after some jobs: what the journal had stays, and only the rest is done."""
    folder = tmp_path / "c"
    process = subprocess.Popen(
        [sys.executable, "-c", KILLED, str(folder)], cwd=ROOT, stderr=subprocess.PIPE
    )
    until = time.monotonic() + 60
    while not folder.exists() or len(done(folder)) < 5:
        assert process.poll() is None, process.stderr and process.stderr.read().decode()
        assert time.monotonic() < until
        time.sleep(0.01)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    process.stderr and process.stderr.close()
    journal = folder / "journal.jsonl"
    before = journal.read_bytes()
    before = before[: before.rfind(b"\n") + 1]
    assert 5 <= before.count(b'"result"') < 18
    result = compare(
        plane(), {"quick": QUICK, "slow": SLOW}, seeds=6, trials=2, run_dir=folder, processes=2
    )
    assert journal.read_bytes().startswith(before)
    jobs = Counter((e["event"], e["label"], e["number"]) for e in done(folder))
    assert set(jobs.values()) == {1}
    labels = ("quick", "slow")  # the best trials once more: what the doctor sees no hope for, not
    assert {j for j in jobs if j[0] == "trial"} == {("trial", x, k) for x in labels for k in (0, 1)}
    assert {j for j in jobs if j[0] == "run"} == {
        ("run", x, k) for x in labels for k in range(1, 7)
    }
    assert {j for j in jobs if j[0] == "final"} >= {("final", "quick", k) for k in (0, 1)}
    assert result.tiers == [["quick"], ["slow"]]


def test_processes_do_not_change_the_outcome(planted: Comparison, tmp_path: Path) -> None:
    """Two workers find the same curves as none, to the bit."""
    contenders = {"slow": SLOW, "quick": QUICK, "twin": QUICK}
    result = compare(plane(), contenders, seeds=4, trials=1, run_dir=tmp_path, processes=2)
    assert result.target == planted.target
    for label, outcomes in result.runs.items():
        assert [o.curve for o in outcomes] == [o.curve for o in planted.runs[label]]


def test_a_directory_with_something_else_in_it_is_left_alone(tmp_path: Path) -> None:
    """Nothing of a comparison's is written beside it."""
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(InputError, match="holds something else"):
        compare(plane(), {"a": QUICK, "b": SLOW}, run_dir=tmp_path, processes=0)
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]


def test_an_error_in_a_worker_is_the_callers(tmp_path: Path) -> None:
    """What a run refuses inside another process is raised here, in its words."""
    task = plane()
    nobody = QUICK.replace(checkpoint_background=True, device="meta")
    with pytest.raises(DownslopeError):
        compare(task, {"a": nobody, "b": nobody}, trials=1, run_dir=tmp_path, processes=2)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"optimizers": ["adam"]}, "two optimizers at least"),
        ({"optimizers": ["adam", "adam"]}, "'adam' is named twice"),
        ({"optimizers": ["adam", "adamm"]}, "Unknown optimizer 'adamm'"),
        ({"optimizers": {"a/b": "adam", "c": "adam"}}, "cannot be a label"),
        ({"optimizers": {"a": "adam", "c": Recipe(heal=True)}}, "has heal = true"),
        ({"seeds": 0}, "seeds must be a whole number from 1"),
        ({"trials": 2.5}, "trials must be a whole number from 1"),
        ({"budget": 0}, "budget must be more than 0"),
        ({"goal": float("nan")}, "goal must be a finite number"),
        ({"search": ["momentum"]}, "Unknown hyperparameter to search of Adam"),
        ({"processes": -1}, "processes must be a whole number"),
    ],
)
def test_bad_arguments_are_refused_before_anything_is_written(
    change: dict[str, Any], message: str, tmp_path: Path
) -> None:
    """Each with what came and what is allowed."""
    given = {"optimizers": ["adam", "adamw"], "run_dir": tmp_path / "c", "processes": 0, **change}
    with pytest.raises(InputError, match=message):
        compare(plane(), **given)
    assert not (tmp_path / "c").exists()
