from __future__ import annotations

import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from downslope.cli import app

RUNNER = CliRunner()


def test_a_tasks_recipe_with_reasons() -> None:
    """The bundled digits are a convolutional network's."""
    lines = RUNNER.invoke(app, ["advise", "digits"]).stdout.splitlines()
    assert lines[0].startswith("optimizer = 'adamw'")
    assert all("  # " in line for line in lines[:6])
    assert lines[-1].startswith("3. the data")


def test_a_function_of_ones_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """package.module:function, found in the current directory."""
    monkeypatch.chdir(tmp_path)
    Path("own_net.py").write_text("import torch\ndef make(): return torch.nn.LSTM(3, 4)\n")
    assert "rmsprop" in RUNNER.invoke(app, ["advise", "own_net:make"]).stdout
    result = RUNNER.invoke(app, ["advise", "own_net:nothing"])
    assert (result.exit_code, len(result.stderr.splitlines())) == (2, 1)
    assert "has no function 'nothing'" in result.stderr


def test_the_digits_model_needs_no_data(monkeypatch: pytest.MonkeyPatch) -> None:
    """Their library, which takes as long to import as torch, is left alone; options are checked."""
    monkeypatch.setitem(sys.modules, "sklearn.datasets", None)
    assert RUNNER.invoke(app, ["advise", "digits"]).exit_code == 0
    result = RUNNER.invoke(app, ["advise", "digits", "--target", "x"])
    assert result.exit_code == 2
    assert "takes no target" in result.stderr
