"""An exported model, read back by safetensors and torch.export alone."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file
from torch import Tensor, nn

from downslope import Recipe, Run, Task, export, fit, load_task
from downslope.errors import DownslopeError, InputError
from downslope.tasks import restored
from downslope.tasks.text import text

from .tiny import tiny

RECIPE = Recipe(lr=0.01, max_steps=2)


def digits(folder: Path) -> Task:
    return load_task("digits")


def table(folder: Path) -> Task:
    rows = [f"{i % 7},{i % 5},{'ab'[i % 2]}" for i in range(40)]
    (folder / "t.csv").write_text("\n".join(["h,w,kind", *rows]))
    return load_task(str(folder / "t.csv"), target="kind")


def images(folder: Path) -> Task:
    for k in range(20):
        path = folder / "pictures" / "ab"[k % 2] / f"{k}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.full((6, 7), 10 * k, dtype=np.uint8)).save(path)
    return load_task(str(folder / "pictures"))


def arrays(folder: Path) -> Task:
    x = np.random.default_rng(0).normal(size=(20, 2, 3))
    np.savez(folder / "a.npz", x=x, y=x[:, 0, :2])
    return load_task(str(folder / "a.npz"))


def bytes_with(model: str) -> Callable[[Path], Task]:
    def make(folder: Path) -> Task:
        (folder / "a.txt").write_text("the way down " * 200)
        return load_task(str(folder / "a.txt"), model=model)

    return make


@pytest.fixture
def _small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(text, "LENGTH", 4)  # a recurrent network's program has each step
    monkeypatch.setitem(text.MODELS, "gru", {"symbols": 256, "width": 16})
    sizes = {"symbols": 256, "length": 4, "width": 16, "heads": 2, "blocks": 1}
    monkeypatch.setitem(text.MODELS, "transformer", sizes)


@pytest.mark.usefixtures("_small")
@pytest.mark.parametrize(
    "make",
    [digits, table, images, arrays, bytes_with("gru"), bytes_with("transformer")],
    ids=["digits", "table", "images", "arrays", "gru", "transformer"],
)
def test_both_files_give_the_models_outputs(tmp_path: Path, make: Callable[[Path], Task]) -> None:
    """For any number of rows, to the bit; the input's shape and type are told."""
    task = make(tmp_path)
    run = fit(task, RECIPE, tmp_path / "run")
    files = export(run, tmp_path / "out")
    about = json.loads(files.about.read_text())
    inputs = task.validation[:][0]
    assert about["input"]["shape"] == [None, *inputs.shape[1:]]
    assert about["input"]["dtype"] == str(inputs.dtype).removeprefix("torch.")
    model = run.model()
    again = task.model()
    again.load_state_dict(load_file(files.weights))
    program = torch.export.load(files.program).module()
    with torch.no_grad():
        for rows in (1, 2, len(inputs)):
            expected = model(inputs[:rows])
            assert again.eval()(inputs[:rows]).equal(expected)
            assert program(inputs[:rows]).equal(expected)


def test_the_preparation_is_in_the_json(tmp_path: Path) -> None:
    """From it alone the model is made and a file read."""
    task = table(tmp_path)
    run = fit(task, RECIPE, tmp_path / "run")
    files = export(run)
    assert files.about.parent == tmp_path / "run" / "export"
    about = json.loads(files.about.read_text())
    assert about["metric"] == {"accuracy": run.best_metric}
    preparation = restored(about["preparation"])
    model = preparation.model()
    model.load_state_dict(load_file(files.weights))
    [batch] = preparation.read(tmp_path / "t.csv", 100)
    assert model.eval()(batch.inputs).equal(run.model()(batch.inputs))


def test_the_program_needs_no_downslope(tmp_path: Path) -> None:
    """A process that cannot import the package runs it."""
    files = export(fit(arrays(tmp_path), RECIPE, tmp_path / "run"))
    code = (
        "import sys; sys.modules['downslope'] = None; import torch; "
        f"program = torch.export.load({str(files.program)!r}).module(); "
        "print(tuple(program(torch.zeros(5, 2, 3)).shape))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert done.stdout.strip() == "(5, 2)", done.stderr


class Branching(nn.Module):
    """Does what depends on the data: no graph says it."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(3, 1)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.layer(x)
        return y if float(y.detach().sum()) > 0 else -y


class Ranking(nn.Module):
    """Makes of a row what the whole batch is."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(3, 1)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.layer(x)
        return y + torch.rand(())


@pytest.mark.parametrize(
    ("model", "message"),
    [(Branching, "torch.export cannot express the model"), (Ranking, "gives other outputs")],
)
def test_a_model_that_cannot_be_exported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, model: type[nn.Module], message: str
) -> None:
    """One line says so, and nothing is written."""
    task = replace(tiny(model=model), source={"spec": "tiny"})
    run = fit(task, RECIPE, tmp_path / "run")
    monkeypatch.setattr(Run, "task", lambda self: task)
    with pytest.raises(InputError, match=message) as caught:
        export(run)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "run" / "export").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"run": "nowhere"}, "not the directory of a run"),
        ({"out": "file"}, "is a file. Give a directory"),
        ({"checkpoint": "first"}, "checkpoint must be 'best' or 'last', got 'first'"),
    ],
)
def test_bad_arguments(tmp_path: Path, arguments: dict[str, Any], message: str) -> None:
    """One line says what is allowed."""
    run = fit(tiny(), RECIPE, tmp_path / "run")
    (tmp_path / "file").write_text("")
    out = arguments.get("out")
    given = {**arguments, "out": out and tmp_path / out}
    with pytest.raises(DownslopeError, match=message):
        export(**{"run": run, **given})
