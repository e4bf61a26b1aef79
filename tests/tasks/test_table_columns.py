"""What becomes of each kind of column: text, empty cells, dates, types of Parquet."""

from __future__ import annotations

import datetime
import json
import math
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch

from downslope.errors import InputError
from downslope.tasks import Task, load_task, restored
from downslope.tasks.tables.moments import Moments

Rows = list[list[float]]


def task_of(folder: Path, cells: Sequence[Any], name: str = "t.csv", **options: Any) -> Task:
    """The task of a table with a column ``c``, another ``x`` and a target of two classes."""
    count = len(cells)
    frame = pl.DataFrame({"c": pl.Series(list(cells), strict=False), "x": range(count)})
    frame = frame.with_columns(pl.Series("y", ["no", "yes"] * (count // 2)))
    path = folder / name
    if name.endswith(".parquet"):
        frame.write_parquet(path)
    else:
        frame.write_csv(path, separator="\t" if name.endswith(".tsv") else ",")
    return load_task(str(path), target="y", **options)


def raw(task: Task, features: int) -> Rows:
    """The first features of the training rows, no longer standardised."""
    assert task.preparation is not None
    columns = task.preparation.settings()["columns"]
    means = [m for column in columns for m in column["means"]][:features]
    deviations = [d for column in columns for d in column["deviations"]][:features]
    z = task.train[:][0][:, :features].double().numpy()
    back: Rows = (z * deviations + means).tolist()
    return back


def read(task: Task, folder: Path, header: str, *lines: str) -> torch.Tensor:
    """What a new file becomes, by the preparation as a checkpoint has it."""
    assert task.preparation is not None
    stored = restored(json.loads(json.dumps(task.preparation.to_dict())))
    path = folder / "new.csv"
    path.write_text("\n".join([header, *lines]) + "\n")
    return torch.cat([batch.inputs for batch in stored.read(path, 100)])


def test_text_is_one_input_a_level(tmp_path: Path) -> None:
    """1 in the column of the level, 0 in the others, in the order of the words."""
    cells = ["red", "green", "blue", "red"] * 10
    task = task_of(tmp_path, cells)
    expected = [
        [float(cells[row] == level) for level in ("blue", "green", "red")]
        for row in task.train_rows
    ]
    np.testing.assert_allclose(raw(task, 3), expected, atol=1e-6)


def test_levels_are_standardised_by_the_training_part(tmp_path: Path) -> None:
    """As every other input: mean 0 and deviation 1 there."""
    x = task_of(tmp_path, ["red", "green", "blue", "red"] * 10).train[:][0].double()
    torch.testing.assert_close(x.mean(0), torch.zeros(4).double(), rtol=0, atol=1e-6)
    torch.testing.assert_close(x.std(0, correction=0), torch.ones(4).double(), rtol=0, atol=1e-6)


def test_a_level_never_seen_is_none_of_the_known(tmp_path: Path) -> None:
    """All its inputs are those of a 0."""
    task = task_of(tmp_path, ["red", "green"] * 20)
    known, unseen = read(task, tmp_path, "c,x", "green,1", "violet,1")
    red, green = read(task, tmp_path, "c,x", "red,1", "green,1")
    assert known.equal(green)
    assert unseen.tolist() == [red[0].item(), green[1].item(), red[2].item()]


def test_a_level_of_the_validation_part_alone_is_not_learnt(tmp_path: Path) -> None:
    """Levels are those of the training rows."""
    plain = task_of(tmp_path, ["red", "green"] * 20)
    cells = ["red", "green"] * 20
    cells[plain.validation_rows[0]] = "violet"
    task = task_of(tmp_path, cells)
    assert task.preparation is not None
    assert task.preparation.settings()["columns"][0]["levels"] == ["green", "red"]


def test_numbers_declared_categorical_are_levels(tmp_path: Path) -> None:
    """Their size means nothing then."""
    task = task_of(tmp_path, [10, 20, 30, 10] * 10, categorical=["c"])
    assert task.preparation is not None
    assert task.preparation.settings()["columns"][0]["levels"] == ["10", "20", "30"]


def test_a_target_declared_categorical_is_classes(tmp_path: Path) -> None:
    """Numbers of which there are too many to be taken for classes by themselves."""
    path = tmp_path / "t.csv"
    path.write_text("x,y\n" + "".join(f"{i},{i % 30 / 2}\n" for i in range(300)))
    assert load_task(str(path), target="y").kind == "regression"
    task = load_task(str(path), target="y", categorical=["y"])
    assert (task.kind, task.model()(task.train[:2][0]).shape[1]) == ("classification", 30)


def test_too_many_texts_are_refused(tmp_path: Path) -> None:
    """A column of names is no category."""
    with pytest.raises(InputError, match=r"column 'c' holds more than 100 different texts"):
        task_of(tmp_path, [f"name {i}" for i in range(200)])
    assert task_of(tmp_path, [f"name {i % 100}" for i in range(1000)]).train[0][0].shape == (101,)


def test_empty_cells_are_filled_with_the_median_of_the_training_part(tmp_path: Path) -> None:
    """And one more input says which were."""
    draws = np.random.default_rng(0)
    cells: list[float | None] = [round(v, 3) for v in draws.lognormal(size=60).tolist()]
    cells[3::7] = [None] * len(cells[3::7])
    task = task_of(tmp_path, cells, missing="impute")
    known = [c for row in task.train_rows if (c := cells[row]) is not None]
    median = statistics.median(known)
    expected = [
        [median if cells[row] is None else cells[row], float(cells[row] is None)]
        for row in task.train_rows
    ]
    np.testing.assert_allclose(raw(task, 2), np.array(expected, float), atol=1e-5)
    x = task.train[:][0].double()
    torch.testing.assert_close(x.mean(0), torch.zeros(3).double(), rtol=0, atol=1e-6)
    torch.testing.assert_close(x.std(0, correction=0), torch.ones(3).double(), rtol=0, atol=1e-6)


def test_a_column_first_empty_in_a_new_file_is_filled_as_well(tmp_path: Path) -> None:
    """The median is kept for every column, the second input only where it had a meaning."""
    task = task_of(tmp_path, list(range(40)), missing="impute")
    assert task.train[0][0].shape == (2,)
    median = statistics.median(task.train_rows)
    filled, same = read(task, tmp_path, "c,x", ",5", f"{median},5")
    assert filled.equal(same)


def test_an_empty_text_is_a_level_of_its_own(tmp_path: Path) -> None:
    """Where the training part has one."""
    task = task_of(tmp_path, ["red", None, "blue", "red"] * 10, missing="impute")
    assert task.preparation is not None
    assert task.preparation.settings()["columns"][0]["levels"] == ["", "blue", "red"]


def test_further_texts_can_stand_for_empty_cells(tmp_path: Path) -> None:
    """In the training data and in every file after it."""
    cells = [str(i) if i % 5 else "n/a" for i in range(40)]
    task = task_of(tmp_path, cells, missing="impute", na=["n/a"])
    named, empty = read(task, tmp_path, "c,x", "n/a,1", ",1")
    assert named.equal(empty)


def test_a_column_can_be_ignored(tmp_path: Path) -> None:
    """Whatever it holds."""
    task = task_of(tmp_path, [f"id {i}" for i in range(200)], ignore=["c"])
    assert task.train[0][0].shape == (1,)


def parts(moment: datetime.datetime) -> list[float]:
    """Days since 1970, and the position in the year, the week and the day, naively."""
    passed = (moment - datetime.datetime(1970, 1, 1)) / datetime.timedelta(days=1)
    turns = [2 * math.pi * passed / period for period in (365.2425, 7, 1)]
    return [passed, *(f(turn) for turn in turns for f in (math.sin, math.cos))]


@pytest.mark.parametrize(
    "written", ["%Y-%m-%d %H:%M:%S", "%Y-%m-%dT%H:%M:%S", "%Y-%m-%dT%H:%M", "%Y-%m-%dT%H:%M:%SZ"]
)
def test_dates_become_numbers(tmp_path: Path, written: str) -> None:
    """Each of seven parts is what the calendar says."""
    start, step = datetime.datetime(2019, 11, 3, 7, 30), datetime.timedelta(days=9, hours=5)
    moments = [start + i * step for i in range(60)]
    task = task_of(tmp_path, [m.strftime(written) for m in moments], dates=["c"])
    expected = [parts(moments[row]) for row in task.train_rows]
    np.testing.assert_allclose(raw(task, 7), expected, rtol=1e-6, atol=1e-5)


def test_empty_dates_are_filled_with_the_median_day(tmp_path: Path) -> None:
    """And one more input says which were."""
    days = [datetime.datetime(2020, 1, 1) + datetime.timedelta(days=i) for i in range(60)]
    cells = [None if i % 6 == 1 else day.strftime("%Y-%m-%d") for i, day in enumerate(days)]
    task = task_of(tmp_path, cells, missing="impute", dates=["c"])
    known = [parts(days[row])[0] for row in task.train_rows if cells[row]]
    got = np.array(raw(task, 8))
    empty = np.array([cells[row] is None for row in task.train_rows])
    assert empty.any()
    np.testing.assert_allclose(got[empty, 0], statistics.median(known), rtol=1e-6)
    np.testing.assert_allclose(got[:, 7], empty, atol=1e-6)


@pytest.mark.parametrize("suffix", ["tsv", "parquet"])
def test_other_formats_hold_the_same_table(tmp_path: Path, suffix: str) -> None:
    """TSV and Parquet give the inputs, the targets and the split that CSV gives, to the bit."""
    cells = [round(v, 3) for v in np.random.default_rng(0).normal(size=40).tolist()]
    one, other = task_of(tmp_path, cells), task_of(tmp_path, cells, f"t.{suffix}")
    for mine, its in zip(one.train[:], other.train[:], strict=True):
        assert mine.equal(its)
    assert one.train_rows == other.train_rows


@pytest.mark.parametrize(
    ("cells", "options", "says"),
    [
        ([True, False] * 20, {}, ["false", "true"]),
        (pl.Series(["u", "v"] * 20, dtype=pl.Categorical), {}, ["u", "v"]),
        (pl.Series([1.0, 2.0] * 20), {"categorical": ["c"]}, ["1", "2"]),
    ],
    ids=["bool", "categorical", "float"],
)
def test_types_of_parquet_that_are_levels(
    tmp_path: Path, cells: Any, options: dict[str, Any], says: list[str]
) -> None:
    """Truth values and categories are text; whole numbers have no decimals."""
    task = task_of(tmp_path, cells, "t.parquet", **options)
    assert task.preparation is not None
    assert task.preparation.settings()["columns"][0]["levels"] == says


@pytest.mark.parametrize("kind", [pl.Date(), pl.Datetime("ms"), pl.Datetime("us", "Asia/Tokyo")])
def test_dates_of_parquet(tmp_path: Path, kind: pl.DataType) -> None:
    """A date by its type, in whatever unit; of a time zone, the time in UTC."""
    moments = pl.Series([datetime.datetime(2024, 2, 1 + i % 20) for i in range(40)]).cast(
        pl.Datetime("us")
    )
    if isinstance(kind, pl.Datetime) and kind.time_zone:
        moments = moments.dt.replace_time_zone("UTC").dt.convert_time_zone(kind.time_zone)
    else:
        moments = moments.cast(kind)
    task = task_of(tmp_path, moments, "t.parquet", dates=["c"])
    expected = [parts(datetime.datetime(2024, 2, 1 + row % 20))[0] for row in task.train_rows]
    np.testing.assert_allclose(np.array(raw(task, 1))[:, 0], expected, rtol=1e-6)


DATES = [f"2024-03-{1 + i % 28:02}" for i in range(40)]


@pytest.mark.parametrize(
    ("cells", "options", "says"),
    [
        (DATES, {}, "column 'c' holds dates such as '2024-03-01'"),
        ([*DATES[:30], *["soon"] * 10], {"dates": ["c"]}, "row 31 .*column 'c': no date"),
        ([1, None] * 20, {}, "row 2 .*column 'c': no finite number, got an empty cell.*impute"),
        (["u", None] * 20, {}, "row 2 .*column 'c': no value, got an empty cell.*impute"),
        ([None] * 40, {"missing": "impute"}, "column 'c' is empty in every row"),
        ([1, float("inf")] * 20, {"missing": "impute"}, "row 2 .*column 'c': no finite number"),
        ([1, "n/a"] * 20, {}, "row 2 .*text where numbers are wanted, got 'n/a'.*--na 'n/a'"),
        ([1, 2] * 20, {"missing": "drop"}, "Unknown treatment .*'drop'.*impute, refuse"),
        ([1, 2] * 20, {"ignore": ["cc"]}, "Unknown column of t.csv 'cc'"),
        ([1, 2] * 20, {"ignore": ["c"], "dates": ["c"]}, "'c' is declared twice"),
        ([1, 2] * 20, {"ignore": ["y"]}, "target column 'y' can be declared categorical"),
        ([1, 2] * 20, {"ignore": ["c", "x"]}, "every column but the target 'y' is ignored"),
        ([1, 2] * 20, {"ignore": "c"}, "ignore must be a list of texts, got 'c'"),
    ],
)
def test_what_cannot_be_read_is_refused(
    tmp_path: Path, cells: list[Any], options: dict[str, Any], says: str
) -> None:
    """One line says what came, where, and what to declare."""
    with pytest.raises(InputError, match=says) as caught:
        task_of(tmp_path, cells, **options)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "cells", [pl.Series([[1], [2]] * 20), pl.Series([datetime.time(1)] * 40)], ids=["list", "time"]
)
def test_types_of_parquet_that_are_no_inputs(tmp_path: Path, cells: pl.Series) -> None:
    """They are named, and can be ignored."""
    with pytest.raises(InputError, match=r"column 'c' holds .*neither number, text nor date"):
        task_of(tmp_path, cells, "t.parquet")
    assert task_of(tmp_path, cells, "t.parquet", ignore=["c"]).train[0][0].shape == (1,)


def test_a_file_that_is_no_parquet(tmp_path: Path) -> None:
    """Whatever its name says."""
    path = tmp_path / "t.parquet"
    path.write_text("x,y\n1,2\n")
    with pytest.raises(InputError, match=r"cannot be read as a Parquet file"):
        load_task(str(path), target="y")


def test_options_are_for_tables(tmp_path: Path) -> None:
    """A built-in task has no columns to declare."""
    with pytest.raises(InputError, match=r"'digits' takes no categorical.* that is for table"):
        load_task("digits", categorical=["c"])


def test_the_source_makes_the_task_again(tmp_path: Path) -> None:
    """With all that was declared."""
    cells = [1, None, 2, 3] * 10
    task = task_of(tmp_path, cells, missing="impute", ignore=["x"])
    again = load_task(**json.loads(json.dumps(dict(task.source))))
    assert all(a.equal(b) for a, b in zip(task.train[:], again.train[:], strict=True))


@pytest.mark.parametrize("scale", [1.0, 1e200, 1e-200])
def test_moments_in_pieces_are_those_of_the_whole(scale: float) -> None:
    """However the rows are cut, and at every scale."""
    draws = np.random.default_rng(0)
    values = scale * np.concatenate([draws.normal(5, 1, 100), 1000 * draws.normal(size=57)])
    whole = [float(v) for v in values]
    mean = math.fsum(v / scale for v in whole) / len(whole)
    deviation = math.sqrt(math.fsum((v / scale - mean) ** 2 for v in whole) / len(whole))
    moments = Moments(1)
    for piece in np.split(values, [1, 10, 99, 140]):
        moments.add(piece[:, None])
    moments.add_equal(0, np.array([3.0]))
    assert moments.means[0] / scale == pytest.approx(mean, rel=1e-12)
    assert moments.deviations[0] / scale == pytest.approx(deviation, rel=1e-12)
