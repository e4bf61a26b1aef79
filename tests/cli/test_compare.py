"""``downslope compare``: what it says, and its refusals."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from downslope.cli import app

RUNNER = CliRunner()
QUICK = "--seeds 4 --trials 1 --epochs 1 --lr 0.01 --processes 0"


def test_it_answers_first_and_goes_on_where_it_was(csv: Path) -> None:
    """The answer, the table, the place; the same command again only reads them."""
    command = f"compare {csv} --target kind --optimizers a=adam,b=adam {QUICK}".split()
    first = RUNNER.invoke(app, [*command, "--quiet"])
    assert first.exit_code == 0, first.output
    lines = first.stdout.splitlines()
    assert lines[0].startswith("No difference that is more than noise in reaching accuracy")
    assert [line.split()[0] for line in lines[4:6]] == ["a", "b"]
    assert lines[-1].startswith("page        runs/compare-shapes-")
    again = RUNNER.invoke(app, command)
    assert again.stdout == first.stdout


def test_it_says_what_it_does(csv: Path) -> None:
    """Each phase, and a line for each run of it."""
    command = f"compare {csv} --target kind --optimizers sgd,adam {QUICK} --set sgd.momentum=0.5"
    result = RUNNER.invoke(app, command.split())
    assert "tuning: 2 to do" in result.stdout
    assert "runs that count: 8 to do" in result.stdout
    assert sum(line.startswith("  sgd ") for line in result.stdout.splitlines()) == 5


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("dgits", "Did you mean 'digits'?"),
        ("digits --optimizers adam", "two optimizers at least"),
        ("digits --optimizers adam,adam", "again=adam"),
        ("digits --optimizers adam,rmsprob", "Did you mean 'rmsprop'"),
        ("digits --seeds 0", "seeds must be"),
        ("digits --seeds many", "'--seeds'"),
        ("digits --budget soon", "such as 90s"),
        ("digits --budget -1m", "more than 0"),
        ("digits --search lr,betas", "Unknown hyperparameter to search"),
        ("digits --set momentum=0.9", "LABEL.NAME=VALUE"),
        ("digits --set adam.momentum=0.9", "'momentum'"),
        ("digits --best speed", "Unknown metric"),
        ("digits --device nowhere", "nowhere"),
        ("digits --run-dir .", "holds something else"),
    ],
)
def test_bad_input_is_one_line_and_writes_nothing(csv: Path, line: str, says: str) -> None:
    """Exit code 2, before anything is run."""
    before = sorted(Path.cwd().rglob("*"))
    result = RUNNER.invoke(app, ["compare", *line.split()])
    assert (result.exit_code, result.stdout) == (2, ""), result.output
    assert result.stderr.count("\n") == 1
    assert says in result.stderr
    assert sorted(Path.cwd().rglob("*")) == before
