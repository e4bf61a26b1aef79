"""What a user can get wrong: one line on stderr, exit code 2, and every file as it was."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from downslope.cli import app

from .conftest import HEADER

RUNNER = CliRunner()
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


@pytest.fixture
def world(csv: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A folder of files of which each is wrong in some way."""
    for name, content in FILES.items():
        data = content.encode() if isinstance(content, str) else content
        Path(name).write_bytes(data)
    Path("mine.py").write_text(OWN)
    x, y = np.random.default_rng(0).normal(size=(20, 3)), np.arange(20) % 2
    np.savez("good.npz", x=x, y=y)
    np.savez("nan.npz", x=np.full((20, 3), np.nan), y=y)
    np.savez("unnamed.npz", a=x, b=x)
    np.savez("objects.npz", x=np.array([{}] * 20), y=y)
    np.savez("uneven.npz", x=x[:19], y=y)
    np.save("single.npy", x)
    Path("nobody").mkdir()
    for folder, count in (("pictures/a", 5), ("pictures/b", 5), ("same/a", 9), ("torn/a", 9)):
        Path(folder).mkdir(parents=True)
        for k in range(count):
            Image.fromarray(np.full((8, 8), 20 * k, dtype=np.uint8)).save(f"{folder}/{k}.png")
    shutil.copytree("torn/a", "torn/b")
    Path("torn/b/3.png").write_bytes(Path("torn/b/3.png").read_bytes()[:40])
    Path("link.csv").symlink_to("nowhere.csv")
    monkeypatch.setattr(sys, "path", list(sys.path))
    yield
    for name in ("mine", "broken", "quits", "lacks"):
        sys.modules.pop(name, None)


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


DATA = [
    ("ragged.csv --target kind", "cells"),
    ("twice.csv --target kind", "given twice"),
    ("alone.csv --target kind", "one column alone, 'kind'"),
    ("latin.csv --target kind", "UTF-8"),
    ("link.csv --target kind", "does not exist"),
    ("broken.parquet --target kind", "broken.parquet"),
    ("short.txt", "too short"),
    ("binary.txt", "byte 0"),
    ("story.txt --model lstm", "Unknown model for text 'lstm'"),
    ("story.txt --augment flip", "takes no augment"),
    ("digits --model gru", "takes no model"),
    ("shapes.csv --target kind --image-size 8", "takes no image_size"),
    ("nobody", "neither images"),
    ("none.npz", "does not exist"),
    ("broken.npz", "cannot be read as arrays"),
    ("broken.npy", "cannot be read as arrays"),
    ("broken.safetensors", "'broken.safetensors'"),
    ("nan.npz", "no finite number"),
    ("unnamed.npz", "which array is the target"),
    ("good.npz --target z", "Unknown array"),
    ("objects.npz", "Object arrays"),
    ("uneven.npz", "which array holds the inputs"),
    ("single.npy", "by its number"),
    ("single.npy --target 3", "from 0 to 2"),
    ("pictures/a/0.png", "is an image"),
    ("pictures/a", "lie in no class's folder"),
    ("same", "holds 1 class"),
    ("torn", "3.png' cannot be read as an image"),
    ("pictures --image-size 0", "image_size must be"),
    ("pictures --image-size large", "large"),
    ("pictures --augment rotate", "shift, flip"),
]
RECIPES = [
    ("digits --recipe nobody", "cannot be read"),
    ("digits --recipe latin.toml", "not valid TOML"),
    ("digits --recipe name.toml", "Did you mean 'adam"),
    ("digits --recipe nested.toml", "optimizer must be"),
    ("digits --recipe infinite.toml", "lr must be"),
    ("digits --lr x", "lr must be a valid number, got the text 'x'"),
    (
        "digits --set lr=0.1",
        "lr stands beside hyperparameters, not in them: lr = ... in a recipe, --lr",
    ),
    (
        "digits --set learning_rate=1 --optimizer sgd",
        "Unknown hyperparameter of SGD 'learning_rate'",
    ),
    ("digits --recipe list.toml", "hyperparameters must be"),
    ("digits --recipe switch.toml", "compile must be"),
    ("digits --optimizer lbfgs", "Unknown optimizer 'lbfgs'"),
    ("digits --optimizer sparseadam", "SparseAdam"),
    ("digits --optimizer rprop --weight-decay 0.1", "no weight decay"),
    ("digits --optimizer adamwschedulefree --ema 0.9", "average of the weights already"),
    ("digits --set betas=[0.9,1.5]", "1.5"),
    ("digits --best f1", "Unknown metric of 'digits' 'f1'"),
    ("digits --ema 1", "ema must be"),
    ("digits --batch-size 0", "batch_size must be"),
    ("digits --accumulate 0", "accumulate must be"),
    ("digits --workers -1", "workers must be"),
    ("digits --max-steps 0", "max_steps must be"),
    ("digits --max-minutes 0", "max_minutes must be"),
    ("digits --early-stop 0", "early_stop must be"),
    ("digits --validate-steps 0", "validate_steps must be"),
    ("digits --checkpoint-keep 0", "checkpoint_keep must be"),
    ("digits --lr 0.01 --strategy ddp --run-dir new", "torchrun"),
    ("digits --no-such-option", "No such option"),
]
TASKS = [
    ("none:task", "there is no module 'none'"),
    ("mine:task", "no function 'task'"),
    ("mine:COUNT", "not a function"),
    ("broken:task", "SyntaxError"),
    ("quits:task", "SystemExit: no GPU"),
    ("lacks:task", "no_such_package"),
    ("mine:needy", "needs arguments (rows)"),
    ("mine:raises", "KeyError: 'bucket'"),
    ("mine:nothing", "got None"),
    ("mine:network", "must return a downslope.Task"),
    ("mine:nameless", "name must be a word"),
    ("mine:made", "a Linear itself"),
    ("mine:classes", "write MSELoss()"),
    ("mine:unreduced", "one number"),
    ("mine:wide", "inputs of shape (2, 3)"),
    ("mine:numberless", "torch module, got int 3"),
    ("mine:pairs", "one tensor"),
    ("mine:worded", "must give one number, got str 'good'"),
    ("mine:unmeasured", "ZeroDivisionError"),
    ("mine:empty", "has no rows"),
    ("mine:triples", "(input, target) pair"),
    ("mine:endless", "map-style"),
    ("mine:gone", "first rows"),
    ("mine:half", "batch_size must be a whole number"),
    ("mine:late", "the disk is gone"),
    ("mine:late --lr 0.01 --dry-run --epochs 0", "epochs must be"),
    ("mine:crashing", "RuntimeError: no row 41 (raised in "),
    ("mine:nothing --target y", "takes no target"),
]
OTHERS = [
    ("advise none:task", "there is no module 'none'"),
    ("advise mine:COUNT", "not a function"),
    ("advise mine:nothing", "torch module"),
    ("memory mine:raises", "KeyError"),
    ("memory 12q", "12q"),
    ("find-lr mine:wide", "inputs of shape"),
    ("explain adamv", "Did you mean"),
    ("schedule cosine(", "cosine("),
    ("race hill", "hill"),
    ("diagnose nowhere", "nowhere"),
    ("predict nowhere new.csv", "not the directory of a run"),
    ("export nowhere", "not the directory of a run"),
    ("checkpoint inspect nowhere", "nowhere"),
    ("checkpoint run", "error: Invalid value for 'inspect': 'run' is not one of 'inspect'"),
    ("trian digits", "trian"),
]


@pytest.mark.usefixtures("world")
@pytest.mark.parametrize(
    ("line", "says"),
    [(f"train {line}", says) for line, says in [*TRAIN, *DATA, *RECIPES, *TASKS]]
    + [(f"find-lr {line}", says) for line, says in FIND]
    + OTHERS,
)
def test_bad_input_is_one_line_and_writes_nothing(line: str, says: str) -> None:
    """Whatever is wrong: exit code 2, one line that names it, and no file is touched."""
    _assert_refused(line.split(), says)


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
    _assert_refused(line.split(), says)


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
    _assert_refused(["train", "--resume", "r"], says)


@pytest.mark.usefixtures("world")
def test_other_data_are_not_resumed_on(a_run: Path) -> None:
    """The table was changed since."""
    shutil.copytree(a_run, "r")
    table = a_run.parent / "shapes.csv"
    before = table.read_text()
    table.write_text(before + "1,2,a\n")
    try:
        _assert_refused(["train", "--resume", "r"], "other data")
    finally:
        table.write_text(before)


def _assert_refused(arguments: list[str], says: str) -> None:
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


def _cut_last_record(records: Path) -> None:
    """Take the end off the records, so that the run looks killed."""
    records.write_text("".join(records.read_text().splitlines(keepends=True)[:-1]))
