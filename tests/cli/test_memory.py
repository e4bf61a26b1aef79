"""``downslope memory``."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from downslope.cli import app


def memory(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["memory", *arguments])


def test_a_count_of_parameters() -> None:
    """124 million bfloat16 weights with int8 state: seven bytes each, five without gradients."""
    result = memory("124M", "--storage", "int8", "--dtype", "bfloat16")
    lines = result.stdout.splitlines()
    assert lines[0] == "AdamW"
    assert lines[-2].split() == ["total", "7.064"]
    assert lines[-1] == "all of 124,000,000   875.9 MB"


def test_a_task_and_a_function(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A task's name, a table, or a function that makes a model; formats slot by slot."""
    slots = ("--optimizer", "sgd", "--set", "momentum=0.9", "--storage", "momentum_buffer=int8")
    assert "all of 8,474" in memory("digits", *slots).stdout
    (tmp_path / "a_module_of_mine.py").write_text(
        "from torch import nn\ndef make():\n    return nn.Linear(100, 50)\n"
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    (tmp_path / "a.csv").write_text("u,v,y\n" + "1,2,a\n3,4,b\n" * 10)
    assert "all of 46 " in memory("a.csv", "--target", "y").stdout
    assert "all of 5,050" in memory("a_module_of_mine:make", *slots).stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["124M", "--storage", "int4"], "'int8', got 'int4'"),
        (["124M", "--storage", "int8", "--storage", "exp_avg=int8"], "SLOT=FORMAT"),
        (["124M", "--dtype", "int8"], "--dtype must be one of float32, bfloat16, float16"),
        (["124M", "--optimizer", "adamv"], "adamw"),
        (["nothing"], "Unknown task 'nothing'"),
    ],
)
def test_bad_input_is_one_line(arguments: list[str], message: str) -> None:
    """Exit code 2 and one line that says what is allowed."""
    result = memory(*arguments)
    assert result.exit_code == 2
    assert message in result.stderr
    assert len(result.stderr.splitlines()) == 1
