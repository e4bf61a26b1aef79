from __future__ import annotations

import csv as csv_module
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
