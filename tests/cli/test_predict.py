from __future__ import annotations

import csv as csv_module
import importlib
import re
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from downslope.cli import app

RUNNER = CliRunner()


@pytest.fixture
def run(csv: Path) -> str:
    """A run on the table, whose file is gone since."""
    options = ["--target", "kind", "--lr", "0.02", "--epochs", "3", "--run-dir", "r"]
    assert RUNNER.invoke(app, ["train", str(csv), *options]).exit_code == 0
    csv.unlink()
    Path("new.csv").write_text("width,height\n3,1\n14,1\n")
    return "r"


def test_predictions_go_beside_and_one_line_says_so(run: str) -> None:
    """The default name comes from the file's; the classes are the table's words."""
    result = RUNNER.invoke(app, ["predict", run, "new.csv"])
    assert result.exit_code == 0, result.output
    assert result.stdout == "2 rows predicted with best.pt of r -> new-predictions.csv\n"
    with Path("new-predictions.csv").open(newline="") as file:
        rows = list(csv_module.DictReader(file))
    assert [row["predicted_kind"] for row in rows] == ["a", "b"]
    assert set(rows[0]) == {"predicted_kind", "probability_a", "probability_b"}


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("r none.csv", "does not exist"),
        ("r new.csv --out out.txt", ".csv or .parquet"),
        ("r new.csv --out no/out.csv", "no folder"),
        ("r new.csv --out new.csv", "is the file to predict for"),
        ("r short.csv", "has no column 'width'"),
        ("r new.csv --checkpoint first", "first"),
        ("r new.csv --device nowhere", "nowhere"),
        ("nowhere new.csv", "not the directory of a run"),
        ("digits new.csv", "does not say how a file becomes its inputs"),
    ],
)
def test_bad_input_is_one_line_and_writes_nothing(run: str, line: str, says: str) -> None:
    """Whatever is wrong: exit code 2, one line that names it, and no new file."""
    Path("short.csv").write_text("height\n1\n")
    if "digits" in line:
        options = ["--lr", "0.01", "--epochs", "1", "--run-dir", "digits"]
        assert RUNNER.invoke(app, ["train", "digits", *options]).exit_code == 0
    before = sorted(Path.cwd().rglob("*"))
    result = RUNNER.invoke(app, ["predict", *line.split()])
    assert result.exit_code == 2, result.output
    assert result.stdout == ""
    assert result.stderr.startswith("error: ")
    assert result.stderr.count("\n") == 1
    assert says in result.stderr
    assert sorted(Path.cwd().rglob("*")) == before


def test_a_task_of_ones_own_predicts_as_the_page_says(monkeypatch: pytest.MonkeyPatch) -> None:
    """The page's module trains, and reads files its own way; without the module it is missed."""
    monkeypatch.setattr(sys, "path", sys.path.copy())
    page = Path(__file__).parents[2] / "docs" / "tables.md"
    module = re.search(r"```python\n(# doubles.py\n.*?)```", page.read_text(), re.DOTALL)
    assert module is not None
    Path("doubles.py").write_text(module[1])
    options = ["--lr", "0.1", "--run-dir", "doubled"]
    assert RUNNER.invoke(app, ["train", "doubles:task", *options]).exit_code == 0
    Path("numbers.txt").write_text("3\n-4.5\n")
    result = RUNNER.invoke(app, ["predict", "doubled", "numbers.txt"])
    assert result.exit_code == 0, result.output
    with Path("numbers-predictions.csv").open(newline="") as file:
        got = [float(row["doubled"]) for row in csv_module.DictReader(file)]
    assert got == pytest.approx([6, -9], abs=0.1)
    Path("doubles.py").unlink()
    monkeypatch.delitem(sys.modules, "doubles")
    importlib.invalidate_caches()
    result = RUNNER.invoke(app, ["predict", "doubled", "numbers.txt"])
    assert result.exit_code == 2
    assert "there is no module 'doubles'" in result.stderr
