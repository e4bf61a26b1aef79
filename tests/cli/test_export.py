from __future__ import annotations

from pathlib import Path

from typer.testing import CliRunner

from downslope.cli import app

RUNNER = CliRunner()


def test_what_was_written_is_told(csv: Path) -> None:
    """Three lines, a file each; they lie in the run's directory."""
    train = ["train", str(csv), "--target", "kind", "--lr", "0.02", "--epochs", "1"]
    assert RUNNER.invoke(app, [*train, "--run-dir", "r"]).exit_code == 0
    result = RUNNER.invoke(app, ["export", "r"])
    assert result.exit_code == 0, result.output
    paths = [Path(line.split()[1]) for line in result.stdout.splitlines()]
    assert [path.name for path in paths] == ["model.safetensors", "model.pt2", "model.json"]
    assert all(path.parent == Path("r/export") and path.stat().st_size for path in paths)
