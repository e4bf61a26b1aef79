"""Preparations: what is kept of the training data, and what is made of other files with it."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from downslope.errors import InputError, InputTypeError
from downslope.tasks import ModelSource, Preparation, Task, load_task, restored

ROWS = 60


def table(folder: Path, *, classes: bool) -> Path:
    draws = np.random.default_rng(0)
    x, w = draws.normal(3, 2, ROWS), draws.normal(1e6, 10, ROWS)
    y = ["high" if v > 3 else "low" for v in x] if classes else 100 + 5 * x
    lines = [f"{a!r},{b!r},{c}" for a, b, c in zip(x.tolist(), w.tolist(), y, strict=True)]
    path = folder / "data.csv"
    path.write_text("x,w,y\n" + "\n".join(lines) + "\n")
    return path


def preparation(task: Task) -> Preparation:
    """The task's, after it was written down and read back."""
    assert task.preparation is not None
    return restored(json.loads(json.dumps(task.preparation.to_dict())))


@pytest.mark.parametrize("classes", [True, False])
def test_a_file_is_read_as_the_training_data_was(tmp_path: Path, classes: bool) -> None:
    """The rows of the file, taken by their numbers, are the task's inputs to the bit."""
    path = table(tmp_path, classes=classes)
    task = load_task(str(path), target="y")
    batches = list(preparation(task).read(path, 7))
    inputs = torch.cat([batch.inputs for batch in batches])
    assert inputs[list(task.train_rows)].equal(task.train[:][0])
    assert inputs[list(task.validation_rows)].equal(task.validation[:][0])


def test_a_file_is_read_batch_by_batch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No batch is larger than was asked for, and the share that was read grows to the whole."""
    monkeypatch.setattr("downslope.tasks.tables.file.CELLS", 30)
    path = table(tmp_path, classes=True)
    batches = list(preparation(load_task(str(path), target="y")).read(path, 7))
    shares = [batch.share for batch in batches]
    assert max(len(batch.inputs) for batch in batches) <= 7
    assert shares == sorted(shares)
    assert 0 < shares[0] < 0.3
    assert shares[-1] == pytest.approx(1, abs=0.05)


def test_the_model_is_made_again_without_the_data(tmp_path: Path) -> None:
    """Its parameters have the shapes of the task's own, though the file is gone."""
    path = table(tmp_path, classes=True)
    task = load_task(str(path), target="y")
    path.unlink()
    made = preparation(task).model()
    assert {k: v.shape for k, v in made.state_dict().items()} == {
        k: v.shape for k, v in task.model().state_dict().items()
    }


def test_classes_are_answered_in_their_own_words(tmp_path: Path) -> None:
    """The word of the largest score, and the softmax of the scores by class."""
    task = load_task(str(table(tmp_path, classes=True)), target="y")
    scores = torch.tensor([[2.0, 1.0], [0.0, 3.0]])
    answers = preparation(task).answers(scores, scores)
    share = 1 / (1 + np.exp(-1.0))
    assert answers["predicted_y"].tolist() == ["high", "low"]
    assert answers["probability_high"] == pytest.approx([share, 1 / (1 + np.exp(3.0))])
    assert answers["probability_low"] == pytest.approx([1 - share, 1 / (1 + np.exp(-3.0))])


def test_numbered_classes_are_answered_as_whole_numbers(tmp_path: Path) -> None:
    """The class 7 is called 7, not 7.0."""
    path = tmp_path / "data.csv"
    path.write_text("x,y\n" + "".join(f"{i},{(3, 7)[i % 2]}\n" for i in range(20)))
    task = load_task(str(path), target="y")
    assert preparation(task).answers(torch.eye(2), torch.eye(2))["predicted_y"].tolist() == [
        "3",
        "7",
    ]


def test_values_are_answered_in_the_units_of_the_target(tmp_path: Path) -> None:
    """Outputs equal to the standardised targets are the file's own numbers."""
    path = table(tmp_path, classes=False)
    task = load_task(str(path), target="y")
    answered = preparation(task).answers(task.train[:][1], task.train[:][0])["predicted_y"]
    written = np.array([float(line.split(",")[2]) for line in path.read_text().split()[1:]])
    np.testing.assert_allclose(answered, written[list(task.train_rows)], rtol=1e-6)


def test_the_order_of_the_columns_does_not_matter(tmp_path: Path) -> None:
    """Columns are found by name, and others are not looked at."""
    task = load_task(str(table(tmp_path, classes=True)), target="y")
    straight, mixed = tmp_path / "a.csv", tmp_path / "b.csv"
    straight.write_text("x,w\n1,2\n3,4\n")
    mixed.write_text("note,w,x\nhello,2,1\n,4,3\n")
    first, second = (next(preparation(task).read(p, 10)).inputs for p in (straight, mixed))
    assert first.equal(second)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("x,W\n1,2\n", "has no column 'w', which the model was trained with. Is it 'W' here?"),
        ("x\n1\n", "has no column 'w', which the model was trained with. Columns: x."),
        ("x,w\n1,2\n3,\n", "row 2 (the header not counted), column 'w': no finite number"),
        ("x,w\n1,2\n3,4\n5,six\n", "row 3 (the header not counted), column 'w': text"),
        ("x,w\n1,2\n3,1e300\n", "row 2 (the header not counted), column 'w': too far"),
    ],
)
def test_a_file_that_does_not_fit_is_refused(tmp_path: Path, content: str, says: str) -> None:
    """One line names the file and the place, also in a batch after the first."""
    task = load_task(str(table(tmp_path, classes=True)), target="y")
    bad = tmp_path / "bad.csv"
    bad.write_text(content)
    with pytest.raises(InputError) as caught:
        list(preparation(task).read(bad, 1))
    assert "bad.csv" in str(caught.value)
    assert says.lower() in str(caught.value).lower()


def own_model() -> nn.Module:
    return nn.Linear(2, 1)


def not_a_model() -> int:
    return 3


def test_a_model_of_ones_own_is_named_by_module_and_function() -> None:
    """``package.module:function`` is called without arguments."""
    made = ModelSource(f"{__name__}:own_model")()
    assert isinstance(made, nn.Linear)


@pytest.mark.parametrize(
    ("source", "says"),
    [
        (ModelSource("tabel"), "Did you mean 'table'?"),
        (ModelSource(f"{__name__}:own_model", {"bias": False}), "without arguments"),
        (ModelSource(f"{__name__}:not_a_model"), "got "),
        (ModelSource("no.such.module:model"), "there is no module 'no'"),
        (ModelSource(f"{__name__}:nothing"), "has no function 'nothing'"),
    ],
)
def test_a_model_that_cannot_be_made_is_one_error(source: ModelSource, says: str) -> None:
    """The message says what was asked for and what is allowed."""
    with pytest.raises((InputError, InputTypeError), match=says):
        source()


@pytest.mark.parametrize("kind", ["tabel", f"{__name__}:own_model"])
def test_a_kind_that_is_not_known_is_refused(kind: str) -> None:
    """Only subclasses of Preparation are used, whatever a file names."""
    with pytest.raises((InputError, InputTypeError), match=r"[pP]reparation"):
        restored({"kind": kind, "model": {"name": "table", "arguments": {}}, "settings": {}})
