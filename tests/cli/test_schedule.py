from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from downslope.cli import app

RUNNER = CliRunner()


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def schedule(*arguments: object) -> Result:
    return RUNNER.invoke(app, ["schedule", *map(str, arguments)])


def test_a_schedule_is_drawn_in_the_terminal_and_to_a_file() -> None:
    """The expression, the curve, its ends in learning rates, and the plot."""
    result = schedule("warmup(500) >> cosine(9500)", "--lr", "1e-3")
    lines = result.stdout.splitlines()
    assert lines[0] == "(warmup(500) >> cosine(9500)) * 0.001"
    assert lines[-4:] == [
        "first       1.996e-06 at step 0",
        "highest     0.001 at step 500",
        "last        0 at step 10000",
        "plot        schedule.png",
    ]
    assert any("⠉" in line for line in lines)
    assert Path("schedule.png").read_bytes().startswith(b"\x89PNG")


def test_the_plots_name_says_its_format() -> None:
    """--plot with another suffix."""
    schedule("cosine(9)", "--plot", "curve.svg")
    assert "<svg" in Path("curve.svg").read_text()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["cosin(9)"], "Unknown schedule 'cosin'. Did you mean 'cosine'?"),
        (["__import__('os')"], "Unknown schedule '__import__'"),
        (["step(9)"], "never ends: say how many steps"),
        (["cosine(9)", "--lr", "nan"], "--lr must be a finite number, got nan"),
        (["cosine(9)", "--steps", "0"], "steps must be a whole number >= 1, got 0"),
        (["cosine(9)", "--plot", "curve.xyz"], "does not end in a format"),
    ],
)
def test_bad_input_is_one_line(arguments: list[str], message: str) -> None:
    """Exit code 2, one line, no file."""
    result = schedule(*arguments)
    assert result.exit_code == 2
    assert message in result.stderr
    assert len(result.stderr.splitlines()) == 1
    assert not list(Path().iterdir())


def test_one_without_an_end_is_drawn_for_some_steps() -> None:
    """--steps says how many."""
    assert "at step 60" in schedule("step(30)", "--steps", 60).stdout
