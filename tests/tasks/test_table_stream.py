"""Tables that are streamed: the same task as in memory, but for the split, in bounded memory."""

from __future__ import annotations

import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch

from downslope import Recipe, Task, fit, load_task, predict
from downslope.errors import InputError
from downslope.tasks import BatchDataset, fingerprint, steps, subset
from downslope.tasks.batches import Batches
from downslope.tasks.split import mixed
from downslope.tasks.tables import row_cache

from ..training.tiny import break_at

ROWS = 500


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache of its own, and chunks of 20 rows."""
    monkeypatch.setenv("DOWNSLOPE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("downslope.tasks.tables.file.CELLS", 100)
    return tmp_path / "cache" / "tables"


def table(folder: Path, *, classes: bool, rows: int = ROWS) -> Path:
    """Numbers, one of them missing now and then, words, dates."""
    draws = np.random.default_rng(7)
    x, z = draws.normal(40, 9, rows), draws.lognormal(size=rows)
    y = x + 20 * z + draws.normal(size=rows)
    frame = pl.DataFrame(
        {
            "x": x,
            "z": [None if i % 9 == 4 else v for i, v in enumerate(z.tolist())],
            "word": [("red", "green", "blue", "")[i % 4] for i in range(rows)],
            "day": pl.Series([18000 + i for i in range(rows)]).cast(pl.Date),
            "y": np.where(y > 65, "much", "little") if classes else y,
        }
    )
    path = folder / "t.csv"
    frame.write_csv(path)
    return path


def streamed(path: Path, **options: Any) -> Task:
    return load_task(str(path), target="y", missing="impute", dates=["day"], stream=True, **options)


def cells_of(path: Path) -> pl.DataFrame:
    return pl.read_csv(path)


@pytest.mark.parametrize("classes", [True, False])
def test_rows_are_those_of_the_file(tmp_path: Path, classes: bool) -> None:
    """All of them, in two parts by the hash of their numbers, prepared as for predictions."""
    path = table(tmp_path, classes=classes)
    task = streamed(path)
    training = mixed(np.arange(ROWS), 0) >= np.uint64(0.2 * 2**64)
    assert task.preparation is not None
    inputs = torch.cat([batch.inputs for batch in task.preparation.read(path, ROWS)])
    words = cells_of(path)["y"].to_numpy()
    for part, which in ((task.train, training), (task.validation, ~training)):
        rows = len(part)  # type: ignore[arg-type]  # it has a length
        [(got, targets)] = Batches(part, [torch.arange(rows)])
        assert got.equal(inputs[torch.from_numpy(which)])
        if classes:
            assert [("little", "much")[t] for t in targets] == words[which].tolist()
        else:
            values = task.preparation.answers(targets, got)["predicted_y"]
            np.testing.assert_allclose(values, words[which].astype(float), rtol=1e-5)


def test_statistics_are_those_of_the_training_rows(tmp_path: Path) -> None:
    """Mean, deviation and median of the columns, and of the target, by NumPy."""
    path = table(tmp_path, classes=False)
    task = streamed(path)
    assert task.preparation is not None
    settings = task.preparation.settings()
    training = mixed(np.arange(ROWS), 0) >= np.uint64(0.2 * 2**64)
    frame = cells_of(path).filter(pl.Series(training))
    y, x, z = (frame[name].to_numpy() for name in ("y", "x", "z"))
    filled = np.where(np.isnan(z), np.nanmedian(z), z)
    columns = {column["name"]: column for column in settings["columns"]}
    for values, got in (
        (y, (settings["mean"], settings["deviation"])),
        (x, (columns["x"]["means"][0], columns["x"]["deviations"][0])),
        (filled, (columns["z"]["means"][0], columns["z"]["deviations"][0])),
        (np.isnan(z), (columns["z"]["means"][1], columns["z"]["deviations"][1])),
    ):
        np.testing.assert_allclose(got, (values.mean(), values.std()), rtol=1e-10)
    assert columns["z"]["fill"] == pytest.approx(np.nanmedian(z), rel=1e-12)
    assert columns["word"]["levels"] == ["", "blue", "green", "red"]


def test_the_median_of_many_rows_is_that_of_a_sample(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Drawn from all of the file: a sorted column's median is near the true one."""
    monkeypatch.setattr("downslope.tasks.tables.stream.SAMPLED", 400)
    path = tmp_path / "t.csv"
    rows = (f"{'' if i % 50 == 7 else i},{i % 2}" for i in range(4000))
    path.write_text("x,y\n" + "\n".join(rows) + "\n")
    task = load_task(str(path), target="y", missing="impute", stream=True)
    assert task.preparation is not None
    fill = task.preparation.settings()["columns"][0]["fill"]
    deviation = 4000 * 0.5 / np.sqrt(400)  # of the median of 400 draws from equal chances
    assert abs(fill - 2000) < 4 * deviation
    training = mixed(np.arange(4000), 0) >= np.uint64(0.2 * 2**64)
    assert fill != np.median([i for i in range(4000) if training[i] and i % 50 != 7])


@pytest.mark.parametrize("seed", [0, 1])
def test_the_split_is_a_fifth_by_the_seed(tmp_path: Path, seed: int) -> None:
    """And nobody is in both parts."""
    path = table(tmp_path, classes=True)
    task, other = streamed(path, seed=seed), streamed(path, seed=seed + 1)
    count = len(task.validation)  # type: ignore[arg-type]  # it has a length
    assert abs(count - ROWS / 5) < 4 * np.sqrt(ROWS * 0.2 * 0.8)
    assert fingerprint(task.validation) != fingerprint(other.validation)


def test_a_second_time_nothing_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The rows are found by the file's content and what was declared."""
    path = table(tmp_path, classes=True)
    first = streamed(path)

    def fails(*_: object) -> None:
        raise AssertionError("the file was summed up again")

    monkeypatch.setattr("downslope.tasks.tables.stream._summed_up", fails)
    again = streamed(path)
    assert fingerprint(first.train, first.validation) == fingerprint(again.train, again.validation)
    with pytest.raises(AssertionError, match="summed up again"):
        streamed(path, ignore=["word"])


def test_a_file_that_changed_is_converted_again(tmp_path: Path, cache: Path) -> None:
    """The old rows go; whoever reads them goes on."""
    path = table(tmp_path, classes=True)
    task = streamed(path)
    before = task.train[0]
    path.write_text(path.read_text().replace("40.", "41."))
    other = streamed(path)
    assert fingerprint(task.train) != fingerprint(other.train)
    assert len(list(cache.glob("*.rows"))) == len(list(cache.glob("*.json"))) == 1
    assert all(a.equal(b) for a, b in zip(task.train[0], before, strict=True))


def test_a_file_that_was_only_touched_is_the_same_data(tmp_path: Path) -> None:
    """It is converted again, into rows with the same fingerprint: a run resumes."""
    path = table(tmp_path, classes=True)
    task = streamed(path)
    path.touch()
    again = streamed(path)
    assert fingerprint(task.train, task.validation) == fingerprint(again.train, again.validation)


def test_rows_cut_short_are_made_again(tmp_path: Path, cache: Path) -> None:
    """A file of another size than it should have is as good as not there."""
    path = table(tmp_path, classes=True)
    task = streamed(path)
    [file] = cache.glob("*.rows")
    content = file.read_bytes()
    file.write_bytes(content[:-4])
    assert fingerprint(streamed(path).train) == fingerprint(task.train)
    assert file.read_bytes() == content


def test_a_bad_cell_leaves_nothing(tmp_path: Path, cache: Path) -> None:
    """The error is that of a small table, at its row in the file; no half of an entry is left."""
    path = table(tmp_path, classes=True)
    lines = path.read_text().splitlines()
    lines[311] = lines[311].replace(lines[311].split(",")[0], "abc", 1)
    path.write_text("\n".join(lines))
    with pytest.raises(InputError, match=r"row 311 .*column 'x': text where numbers"):
        streamed(path)
    assert not [file for file in cache.iterdir() if file.suffix != ".lock"]


def test_what_a_killed_process_left_is_removed(tmp_path: Path, cache: Path) -> None:
    """Half of a large table's rows would take gigabytes for ever."""
    path = table(tmp_path, classes=True)
    streamed(path)
    [rows] = cache.glob("*.rows")
    half = cache / f".{rows.name}.x1y2z3.tmp"
    half.write_bytes(b"half")
    streamed(path)
    assert not half.exists()
    assert rows.exists()


def test_processes_that_start_together_convert_once(tmp_path: Path) -> None:
    """The second waits for the first, and finds its rows."""
    path = table(tmp_path, classes=True)
    code = (
        "import sys; from downslope import load_task\n"
        "from downslope.tasks.tables import stream\n"
        "inner = stream._summed_up\n"
        "stream._summed_up = lambda *a: print('summed up') or inner(*a)\n"
        "load_task(sys.argv[1], target='y', missing='impute', dates=['day'], stream=True)\n"
    )
    started = [
        subprocess.Popen([sys.executable, "-c", code, str(path)], stdout=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    printed = [process.communicate(timeout=120)[0] for process in started]
    assert [process.returncode for process in started] == [0, 0]
    assert "".join(printed) == "summed up\n"


def test_batches_are_the_rows_asked_for(tmp_path: Path) -> None:
    """In whatever order, side by side or not, here or in a process that reads ahead."""
    task = streamed(table(tmp_path, classes=False))
    everything = next(iter(Batches(task.train, [torch.arange(len(task.train))])))  # type: ignore[arg-type]  # it has a length
    wanted = [torch.tensor([5, 3, 3, 99]), torch.arange(7, 20)]
    for workers in (0, 1):
        for rows, batch in zip(wanted, Batches(task.train, wanted, workers=workers), strict=True):
            assert all(got.equal(all_[rows]) for got, all_ in zip(batch, everything, strict=True))
    copied = pickle.loads(pickle.dumps(task.train))
    assert copied[3][0].equal(everything[0][3])
    assert task.train[-1][1].equal(everything[1][-1])


def test_some_rows_are_read_by_the_batch_too(tmp_path: Path) -> None:
    """A subset's rows are those of the whole, in the order they were asked for."""
    task = streamed(table(tmp_path, classes=False))
    some = subset(task.train, torch.tensor([9, 4, 200]))
    whole, part = (
        next(iter(Batches(*a)))
        for a in ((task.train, [torch.tensor([200, 9])]), (some, [torch.tensor([2, 0])]))
    )
    assert isinstance(some, BatchDataset)
    assert all(a.equal(b) for a, b in zip(whole, part, strict=True))
    assert some[1][0].equal(task.train[4][0])


def test_steps_are_those_of_a_data_set_in_memory(tmp_path: Path) -> None:
    """The order of the rows depends on the seed and the epoch, not on where they lie."""
    task = streamed(table(tmp_path, classes=False))
    rows = next(iter(Batches(task.train, [torch.arange(len(task.train))])))  # type: ignore[arg-type]  # it has a length
    inside = torch.utils.data.TensorDataset(*rows)
    for one, other in zip(
        steps(task.train, 64, seed=3, epoch=2), steps(inside, 64, seed=3, epoch=2), strict=True
    ):
        for (x, y, _), (inputs, targets, _) in zip(one, other, strict=True):
            assert x.equal(inputs)
            assert y.equal(targets)


def test_a_streamed_run_resumes_and_predicts(tmp_path: Path) -> None:
    """As one in memory does: to the bit, and without the data."""
    path = table(tmp_path, classes=False)
    recipe = Recipe(lr=0.01, epochs=2)
    whole = fit(streamed(path), recipe, tmp_path / "whole")
    recipe = recipe.replace(checkpoint_every=3)
    break_at(20, streamed(path), recipe, tmp_path / "part")
    row_cache.clear()
    part = fit(streamed(path), run_dir=tmp_path / "part", resume=True)
    for name, value in whole.model("last").state_dict().items():
        assert value.equal(part.model("last").state_dict()[name])
    training = mixed(np.arange(ROWS), 0) >= np.uint64(0.2 * 2**64)
    values = cells_of(path)["y"].to_numpy()[~training]
    error = predict(whole, path)["predicted_y"][~training] - values
    assert np.sqrt(np.square(error).mean()) == pytest.approx(whole.best_metric, rel=1e-5)


def test_a_small_file_is_not_streamed_by_itself(tmp_path: Path, cache: Path) -> None:
    """Above a size it is."""
    path = table(tmp_path, classes=True)
    options: dict[str, Any] = {"target": "y", "missing": "impute", "dates": ["day"]}
    assert load_task(str(path), **options).source["stream"] is False
    assert not cache.exists()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("downslope.tasks.load.STREAM_BYTES", 1000)
        assert load_task(str(path), **options).source["stream"] is True


def test_progress_is_told(tmp_path: Path) -> None:
    """Both passes, each from the beginning to the end of the file."""
    told: list[tuple[str, float]] = []
    streamed(table(tmp_path, classes=True), on_progress=lambda *event: told.append(event))
    for doing in ("reading", "converting"):
        shares = [share for what, share in told if what == doing]
        assert shares == sorted(shares)
        assert shares[0] < 0.2
        assert shares[-1] > 0.95


def test_rows_that_were_removed_are_one_error(tmp_path: Path) -> None:
    """Whoever had not begun to read them is told what to do."""
    task = streamed(table(tmp_path, classes=True))
    row_cache.clear()
    with pytest.raises(InputError, match="was removed while it was in use"):
        task.train[0]
