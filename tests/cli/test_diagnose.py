from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from downslope.cli import app

RUNNER = CliRunner()


def diagnose(*arguments: object) -> Result:
    return RUNNER.invoke(app, ["diagnose", *map(str, arguments)])


@pytest.fixture
def run_dir(tmp_path: Path) -> Path:
    lines = [{"event": "train", "step": k, "loss": 1.5**k, "lr": 0.1} for k in range(1, 40)]
    (tmp_path / "records.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return tmp_path


def test_findings_are_told_with_their_remedies(run_dir: Path) -> None:
    """Cause, evidence, remedy and the change to the recipe."""
    text = diagnose(run_dir).stdout
    assert text.startswith("WARNING: lr too high\n  seen      the loss rises to")
    assert "remedy    Lower the learning rate to a tenth (0.01)" in text
    assert "recipe    lr = x0.1, clip_norm = 1.0" in text


def test_findings_as_json(run_dir: Path) -> None:
    """For programs; the file itself is as good as its directory."""
    found = json.loads(diagnose(run_dir / "records.jsonl", "--json").stdout)
    assert [(f["cause"], f["change"]["lr"]) for f in found] == [("lr too high", "x0.1")]


def test_a_sound_run(tmp_path: Path) -> None:
    """One line."""
    line = {"event": "train", "step": 1, "loss": 1.0, "lr": 0.1}
    (tmp_path / "records.jsonl").write_text(json.dumps(line) + "\n")
    assert diagnose(tmp_path).stdout == "Nothing is wrong that the doctor knows of.\n"


@pytest.mark.parametrize("name", ["nowhere", "empty"])
def test_bad_input_is_one_line(tmp_path: Path, name: str) -> None:
    """Exit code 2 and one line that says what was looked for."""
    (tmp_path / "empty").mkdir()
    result = diagnose(tmp_path / name)
    assert (result.exit_code, len(result.stderr.splitlines())) == (2, 1)
    assert "cannot be read" in result.stderr
