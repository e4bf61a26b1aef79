"""Files of which each is wrong in some way, and what a command must do about them."""

from __future__ import annotations

from pathlib import Path

from typer.testing import CliRunner

from downslope.cli import app

RUNNER = CliRunner()
HEADER = "height,width,kind\n"
FILES = {
    "empty.csv": "",
    "header.csv": HEADER,
    "text.csv": HEADER + "1,2,3\n1,tall,4\n2,3,5\n" * 5,
    "nan.csv": HEADER + "1,2,3\n1,nan,4\n2,3,5\n" * 5,
    "one_class.csv": HEADER + "1,2,a\n2,3,a\n" * 10,
    "ragged.csv": HEADER + "1,2,3\n1,2,3,4\n" * 10,
    "twice.csv": "height,height,kind\n" + "1,2,a\n2,3,b\n" * 10,
    "alone.csv": "kind\n" + "a\nb\n" * 10,
    "latin.csv": b"height,kind\n" + b"1,\xe9\n2,b\n" * 10,
    "shapes.xlsx": b"PK and nothing more",
    "broken.parquet": b"PAR1 and nothing more",
    "short.txt": "too short",
    "binary.txt": b"one \x00 byte" * 1000,
    "story.txt": "the way down " * 200,
    "broken.npz": b"PK and nothing more",
    "broken.npy": b"",
    "broken.safetensors": b"\x08\0\0\0\0\0\0\0{}      ",
    "bad.toml": "lr = = 3",
    "key.toml": "learning_rate = 0.1",
    "value.toml": 'lr = "fast"',
    "latin.toml": b'optimizer = "\xe9"',
    "name.toml": 'optimizer = "adamv"',
    "nested.toml": "[optimizer]\nname = 'adamw'",
    "infinite.toml": "lr = inf",
    "list.toml": "hyperparameters = [0.9]",
    "switch.toml": 'compile = "yes"',
    "broken.py": "def task(:\n",
    "quits.py": "raise SystemExit('no GPU')\n",
    "lacks.py": "import no_such_package\n",
}
OWN = """
from dataclasses import replace
from torch.utils.data import TensorDataset
import torch
from downslope import Metric
from tests.training.tiny import tiny, data

class Late:
    def __init__(self, error): self.error = error
    def __len__(self): return 52
    def __getitem__(self, row):
        if row > 40: raise self.error
        return data(0)[row]

COUNT = 3
def needy(rows): return tiny()
def raises(): raise KeyError("bucket")
def nothing(): pass
def network(): return torch.nn.Linear(3, 1)
def nameless(): return replace(tiny(), name="")
def made(): return replace(tiny(), model=torch.nn.Linear(3, 1))
def classes(): return replace(tiny(), loss=torch.nn.MSELoss)
def unreduced(): return replace(tiny(), loss=lambda y, t: (y - t).square())
def wide(): return replace(tiny(), model=lambda: torch.nn.Linear(9, 1))
def numberless(): return replace(tiny(), model=lambda: 3)
def pairs(): return replace(tiny(), model=lambda: torch.nn.LSTM(3, 1))
def worded(): return replace(tiny(), metric=Metric("m", lambda y, t: "good", False))
def unmeasured(): return replace(tiny(), metric=Metric("m", lambda y, t: 1 / 0, False))
def empty(): return replace(tiny(), validation=TensorDataset(torch.zeros(0, 3), torch.zeros(0, 1)))
def triples(): return replace(tiny(), train=[(torch.zeros(3), 1.0, 2.0)] * 8)
def endless(): return replace(tiny(), train=iter(data(0)))
def gone(): return replace(tiny(), validation=[None] * 8)
def half(): return replace(tiny(), batch_size=0.5)
def late(): return tiny(train=Late(OSError("the disk is gone")))
def crashing(): return tiny(train=Late(RuntimeError("no row 41")))
"""


def assert_refused(arguments: list[str], says: str) -> None:
    before = _files()
    result = RUNNER.invoke(app, arguments)
    assert result.exit_code == 2, result.output
    assert result.stdout == ""
    assert result.stderr.startswith("error: ")
    assert result.stderr.count("\n") == 1
    assert says in result.stderr
    assert _files() == before


def _files() -> dict[Path, bytes | None]:
    """Every path and its content, but what Python compiles."""
    return {
        path: path.read_bytes() if path.is_file() else None
        for path in Path.cwd().rglob("*")
        if "__pycache__" not in path.parts
    }
