"""What is refused beside a run that is there, or that is damaged: the run stays as it was."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from downslope.cli import app

from .world import HEADER, RUNNER, assert_refused


@pytest.fixture(scope="session")
def a_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run on a table that looks killed, beside its table."""
    folder = tmp_path_factory.mktemp("runs")
    rows = (f"{i % 7},{i % 5},{'ab'[i % 2]}\n" for i in range(60))
    (folder / "shapes.csv").write_text(HEADER + "".join(rows))
    options = ["--target", "kind", "--lr", "0.01", "--epochs", "1", "--run-dir", f"{folder}/r"]
    result = RUNNER.invoke(app, ["train", f"{folder}/shapes.csv", *options])
    assert result.exit_code == 0, result.output
    _cut_last_record(folder / "r" / "records.jsonl")
    return folder / "r"


RUNS = [
    ("train --resume r --seed 3", "cannot change its seed"),
    ("train --resume r --optimizer sgd", "cannot change its optimizer"),
    ("train --resume r --epochs 0", "epochs must be"),
    ("train --resume r/checkpoints/none.pt", "none.pt"),
    ("train digits --run-dir r --lr 0.01", "exists already"),
    ("predict r none.csv", "does not exist"),
    ("predict r story.txt", "story.txt"),
    ("predict r shapes.csv --checkpoint first", "first"),
    ("predict r shapes.csv --out shapes.csv", "is the file to predict for"),
    ("export r --out shapes.csv", "is a file"),
    ("export r --checkpoint first", "first"),
]


@pytest.mark.usefixtures("world")
@pytest.mark.parametrize(("line", "says"), RUNS)
def test_bad_options_leave_a_run_as_it_was(a_run: Path, line: str, says: str) -> None:
    """A run is not changed by a command that is refused."""
    shutil.copytree(a_run, "r")
    assert_refused(line.split(), says)


def _flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


DAMAGES = {
    "checkpoint": (lambda r: _flip(r / "checkpoints/last.pt"), "damaged"),
    "no checkpoint": (lambda r: (r / "checkpoints/last.pt").unlink(), "last.pt"),
    "recipe": (lambda r: (r / "recipe.toml").write_text("lr = = 1"), "not valid TOML"),
    "task": (lambda r: (r / "task.json").write_text("{"), "task.json"),
    "task's source": (lambda r: (r / "task.json").write_text("{}"), "task.json"),
    "environment": (lambda r: (r / "environment.json").write_text("nothing"), "environment.json"),
    "records": (lambda r: (r / "records.jsonl").write_text("no record\n"), "line 1"),
    "nothing recorded": (lambda r: (r / "records.jsonl").write_text(""), "no start record"),
}


@pytest.mark.usefixtures("world")
@pytest.mark.parametrize("which", DAMAGES)
def test_a_damaged_run_is_not_resumed(a_run: Path, which: str) -> None:
    """A flipped bit, a file cut short or gone: the resumption stops before anything is changed."""
    shutil.copytree(a_run, "r")
    damage, says = DAMAGES[which]
    damage(Path("r"))
    assert_refused(["train", "--resume", "r"], says)


@pytest.mark.usefixtures("world")
def test_other_data_are_not_resumed_on(a_run: Path) -> None:
    """The table was changed since."""
    shutil.copytree(a_run, "r")
    table = a_run.parent / "shapes.csv"
    before = table.read_text()
    table.write_text(before + "1,2,a\n")
    try:
        assert_refused(["train", "--resume", "r"], "other data")
    finally:
        table.write_text(before)


def _cut_last_record(records: Path) -> None:
    """Take the end off the records, so that the run looks killed."""
    records.write_text("".join(records.read_text().splitlines(keepends=True)[:-1]))
