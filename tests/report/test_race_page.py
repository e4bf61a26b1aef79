"""The race's page in a browser, and its picture."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from downslope.cli import app
from downslope.race import race, runners, surface
from downslope.report import write_race

from .chromium import console, evaluate, needs_chromium


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    where = surface("himmelblau")
    lanes = race(where, runners(["sgd", "adam"]), steps=40)
    return write_race(where, lanes, tmp_path_factory.mktemp("race") / "race.html")


def test_the_page_is_small_and_complete(page: Path) -> None:
    """Under a megabyte, nothing loaded from anywhere."""
    text = page.read_text(encoding="utf-8")
    assert len(text) < 1_000_000
    assert "http://" not in text.replace("http://www.w3.org/2000/svg", "")
    assert "https://" not in text


@needs_chromium
@pytest.mark.parametrize("width", [375, 1440])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_opens_without_a_word_or_a_sideways_bar(
    page: Path, tmp_path: Path, width: int, scheme: str
) -> None:
    """On a phone and on a screen, light and dark."""
    fits = "document.documentElement.scrollWidth <= innerWidth"
    assert evaluate(page, tmp_path, fits, width=width, scheme=scheme) is True
    assert console(page, tmp_path) == []


@needs_chromium
def test_the_slider_moves_the_optimizers(page: Path, tmp_path: Path) -> None:
    """At step 7 each path has eight points, and the table the values there."""
    found = evaluate(
        page,
        tmp_path,
        "(s => { s.value = 7; s.dispatchEvent(new Event('input'));"
        " return [...document.querySelectorAll('#paths polyline:not(.hit)')]"
        ".map(l => l.getAttribute('points').split(' ').length) })(document.getElementById('step'))",
    )
    assert found == [8, 8]


@needs_chromium
def test_an_optimizer_can_be_left_out_and_its_rate_chosen(page: Path, tmp_path: Path) -> None:
    """A click on a box hides its path; another rate draws another path."""
    found = evaluate(
        page,
        tmp_path,
        "(() => { const s = document.getElementById('step'); s.value = 20;"
        " s.dispatchEvent(new Event('input'));"
        " const line = document.querySelector('#paths polyline');"
        " const a = line.getAttribute('points');"
        " const c = document.querySelector('select'); c.selectedIndex = (c.selectedIndex + 1) % 5;"
        " c.dispatchEvent(new Event('change')); const b = line.getAttribute('points');"
        " document.querySelector('tbody input').click();"
        " return [a !== b, document.querySelector('#paths g').style.display] })()",
    )
    assert found == [True, "none"]


def test_the_command_writes_page_and_picture(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What it says and what it leaves."""
    monkeypatch.chdir(tmp_path)
    run = CliRunner().invoke(app, ["race", "saddle", "--optimizers", "sgd,adam", "--steps", "30"])
    assert run.exit_code == 0, run.output
    assert run.stdout.splitlines()[0] == "A saddle: x² - y² + y⁴/4"
    assert Path("race-saddle.png").read_bytes().startswith(b"\x89PNG")
    assert Path("race-saddle.html").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["hill"], "Unknown surface 'hill'"),
        (["saddle", "--optimizers", "adamm"], "Unknown optimizer 'adamm'"),
        (["saddle", "--steps", "0"], "steps = 0"),
        (["saddle", "--plot", "x.xyz"], "does not end in a format"),
        (["saddle", "--page", "no/where.html"], "there is no folder 'no'"),
    ],
)
def test_bad_input_is_one_line(
    arguments: list[str], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Exit code 2, nothing written."""
    monkeypatch.chdir(tmp_path)
    run = CliRunner().invoke(app, ["race", *arguments])
    assert (run.exit_code, len(run.stderr.splitlines())) == (2, 1)
    assert message in run.stderr
    assert not list(tmp_path.iterdir())
