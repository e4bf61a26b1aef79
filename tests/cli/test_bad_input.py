from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from downslope.cli import app

from .conftest import HEADER

RUNNER = CliRunner()
TABLES = {
    "empty.csv": "",
    "header.csv": HEADER,
    "text.csv": HEADER + "1,2,3\n1,tall,4\n2,3,5\n" * 5,
    "nan.csv": HEADER + "1,2,3\n1,nan,4\n2,3,5\n" * 5,
    "one_class.csv": HEADER + "1,2,a\n2,3,a\n" * 10,
    "bad.toml": "lr = = 3",
    "key.toml": "learning_rate = 0.1",
    "value.toml": 'lr = "fast"',
}
TRAIN = [
    ("dgits", "Did you mean 'digits'?"),
    ("missing.csv --target kind", "missing.csv"),
    ("shapes.csv", "target"),
    ("shapes.csv --target knid", "kind"),
    ("empty.csv --target kind", "empty"),
    ("header.csv --target kind", "row"),
    ("text.csv --target kind", "tall"),
    ("nan.csv --target kind", "width"),
    ("one_class.csv --target kind", "class"),
    ("digits --target kind", "takes no target"),
    ("", "Missing TASK"),
    ("digits --optimizer rmsprob", "Did you mean 'rmsprop'"),
    ("digits --lr fast", "fast"),
    ("digits --lr nan", "nan"),
    ("digits --lr -1", "-1"),
    ("digits --epochs 0", "0"),
    ("digits --epochs 2.5", "2.5"),
    ("digits --seed -1", "-1"),
    ("digits --schedule cosin", "'cosine'"),
    ("digits --warmup 2", "warmup"),
    ("digits --clip-norm 0", "clip_norm"),
    ("digits --device nowhere", "nowhere"),
    ("digits --precision fp64", "'fp32'"),
    ("digits --set momentum=0.9", "'momentum'"),
    ("digits --set betas", "name=value"),
    ("digits --set betas=0.9", "betas"),
    ("digits --set eps=-1", "-1"),
    ("digits --recipe none.toml", "none.toml"),
    ("digits --recipe bad.toml", "not valid TOML"),
    ("digits --recipe key.toml", "learning_rate"),
    ("digits --recipe value.toml", "fast"),
    ("digits --lr 0.01 --run-dir .", "exists already"),
    ("digits --lr 0.01 --run-dir shapes.csv", "exists already"),
    ("--resume nowhere", "not the directory of a run"),
    ("digits --resume nowhere --recipe a.toml", "TASK 'digits', --recipe"),
    ("digits --auto-resume", "--auto-resume needs --run-dir"),
    ("shapes.csv --target kind --missing drop", "impute, refuse"),
    ("shapes.csv --target kind --ignore depth", "'depth'"),
    ("shapes.csv --target kind --dates height", "no date"),
    ("shapes.csv --target kind --ignore height --ignore width", "nothing to predict"),
    ("digits --categorical kind", "takes no categorical"),
]
FIND = [
    ("dgits", "Did you mean 'digits'?"),
    ("digits --optimizer rmsprob", "Did you mean 'rmsprop'"),
    ("digits --iterations 3", ">= 10"),
    ("digits --start 1 --end 0.1", "start"),
    ("digits --growth linar", "'linear'"),
    ("digits --batch-size many", "many"),
    ("digits --plot curve.txt", "png"),
    ("digits --plot no/curve.png", "no folder"),
]


@pytest.mark.parametrize(
    ("line", "says"),
    [(f"train {line}", says) for line, says in TRAIN]
    + [(f"find-lr {line}", says) for line, says in FIND],
)
def test_bad_input_is_one_line_and_writes_nothing(csv: Path, line: str, says: str) -> None:
    """Whatever is wrong: exit code 2, one line that names it, and no new file."""
    for name, text in TABLES.items():
        Path(name).write_text(text)
    before = sorted(Path.cwd().rglob("*"))
    result = RUNNER.invoke(app, line.split())
    assert result.exit_code == 2, result.output
    assert result.stdout == ""
    assert result.stderr.startswith("error: ")
    assert result.stderr.count("\n") == 1
    assert says in result.stderr
    assert sorted(Path.cwd().rglob("*")) == before


def test_a_damaged_checkpoint(csv: Path) -> None:
    """A flipped bit in the checkpoint stops the resumption before anything is changed."""
    RUNNER.invoke(
        app,
        ["train", str(csv), "--target", "kind", "--lr", "0.01", "--epochs", "1", "--run-dir", "r"],
    )
    _cut_last_record(Path("r/records.jsonl"))
    checkpoint = Path("r/checkpoints/last.pt")
    content = bytearray(checkpoint.read_bytes())
    content[len(content) // 2] ^= 1
    checkpoint.write_bytes(content)
    before = {path: path.read_bytes() for path in Path("r").rglob("*") if path.is_file()}
    result = RUNNER.invoke(app, ["train", "--resume", "r"])
    assert result.exit_code == 2
    assert result.stderr.count("\n") == 1
    assert "last.pt" in result.stderr
    assert "damaged" in result.stderr
    assert {p: p.read_bytes() for p in Path("r").rglob("*") if p.is_file()} == before


def _cut_last_record(records: Path) -> None:
    """Take the end off the records, so that the run looks killed."""
    records.write_text("".join(records.read_text().splitlines(keepends=True)[:-1]))
