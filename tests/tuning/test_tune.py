"""Searches: what they claim, what processes share, how they go on."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils.data import TensorDataset

from downslope import Recipe, Study, load_task, tune
from downslope.errors import InputError, MissingExtraError
from downslope.tuning import search
from downslope.tuning.folds import cross_validated, folded
from downslope.tuning.outcome import Outcome, Point
from downslope.tuning.study import Verdict, corrected_t_test

from .small import QUICK, SLOW, plane

ROOT = Path(__file__).parents[2]
FEW: dict[str, Any] = {"folds": 2, "search": ["lr"], "processes": 0}


@pytest.fixture(scope="module")
def better(tmp_path_factory: pytest.TempPathFactory) -> Study:
    """A search that begins at a rate far too low."""
    return tune(plane(), recipe=SLOW, trials=6, run_dir=tmp_path_factory.mktemp("t"), **FEW)


def test_a_recipe_that_can_be_better_is_beaten(better: Study) -> None:
    """Five times the rate is within the range, and 32 steps at it go much farther."""
    assert better.answer.startswith("The search beat the default recipe: cross-validated loss")
    assert better.better.lr == max(t.params["lr"] for t in better.trials)


def test_the_file_it_leaves_is_a_recipe(better: Study) -> None:
    """What `train --recipe` reads, with the answer as a comment."""
    assert Recipe.from_toml(better.path / "recipe.toml") == better.better
    assert (better.path / "recipe.toml").read_text().startswith(f"# {better.answer}\n")


def test_it_is_judged_on_folds_and_seeds_that_it_was_not_chosen_by(better: Study) -> None:
    """Two drawings of two folds, neither the search's: four pairs."""
    assert better.verdict is not None
    assert len(better.verdict.best) == len(better.verdict.default) == 4
    folders = {path.name for path in better.path.glob("trials/check*/*")}
    assert folders == {"1-0", "1-1", "2-0", "2-1"}


def test_the_same_call_again_makes_no_further_trial(better: Study) -> None:
    """Nor does it judge again; the answer is the same."""
    before = {p: p.stat().st_mtime_ns for p in better.path.glob("trials/*/*/records.jsonl")}
    again = tune(plane(), recipe=SLOW, trials=6, run_dir=better.path, **FEW)
    assert {p: p.stat().st_mtime_ns for p in better.path.glob("trials/*/*/records.jsonl")} == before
    assert (again.answer, len(again.trials)) == (better.answer, 6)
    assert Study.load(better.path) == again


def test_the_same_question_from_another_machine_leads_to_the_same_study(
    better: Study, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the machine is, and where the data lie, is no part of the question."""
    monkeypatch.setattr("downslope.tuning._tune.environment", lambda device: {"cores": 99})
    moved = replace(plane(), source={"spec": "elsewhere.csv"})
    again = tune(moved, recipe=SLOW, trials=6, run_dir=better.path, **FEW)
    assert again.trials == better.trials


def test_another_question_in_the_same_directory_begins_another_study(better: Study) -> None:
    """Studies are told apart by what they ask."""
    other = tune(plane(), recipe=SLOW.replace(seed=5), trials=1, run_dir=better.path, **FEW)
    assert len(other.trials) == 1


def test_a_default_that_is_as_good_is_not_beaten(tmp_path: Path) -> None:
    """A search among weight decays that change nothing finds nothing, and says so."""
    few = {**FEW, "search": ["weight_decay"]}
    found = tune(plane(), recipe=QUICK.replace(weight_decay=1e-7), trials=3, run_dir=tmp_path,
                 **few)  # fmt: skip
    assert "could not beat the default recipe" in found.answer


def test_several_optimizers_have_spaces_of_their_own(tmp_path: Path) -> None:
    """What is learnt about one's rate is not taken for the other's."""
    few = {**FEW, "search": None}
    found = tune(plane(), ["sgd", "adam"], recipe=QUICK.replace(optimizer="sgd"), trials=4,
                 sampler="random", run_dir=tmp_path, **few)  # fmt: skip
    assert {t.params["optimizer"] for t in found.trials} == {"sgd", "adam"}
    assert {name for optimizer, name, *_ in found.dimensions if optimizer == "adam"} == {
        "lr", "beta1", "beta2", "weight_decay",
    }  # fmt: skip


TOGETHER = """
import sys
from tests.tuning.small import SLOW, plane
from downslope import tune
study = tune(
    plane(), recipe=SLOW, trials=int(sys.argv[2]), folds=2, search=["lr"], processes=0,
    run_dir=sys.argv[1], on_event=lambda event: print(event["event"], flush=True),
)
print(study.answer)
"""


def at_trials(folder: Path, trials: int) -> subprocess.Popen[str]:
    """Another process that has just begun its trials."""
    process = subprocess.Popen(
        [sys.executable, "-c", TOGETHER, str(folder), str(trials)],
        cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stdout is not None
    for _ in range(4):  # two phases, the baseline, and the first trial
        process.stdout.readline()
    return process


def test_two_processes_share_a_study(tmp_path: Path) -> None:
    """Both make trials, sixteen together; whoever ends last says what came out."""
    other = at_trials(tmp_path / "t", 16)
    mine = tune(plane(), recipe=SLOW, trials=16, run_dir=tmp_path / "t", **FEW)
    said, errors = other.communicate(timeout=100)
    assert other.returncode == 0, errors
    found = Study.load(tmp_path / "t")
    assert 16 <= len(found.trials) <= 17  # both may ask at the same moment
    assert len({trial.by for trial in found.trials}) == 2
    assert "beat the default" in said + mine.answer


def test_a_study_may_be_kept_in_a_data_base(tmp_path: Path) -> None:
    """A second call with the same URL and another directory goes on with it."""
    where = {**FEW, "storage": f"sqlite:///{tmp_path}/study.db"}
    tune(plane(), recipe=SLOW, trials=2, run_dir=tmp_path / "a", **where)
    found = tune(plane(), recipe=SLOW, trials=3, run_dir=tmp_path / "b", **where)
    assert len(found.trials) == 3
    assert len(list((tmp_path / "b" / "trials").glob("trial-*"))) == 1


def test_a_trial_of_a_killed_process_is_made_again(tmp_path: Path) -> None:
    """SIGKILL in the middle: what ended is kept, what did not is asked again, none counts twice."""
    process = at_trials(tmp_path / "t", 8)
    time.sleep(0.05)
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    found = tune(plane(), recipe=SLOW, trials=8, run_dir=tmp_path / "t", **FEW)
    assert len(found.trials) == 8
    assert len({trial.by for trial in found.trials}) == 2
    assert all(trial.value is not None or trial.finding for trial in found.trials)


def test_folds_are_disjoint_and_leave_the_validation_rows_out() -> None:
    """Every training row is held out once, classes in equal shares, no validation row at all."""
    task = load_task("digits")
    parts = folded(task, 4, seed=0)
    images = [part.validation.tensors[0].flatten(1).numpy() for part in parts]  # type: ignore[attr-defined]
    held = np.concatenate(images)
    assert len(held) == len(task.train)  # type: ignore[arg-type]
    order = lambda rows: rows[np.lexsort(rows.T)]  # noqa: E731 - used twice, here only
    assert (order(held) == order(task.train.tensors[0].flatten(1).numpy())).all()  # type: ignore[attr-defined]
    for part in parts:
        counts = torch.bincount(part.validation.tensors[1])  # type: ignore[attr-defined]
        assert int(counts.max() - counts.min()) <= 3


def test_folds_of_other_data_sets_are_drawn_too() -> None:
    """A regression's, and a data set that is not made of tensors."""
    parts = folded(plane(), 3, seed=0)
    assert [len(part.validation) for part in parts] == [22, 21, 21]  # type: ignore[arg-type]
    wrapped = torch.utils.data.ConcatDataset([plane().train])
    other = folded(_with_train(wrapped), 3, seed=0)
    assert torch.equal(other[0].train[0][0], parts[0].train[0][0])


def _with_train(train: Any) -> Any:
    return replace(plane(), train=train)


def test_more_folds_than_rows_of_a_class_are_refused() -> None:
    """The error says how many there are."""
    x = torch.zeros(10, 2)
    rare = TensorDataset(x, torch.tensor([0] * 8 + [1] * 2))
    task = replace(load_task("digits"), train=rare, validation=rare, model=lambda: None)
    with pytest.raises(InputError, match="has 2"):
        folded(task, 3, seed=0)


def test_a_trials_value_is_the_best_mean_over_the_folds() -> None:
    """Of the course of training, not of each fold's own best moment."""
    curves = [[3.0, 1.0, 2.0], [1.0, 4.0, 2.0]]
    outcomes = [
        Outcome(tuple(Point(k, -v, v) for k, v in enumerate(curve)), 3, None, "finished")
        for curve in curves
    ]
    assert cross_validated(outcomes, by_loss=True, higher_is_better=True) == 2.0
    assert cross_validated(outcomes, by_loss=False, higher_is_better=True) == -2.0


def test_without_shared_rows_the_test_is_the_paired_t_test() -> None:
    """Beside scipy's; with shared rows it is ever more careful."""
    from scipy.stats import ttest_rel

    draw = np.random.default_rng(0)
    a, b = draw.normal(size=(2, 8))
    plain = corrected_t_test((a - b).tolist(), 0.0)
    assert plain == pytest.approx(ttest_rel(a, b).pvalue, rel=1e-9)
    assert plain < corrected_t_test((a - b).tolist(), 0.25)


def test_the_side_of_a_difference_follows_from_which_way_is_better() -> None:
    """A higher accuracy beats, a higher loss does not."""
    high, low = [0.9, 0.91, 0.92], [0.5, 0.5, 0.51]
    assert Verdict.of(high, low, folds=2, higher_is_better=True).beaten
    assert not Verdict.of(high, low, folds=2, higher_is_better=False).beaten


def test_without_optuna_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """Before anything is done."""
    monkeypatch.setitem(sys.modules, "optuna", None)
    with pytest.raises(MissingExtraError, match=r"downslope\[tune\]"):
        tune(plane())


def test_what_lags_behind_is_given_up(tmp_path: Path) -> None:
    """Hyperband sees the first fold's validations: of many rates the small ones do not end."""
    long = SLOW.replace(epochs=5, validate_steps=8)  # five validations: two rungs
    found = tune(plane(), recipe=long, trials=10, sampler="random", run_dir=tmp_path, **FEW)
    given_up = [t for t in found.trials if t.value is None]
    assert given_up
    assert all("lagged behind" in t.finding for t in given_up)
    assert all(t.steps < 40 for t in given_up)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"trials": 0}, "trials must be a whole number"),
        ({"folds": 1.5}, "folds must be a whole number"),
        ({"sampler": "grid"}, "sampler must be 'tpe' or 'random'"),
        ({"optimizers": ["adamm"]}, "Unknown optimizer"),
        ({"optimizers": []}, "one optimizer at least"),
        ({"search": ["momentun"]}, "Did you mean 'momentum'"),
        ({"recipe": Recipe(heal=True)}, "heal = true"),
        ({"storage": "nosuch://x/y"}, "storage 'nosuch://x/y' cannot be used"),
    ],
)
def test_bad_arguments_are_refused(change: dict[str, Any], message: str, tmp_path: Path) -> None:
    """Each with what came and what is allowed."""
    given = {"recipe": QUICK, "run_dir": tmp_path / "t", **FEW, **change}
    with pytest.raises(InputError, match=message):
        tune(plane(), **given)


def test_a_process_that_is_gone_does_not_count_as_working(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its trial is asked again, with the same parameters, and the first asking does not count."""
    import optuna

    with search.quietly():
        study = optuna.create_study()
        trial = study.ask()
        rate = trial.suggest_float("lr", 0.1, 1.0)
        monkeypatch.setattr(search, "me", lambda: f"{search.socket.gethostname()}:{2**22 + 1}")
        trial.set_user_attr("by", search.me())
        monkeypatch.undo()
        assert search.running_elsewhere(study) == []
        search.reap(study)
        assert search.finished(study) == []
        assert study.ask().suggest_float("lr", 0.1, 1.0) == rate
