"""Predictions for files: they are what the run was judged by, and they are written whole."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch

from downslope import Recipe, Run, fit, load_task, predict, write_predictions
from downslope.errors import InputError

ROWS = 300


def data(folder: Path, *, classes: bool) -> Path:
    """A table on which a short training gets some rows wrong."""
    draws = np.random.default_rng(1)
    x = draws.normal(size=(ROWS, 3))
    y = x @ [1.0, -2.0, 0.5] + draws.normal(size=ROWS)
    target = pl.Series("y", np.where(y > 0, "up", "do,wn") if classes else 50 + 7 * y)
    path = folder / "data.csv"
    pl.DataFrame(x, schema=["a", "b", "c"]).with_columns(target).write_csv(path)
    return path


def trained(folder: Path, *, classes: bool, **changes: Any) -> tuple[Run, Path, list[int]]:
    path = data(folder, classes=classes)
    task = load_task(str(path), target="y")
    recipe = Recipe(lr=0.02, epochs=3, **changes)
    run = fit(task, recipe, folder / "run")
    return run, path, list(task.validation_rows)


@pytest.mark.parametrize(
    "changes",
    [{}, {"ema": 0.5}, {"optimizer": "sgdschedulefree"}],
    ids=["plain", "ema", "schedule-free"],
)
def test_predictions_reproduce_the_accuracy(tmp_path: Path, changes: dict[str, Any]) -> None:
    """The validation rows' share of right classes is the metric that the run recorded."""
    run, path, rows = trained(tmp_path, classes=True, **changes)
    predicted = predict(run, path)["predicted_y"][rows]
    right = pl.read_csv(path)["y"].to_numpy()[rows] == predicted
    assert 0.5 < right.mean() < 1
    assert right.mean() == pytest.approx(run.best_metric, abs=1e-12)


@pytest.mark.parametrize(
    "changes", [{}, {"ema": 0.5}, {"precision": "bf16"}], ids=["plain", "ema", "bf16"]
)
def test_predictions_reproduce_the_rmse(tmp_path: Path, changes: dict[str, Any]) -> None:
    """The error on the validation rows, in the target's units, is what the run recorded."""
    run, path, rows = trained(tmp_path, classes=False, **changes)
    values = pl.read_csv(path)["y"].to_numpy()
    error = (predict(run, path)["predicted_y"] - values)[rows]
    assert np.sqrt(np.square(error).mean()) == pytest.approx(run.best_metric, rel=1e-5)


def test_the_averaged_weights_are_others_than_the_last(tmp_path: Path) -> None:
    """So that the test above could fail."""
    run, _, _ = trained(tmp_path, classes=False, ema=0.99)
    saved = torch.load(run.files.last, weights_only=True)
    model = run.model("last")
    trained_on = {k: v for k, v in saved["model"].items() if k in saved["average"]}
    assert any(not v.equal(dict(model.named_parameters())[k]) for k, v in trained_on.items())


def test_the_newest_checkpoint_can_be_asked_for(tmp_path: Path) -> None:
    """Its answers are those of the weights in ``last.pt``."""
    run, path, _ = trained(tmp_path, classes=False)
    preparation, model = run.preparation("last"), run.model("last")
    [batch] = preparation.read(path, ROWS)
    with torch.no_grad():
        expected = preparation.answers(model(batch.inputs), batch.inputs)["predicted_y"]
    np.testing.assert_allclose(predict(run, path, checkpoint="last")["predicted_y"], expected)


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
@pytest.mark.parametrize("classes", [True, False])
def test_what_is_written_is_what_is_predicted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, suffix: str, classes: bool
) -> None:
    """Row by row in the order of the file, whatever the words hold; and nothing else is left."""
    monkeypatch.setattr("downslope.tasks.tables.file.CELLS", 200)  # several chunks
    run, path, _ = trained(tmp_path, classes=classes)
    out = tmp_path / "out" / f"answers{suffix}"
    out.parent.mkdir()
    shares: list[float] = []
    assert write_predictions(run, path, out, on_share=shares.append) == ROWS
    frame = pl.read_csv(out) if suffix == ".csv" else pl.read_parquet(out)
    expected = predict(run, path)
    assert frame.columns == list(expected)
    for name, values in expected.items():
        assert frame[name].to_list() == values.tolist()
    assert list(out.parent.iterdir()) == [out]
    assert shares == sorted(shares)
    assert len(shares) > 2


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_a_bad_cell_late_in_the_file_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, suffix: str
) -> None:
    """What was there before stays, and no temporary file is left."""
    monkeypatch.setattr("downslope.tasks.tables.file.CELLS", 40)
    run, _, _ = trained(tmp_path, classes=True)
    bad = tmp_path / "bad.csv"
    bad.write_text("a,b,c\n" + "1,2,3\n" * 50 + "1,,3\n")
    out = tmp_path / "out" / f"answers{suffix}"
    out.parent.mkdir()
    out.write_text("before")
    with pytest.raises(InputError, match=r"row 51 .*column 'b'"):
        write_predictions(run, bad, out)
    assert out.read_text() == "before"
    assert list(out.parent.iterdir()) == [out]


def test_a_device_that_is_not_here_is_refused(tmp_path: Path) -> None:
    """Before a row is read; ``"auto"`` finds one, as in a recipe."""
    run, path, _ = trained(tmp_path, classes=False)
    with pytest.raises(InputError, match=r"predict: device = 'gpu' cannot be used here: .* 'auto'"):
        predict(run, path, device="gpu")
    assert predict(run, path, device="auto")["predicted_y"].shape == (ROWS,)


def test_a_file_without_rows_is_refused(tmp_path: Path) -> None:
    """A header alone has nothing to predict for."""
    run, _, _ = trained(tmp_path, classes=True)
    empty = tmp_path / "empty.csv"
    empty.write_text("a,b,c\n")
    with pytest.raises(InputError, match="no rows to predict for"):
        predict(run, empty)
