"""``downslope checkpoint inspect``."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner, Result

from downslope.cli import app
from downslope.training import checkpoint


def inspect(path: Path) -> Result:
    return CliRunner().invoke(app, ["checkpoint", "inspect", str(path)])


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "checkpoints").mkdir()
    progress = {"epoch": 2, "best_metric": 0.5, "best_step": None}
    state = {"model": {"w": torch.zeros(3, 4)}, "progress": progress, "seconds": 1.5}
    for name in ("step-00000003.pt", "last.pt"):
        checkpoint.save(state, tmp_path / "checkpoints" / name)
    return tmp_path


def test_a_sound_checkpoint_is_described(folder: Path) -> None:
    """Its version, where training stands, and how many numbers of which kind it holds."""
    result = inspect(folder / "checkpoints" / "last.pt")
    assert result.exit_code == 0
    first, *lines = result.stdout.splitlines()
    assert "last.pt: sound, format version 2, " in first
    assert lines == [
        "  epoch 2, best_metric 0.5",
        "  model: 1 tensors, 12 x float32, 48 B",
        "  seconds: 1.5",
    ]


def test_a_run_s_checkpoints_are_listed(folder: Path) -> None:
    """A damaged one makes the exit code 2, and the others are described all the same."""
    damaged = folder / "checkpoints" / "last.pt"
    damaged.write_bytes(damaged.read_bytes()[:-1])
    result = inspect(folder)
    assert result.exit_code == 2
    assert f"{str(damaged)!r} is damaged" in result.stdout
    assert "step-00000003.pt: sound" in result.stdout


def test_a_folder_without_checkpoints_is_refused(tmp_path: Path) -> None:
    """In one line."""
    result = inspect(tmp_path)
    assert (result.exit_code, result.stderr.count("\n")) == (2, 1)
    assert "holds no checkpoint" in result.stderr
