"""``downslope tune``: what it says, what it leaves for ``train``, and its refusals."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from downslope.cli import app

RUNNER = CliRunner()


def test_the_recipe_it_leaves_can_be_trained_with(csv: Path) -> None:
    """The answer, how many trials there were, and a file that `train --recipe` takes."""
    search = "--trials 2 --folds 2 --search lr --lr 0.01 --epochs 1 --processes 0"
    command = f"tune {csv} --target kind {search} --run-dir t"
    result = RUNNER.invoke(app, command.split())
    assert result.exit_code == 0, result.output
    lines = result.stdout.splitlines()
    assert "trials: 2 to do" in lines
    assert any("the default recipe: cross-validated loss" in line for line in lines)
    assert lines[-2:] == ["recipe      t/recipe.toml", "page        t/report.html"]
    train = f"train {csv} --target kind --recipe t/recipe.toml --quiet --run-dir r"
    trained = RUNNER.invoke(app, train.split())
    assert trained.exit_code == 0, trained.output


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("dgits", "Did you mean 'digits'?"),
        ("digits --trials 0", "trials must be"),
        ("digits --folds none", "'--folds'"),
        ("digits --sampler grid", "'tpe' or 'random'"),
        ("digits --optimizers adam,rmsprob", "Did you mean 'rmsprop'"),
        ("digits --search momentum", "Unknown hyperparameter to search of AdamW"),
        ("digits --set betas", "name=value"),
        ("digits --recipe none.toml", "none.toml"),
        ("digits --run-dir .", "holds something else"),
        ("digits --run-dir shapes.csv", "is a file"),
    ],
)
def test_bad_input_is_one_line_and_writes_nothing(csv: Path, line: str, says: str) -> None:
    """Exit code 2, before anything is run."""
    before = sorted(Path.cwd().rglob("*"))
    result = RUNNER.invoke(app, ["tune", *line.split()])
    assert (result.exit_code, result.stdout) == (2, ""), result.output
    assert result.stderr.count("\n") == 1
    assert says in result.stderr
    assert sorted(Path.cwd().rglob("*")) == before
