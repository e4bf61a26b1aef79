"""Arrays: names, kinds of targets, standardisation, predictions, errors."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from downslope import Recipe, Task, fit, load_task, predict
from downslope.errors import DownslopeError

RNG = np.random.default_rng(0)
X = RNG.normal(3, 2, (40, 3))
KIND = (X[:, 0] > 3).astype(np.int64)
RECIPE = Recipe(lr=0.01, epochs=20)


def saved(path: Path, **arrays: Any) -> Path:
    np.savez(path, **arrays)
    return path


def whole(task: Task) -> tuple[torch.Tensor, torch.Tensor]:
    """Inputs and targets in the order of the file."""
    order = np.argsort([*task.train_rows, *task.validation_rows])
    parts = zip(task.train[:], task.validation[:], strict=True)
    x, y = (torch.cat(pair)[order] for pair in parts)
    return x, y


@pytest.mark.parametrize(
    ("arrays", "target"),
    [
        ({"x": X, "y": KIND}, None),
        ({"X": X, "labels": KIND}, None),
        ({"what": X, "ever": KIND}, "ever"),
        ({"x": X, "other": X, "y": KIND}, None),
        ({"x": X, "y": KIND, "names": np.arange(3)}, None),
    ],
)
def test_inputs_and_targets_are_found(
    tmp_path: Path, arrays: dict[str, Any], target: str | None
) -> None:
    """By usual names, by --target, and by what is left."""
    task = load_task(str(saved(tmp_path / "a.npz", **arrays)), target=target)
    x, y = whole(task)
    assert y.tolist() == KIND.tolist()
    train = X[list(task.train_rows)]
    expected = torch.from_numpy((X - train.mean(0)) / train.std(0))
    torch.testing.assert_close(x.double(), expected, rtol=1e-5, atol=1e-5)


def test_safetensors_hold_the_same(tmp_path: Path) -> None:
    """Also in bfloat16."""
    tensors = {"x": torch.from_numpy(X).bfloat16(), "y": torch.from_numpy(KIND)}
    save_file(tensors, tmp_path / "a.safetensors")
    exact = saved(tmp_path / "a.npz", x=tensors["x"].float().numpy(), y=KIND)
    both = [load_task(str(path)) for path in (tmp_path / "a.safetensors", exact)]
    assert whole(both[0])[0].equal(whole(both[1])[0])


def test_one_array_is_a_table(tmp_path: Path) -> None:
    """The target is a column by its number; few whole numbers are classes."""
    np.save(tmp_path / "a.npy", np.column_stack([X, KIND]))
    task = load_task(str(tmp_path / "a.npy"), target="-1")
    assert task.kind == "classification"
    assert whole(task)[0].shape == (40, 3)
    assert load_task(str(tmp_path / "a.npy"), target="0").kind == "regression"


@pytest.mark.parametrize(
    ("targets", "kind", "outputs"),
    [
        (KIND, "classification", 2),
        (KIND.astype(bool), "classification", 2),
        (KIND[:, None].astype(np.uint8), "classification", 2),
        (np.array(["low", "high"])[KIND], "classification", 2),
        (X[:, 0], "regression", 1),
        (X[:, :2].astype(np.float32), "regression", 2),
    ],
)
def test_the_targets_type_decides(tmp_path: Path, targets: Any, kind: str, outputs: int) -> None:
    """Text, whole numbers, booleans are classes; floats are values."""
    task = load_task(str(saved(tmp_path / "a.npz", x=X, y=targets)))
    assert task.kind == kind
    assert task.model()(torch.zeros(4, 3)).shape == (4, outputs)
    assert len(task.validation) == 8  # type: ignore[arg-type]  # sized


def test_inputs_of_more_dimensions_are_standardised_as_one(tmp_path: Path) -> None:
    """All numbers of the training part together; every one goes into the model."""
    images = RNG.integers(0, 256, (40, 4, 5), dtype=np.uint8)
    task = load_task(str(saved(tmp_path / "a.npz", x=images, y=KIND)))
    x = task.train[:][0].double()
    assert x.shape == (32, 4, 5)
    assert x.mean().item() == pytest.approx(0, abs=1e-6)
    assert x.std(correction=0).item() == pytest.approx(1, rel=1e-6)
    assert task.model()(x.float()).shape == (32, 2)


def test_constant_and_huge_columns(tmp_path: Path) -> None:
    """The one becomes zero, the other is brought to size."""
    x = np.column_stack([np.full(40, 0.1), 1e200 * X[:, 0]])
    task = load_task(str(saved(tmp_path / "a.npz", x=x, y=KIND)))
    inputs = whole(task)[0]
    assert inputs[:, 0].eq(0).all()
    assert task.train[:][0][:, 1].std(correction=0).item() == pytest.approx(1, rel=1e-5)


def test_classes_are_predicted_by_their_words(tmp_path: Path) -> None:
    """From a file of inputs alone, by the checkpoint alone."""
    words = np.array(["low", "high"])[KIND]
    run = fit(load_task(str(saved(tmp_path / "a.npz", x=X, y=words))), RECIPE, tmp_path / "run")
    np.save(tmp_path / "new.npy", np.array([[0.0, 3, 3], [6.0, 3, 3]]))
    answers = predict(run, tmp_path / "new.npy")
    assert answers["predicted_y"].tolist() == ["low", "high"]
    assert sorted(answers) == ["predicted_y", "probability_high", "probability_low"]


def test_values_are_predicted_in_their_unit(tmp_path: Path) -> None:
    """Each column of several by its number; the run's metric comes out again."""
    y = 100 + 7 * X[:, :1]
    run = fit(load_task(str(saved(tmp_path / "a.npz", x=X, y=y))), RECIPE, tmp_path / "run")
    task = run.task()
    held = list(task.validation_rows)
    np.savez(tmp_path / "held.npz", x=X[held])
    predicted = predict(run, tmp_path / "held.npz")["predicted_y"]
    error = float(np.sqrt(np.mean((predicted - y[held, 0]) ** 2)))
    assert run.best_metric == pytest.approx(error, rel=1e-5)


def bad(change: dict[str, Any]) -> dict[str, Any]:
    return {"x": X, "y": KIND, **change}


NAN = X.copy()
NAN[7, 1] = np.nan


@pytest.mark.parametrize(
    ("arrays", "target", "message"),
    [
        (bad({"x": NAN}), None, r"array 'x': no finite number, got nan at \[7, 1\]"),
        (bad({"x": X.astype(str)}), None, "numbers are wanted, got the type <U"),
        (bad({"x": X[:, 0]}), None, r"a column for each feature, got the shape \(40,\)"),
        (bad({"x": X[:5], "y": KIND[:5]}), None, "has 5 rows: too few"),
        (bad({"x": X[:30]}), None, "which array holds the inputs beside the target 'y'"),
        ({"a": X, "b": X, "y": KIND}, None, r"Arrays: 'a' \(40, 3\)"),
        ({"a": X, "b": KIND}, None, "which array is the target"),
        (bad({}), "z", "Unknown array of a.npz 'z'"),
        (bad({"y": KIND * 0}), None, "every row has the class 0"),
        (bad({"y": np.arange(40)}), None, "too few rows: 40 for 40 classes"),
        (bad({"y": X[:, :, None]}), None, "targets of a regression are one value a row"),
        (bad({"y": KIND + 1j}), None, "targets must be classes"),
        (bad({"y": np.full(40, 2.5)}), None, "is constant, 2.5 in every row"),
        (bad({"x": np.array([{}] * 40)}), None, "cannot be read as arrays: Object arrays"),
    ],
)
def test_bad_arrays_are_refused(
    tmp_path: Path, arrays: dict[str, Any], target: str | None, message: str
) -> None:
    """One line names the array and the place."""
    np.savez(tmp_path / "a.npz", **arrays)
    with pytest.raises(DownslopeError, match=message) as caught:
        load_task(str(tmp_path / "a.npz"), target=target)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("suffix", ["npy", "npz", "safetensors"])
def test_damaged_files_are_refused(tmp_path: Path, suffix: str) -> None:
    """Whatever the bytes."""
    path = tmp_path / f"a.{suffix}"
    for content in (b"", b"no arrays", bytes(range(256)) * 10):
        path.write_bytes(content)
        with pytest.raises(DownslopeError, match="cannot be read as arrays"):
            load_task(str(path))


@pytest.mark.parametrize("target", [None, "3.5", "4", "x"])
def test_a_single_array_needs_a_column(tmp_path: Path, target: str | None) -> None:
    """By its number, within the columns."""
    np.save(tmp_path / "a.npy", np.column_stack([X, KIND]))
    with pytest.raises(DownslopeError, match=r"by its number, from 0 to 3, or -1"):
        load_task(str(tmp_path / "a.npy"), target=target)


def test_rows_of_another_shape_are_not_predicted(tmp_path: Path) -> None:
    """The message says what the model was trained on."""
    recipe = RECIPE.replace(epochs=1)
    run = fit(load_task(str(saved(tmp_path / "a.npz", x=X, y=KIND))), recipe, tmp_path / "run")
    np.save(tmp_path / "wide.npy", np.zeros((4, 5)))
    with pytest.raises(DownslopeError, match=r"rows of shape \(5,\), .* trained on \(3,\)"):
        predict(run, tmp_path / "wide.npy")
