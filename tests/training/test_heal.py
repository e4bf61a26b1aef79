"""Healing: a run with a fault that a recipe can mend ends as well as a healthy one."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from downslope import Recipe, Run, diagnose, fit, load_task
from downslope.cli.live import PlainView
from downslope.doctor import Finding
from downslope.report import write_report
from downslope.training.heal import MOST, Healer, healed

from .test_resume import assert_same
from .tiny import Stop


def healing(folder: Path, **changed: Any) -> Run:
    recipe = Recipe(**{"lr": 5e-3, "epochs": 4, "heal": True, **changed})
    return fit(load_task("digits"), recipe, folder)


@pytest.mark.parametrize(
    "changed",
    [{"lr": 5.0}, {"lr": 1e-7}, {"weight_decay": 300.0}],
    ids=["lr too high", "lr too low", "decay"],
)
def test_a_fault_is_mended_and_told(changed: dict[str, float], tmp_path: Path) -> None:
    """The run ends within 5% of a healthy one, its records say what was changed and why."""
    run = healing(tmp_path / "ill", **changed)
    assert run.reason == "finished"
    assert run.best_metric is not None
    assert run.best_metric > 0.95 * 0.98
    told = [r for r in run.records() if r["event"] == "heal"]
    assert 1 <= len(told) <= MOST
    assert set(changed) & set(told[0]["changes"])
    assert told[0]["finding"]["remedy"]
    steps = [r["step"] for r in run.records() if r["event"] == "train"]
    assert steps == list(range(1, len(steps) + 1))


def test_a_healthy_run_is_not_touched(tmp_path: Path) -> None:
    """The same bits with and without healing, and no change."""
    run, plain = healing(tmp_path / "a"), healing(tmp_path / "b", heal=False)
    assert not [r for r in run.records() if r["event"] == "heal"]
    losses = [[r["loss"] for r in x.records() if r["event"] == "train"] for x in (run, plain)]
    assert losses[0] == losses[1]
    assert diagnose(run.path) == diagnose(plain.path)


def pulled(folder: Path, at: tuple[str, int]) -> None:
    """Train with a rate that is too high until the plug is pulled at an event."""

    def plug(event: dict[str, Any]) -> None:
        seen.append(event["event"])
        if (event["event"], seen.count(event["event"])) == at:
            raise Stop

    seen: list[str] = []
    with pytest.raises(Stop):
        fit(load_task("digits"), ILL, folder, on_event=[plug])


def heals(run: Run) -> list[Any]:
    return [r["changes"] for r in run.records() if r["event"] == "heal"]


ILL = Recipe(lr=5.0, epochs=3, heal=True, checkpoint_every=5)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """The healed run that nobody interrupted."""
    run = fit(load_task("digits"), ILL, tmp_path_factory.mktemp("whole") / "run")
    heals = [r for r in run.records() if r["event"] == "heal"]
    assert len(heals) >= 1
    assert run.best_metric is not None
    assert run.best_metric > 0.9
    return run


@pytest.mark.parametrize(
    "at",
    [("heal", 1), ("recipe", 1), ("train", 40)],
    ids=["at once", "before its checkpoint", "later"],
)
def test_a_healed_run_resumes_to_the_same_bits(
    whole: Run, tmp_path: Path, at: tuple[str, int]
) -> None:
    """Killed before, in or after the change of the recipe: the same weights, changes and recipe."""
    pulled(tmp_path / "run", at)
    resumed = fit(load_task("digits"), None, tmp_path / "run", resume=True)
    assert_same(resumed, whole)
    assert heals(resumed) == heals(whole)
    assert resumed.recipe == whole.recipe


def test_a_heal_is_shown(whole: Run) -> None:
    """The terminal and the report say what was found and what was changed."""
    event = next(r for r in whole.records() if r["event"] == "heal")
    words = io.StringIO()
    PlainView(Console(file=words, width=200))(event)
    assert words.getvalue().startswith("healed: lr too high (")
    assert "lr 5 -> " in words.getvalue()
    page = write_report(whole).read_text(encoding="utf-8")
    assert "<h2>Healing</h2>" in page
    assert "lr, changed" in page


def test_a_kill_between_checkpoint_and_recipe_leaves_no_trace(
    whole: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The changed recipe is in the checkpoint already, and its file is written again."""

    def killed(path: Path, text: str) -> None:
        raise Stop

    with monkeypatch.context() as patch:
        patch.setattr("downslope.training._session.write_atomically", killed)
        with pytest.raises(Stop):
            fit(load_task("digits"), ILL, tmp_path / "run")
    assert Run.load(tmp_path / "run").recipe != whole.recipe
    resumed = fit(load_task("digits"), None, tmp_path / "run", resume=True)
    assert_same(resumed, whole)
    assert resumed.recipe == whole.recipe
    assert heals(resumed) == heals(whole)


def exploded(stage: dict[str, Any]) -> dict[str, Any]:
    found = Finding("exploding gradients", "", "warning", 1, {}, "", stage)
    return {"event": "heal", "step": 0, "finding": found.to_dict()}


def test_a_cause_whose_first_remedy_did_not_help_gets_its_second() -> None:
    """Clipping does not use up the change of the optimizer; that one is tried once."""
    recipe = Recipe(optimizer="sgd", lr=0.1, heal=True)
    second = {"optimizer": "adamw", "lr": "found"}
    finding = Finding("exploding gradients", "", "warning", 1, {}, "", second)
    healer = Healer(recipe, [exploded({"clip_norm": 1.0})])
    assert healer.mends(finding)
    healer(exploded(second))
    assert not healer.mends(finding)


@pytest.mark.parametrize(("before", "after"), [("constant", "warmup-cosine"), ("linear", "linear")])
def test_a_rate_that_gets_a_warmup_is_lowered_at_the_end_too(before: Any, after: str) -> None:
    """A rate in doubt is not held to the last step; a schedule that lowers it is left alone."""
    finding = Finding("warmup missing", "", "warning", 1, {}, "", {"warmup": 0.1})
    assert healed(Recipe(lr=0.1, schedule=before), finding).schedule == after


def test_a_rate_that_was_tested_is_lowered_to_a_third() -> None:
    """The first time to a tenth; once the range test has had its say it cannot be far off."""
    recipe = Recipe(lr=0.1, heal=True)
    high = Finding("lr too high", "", "warning", 9, {}, "", {"lr": "x0.1"})
    healer = Healer(recipe)
    assert healed(recipe, healer.milder(high)).lr == pytest.approx(0.01)
    healer({"event": "heal", "step": 0, "finding": high.to_dict()})
    assert healed(recipe, healer.milder(high)).lr == pytest.approx(0.03)


def test_a_rate_that_was_lowered_against_overfitting_is_not_raised_again() -> None:
    """A slow run is what the first remedy wanted."""
    recipe = Recipe(optimizer="sgd", lr=0.01, heal=True)
    slow = Finding("slow optimizer", "", "warning", 9, {}, "", {"optimizer": "adamw"})
    healer = Healer(recipe)
    assert healer.mends(slow)
    lowered = Finding("overfitting", "", "warning", 9, {}, "", {"lr": "x0.1"})
    healer({"event": "heal", "step": 0, "finding": lowered.to_dict()})
    assert not healer.mends(slow)
