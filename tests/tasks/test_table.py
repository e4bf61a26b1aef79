"""Tables: what the target makes of the task, and how columns are standardised."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch

from downslope.errors import InputError, MissingExtraError
from downslope.tasks import Task, load_task
from downslope.tasks.tables.model import TableModel

Cell = str | float


def table_of(folder: Path, targets: Sequence[Cell], **columns: Sequence[Cell]) -> Task:
    """The task of a table with a target ``y`` and a counting column ``x``."""
    columns = {"x": list(range(len(targets))), **columns}
    lines = [",".join([*columns, "y"])]
    lines += [",".join(map(str, row)) for row in zip(*columns.values(), targets, strict=True)]
    file = folder / "table.csv"
    file.write_text("\n".join(lines) + "\n")
    return load_task(str(file), target="y")


@pytest.mark.parametrize(
    ("targets", "kind", "classes"),
    [
        (["yes", "no"] * 10, "classification", 2),
        ([0, 1, 2] * 10, "classification", 3),
        (["0.0", "1.0"] * 10, "classification", 2),
        ([-1, 1] * 10, "classification", 2),
        ([*range(20)] * 5, "classification", 20),
        ([*range(21)] * 5, "regression", 1),
        ([*range(10)] * 4, "regression", 1),
        ([0.5, 1.0] * 10, "regression", 1),
        ([*range(100)], "regression", 1),
    ],
)
def test_the_target_decides_what_is_trained(
    tmp_path: Path, targets: list[Cell], kind: str, classes: int
) -> None:
    """Text, or few whole numbers with enough rows each, are classes; other numbers are values."""
    task = table_of(tmp_path, targets)
    outputs = task.model()(task.train[:][0])
    assert task.kind == kind
    assert (outputs.shape[1] if outputs.dim() == 2 else 1) == classes


def test_columns_are_standardised_by_the_training_part(tmp_path: Path) -> None:
    """Its mean is 0 and its deviation 1; the validation part's are whatever they are."""
    x = np.random.default_rng(0).normal(5, 3, size=50).tolist()
    task = table_of(tmp_path, ["a", "b"] * 25, x=x)
    train = task.train[:][0].double()
    validation = task.validation[:][0].double()
    assert abs(train.mean().item()) < 1e-6
    assert abs(train.std(correction=0).item() - 1) < 1e-6
    assert abs(validation.mean().item()) > 1e-3


def test_a_constant_column_counts_for_nothing(tmp_path: Path) -> None:
    """It becomes zero instead of a division by zero."""
    task = table_of(tmp_path, ["a", "b"] * 10, c=[0.1] * 20)
    assert task.train[:][0][:, 1].abs().max() == 0
    assert task.validation[:][0][:, 1].abs().max() == 0


def test_huge_numbers_do_not_overflow(tmp_path: Path) -> None:
    """The square of 1e200 is no float64, but its standardised value is an ordinary number."""
    task = table_of(tmp_path, ["a", "b"] * 10, x=[1e200 * i for i in range(20)])
    assert torch.isfinite(task.train[:][0]).all()
    assert abs(task.train[:][0].mean().item()) < 1e-6


def test_rmse_is_in_the_units_of_the_target(tmp_path: Path) -> None:
    """Predicting the mean of the training part costs what it costs in the file's numbers."""
    values = np.random.default_rng(0).normal(1000, 50, size=60)
    task = table_of(tmp_path, values.tolist())
    mean = values[list(task.train_rows)].mean()
    expected = np.sqrt(np.square(values[list(task.validation_rows)] - mean).mean())
    targets = task.validation[:][1]
    assert task.metric.function(torch.zeros_like(targets), targets) == pytest.approx(expected, 1e-6)
    assert not task.metric.higher_is_better


def test_classes_are_stratified(tmp_path: Path) -> None:
    """A rare class has its share of the validation part."""
    task = table_of(tmp_path, ["rare"] * 10 + ["common"] * 90)
    assert task.validation[:][1].bincount().tolist() == [18, 2]


def test_rows_are_where_they_say(tmp_path: Path) -> None:
    """``train_rows`` are the file's rows, counted from 0 without the header."""
    task = table_of(tmp_path, ["a", "b"] * 20)
    order = task.train[:][0][:, 0].argsort()
    assert [task.train_rows[i] for i in order] == sorted(task.train_rows)


def test_spaces_byte_order_marks_and_line_ends_do_not_matter(tmp_path: Path) -> None:
    """Files of other systems and hands read the same."""
    rows = "".join(f"{i} , {'ab'[i % 2]}\r\n" for i in range(20))
    file = tmp_path / "t.csv"
    file.write_bytes(b"\xef\xbb\xbf" + f' "x" ,y\r\n{rows}\r\n\r\n'.encode())
    task = load_task(str(file), target="y")
    assert (len(task.train), len(task.validation)) == (16, 4)  # type: ignore[arg-type]  # TensorDatasets


def test_the_model_starts_at_zero() -> None:
    """Whatever the hidden path sees, its part of the output begins at nothing."""
    model = TableModel(features=4, outputs=3, rows=500)
    assert model(torch.randn(7, 4)).abs().max() == 0


def test_every_parameter_of_the_model_learns() -> None:
    """After two steps all have moved: a zero start does not block the hidden path."""
    torch.manual_seed(0)
    model = TableModel(features=4, outputs=1, rows=500)
    before = [p.clone() for p in model.parameters()]
    optimizer = torch.optim.Adam(model.parameters(), lr=0.1)
    x = torch.randn(64, 4)
    for _ in range(2):
        optimizer.zero_grad()
        (model(x) - x.square().sum(1)).square().mean().backward()
        optimizer.step()
    assert all(not p.equal(old) for p, old in zip(model.parameters(), before, strict=True))


@pytest.mark.parametrize("package", ["polars", "sklearn.model_selection"])
def test_a_table_without_its_extra(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, package: str
) -> None:
    """The message names the extra to install."""
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(MissingExtraError, match=r"pip install 'downslope\[data\]'"):
        table_of(tmp_path, ["a", "b"] * 10)


GOOD = "".join(f"{i},{i % 7},{i % 2}\n" for i in range(20))
HEAD = "u,v,y\n"


def with_cell(row: int, column: int, value: str) -> str:
    """A good table with one cell changed; the row counts from 1."""
    rows = [line.split(",") for line in GOOD.splitlines()]
    rows[row - 1][column] = value
    return HEAD + "\n".join(map(",".join, rows))


@pytest.mark.parametrize(
    ("content", "target", "parts"),
    [
        ("", "y", ["is empty"]),
        ("\n\n", "y", ["is empty"]),
        (HEAD, "y", ["0 rows", "too few rows"]),
        (HEAD + "1,2,0\n" * 9, "y", ["9 rows", "too few rows"]),
        (HEAD + GOOD, None, ["target column", "u, v, y"]),
        (HEAD + GOOD, "yy", ["Unknown column", "'yy'", "'y'"]),
        ("u,u,y\n" + GOOD, "y", ["'u' is given twice", "1 and 2"]),
        (",v,y\n" + GOOD, "y", ["column 1 has no name"]),
        (with_cell(3, 1, "abc"), "y", ["row 3", "'v'", "text where numbers", "'abc'"]),
        (with_cell(4, 0, "nan"), "y", ["row 4", "'u'", "no finite number", "'nan'"]),
        (with_cell(5, 0, "-inf"), "y", ["row 5", "'u'", "no finite number", "'-inf'"]),
        (with_cell(20, 1, ""), "y", ["row 20", "'v'", "an empty cell"]),
        (with_cell(2, 1, "  "), "y", ["row 2", "'v'", "an empty cell"]),
        (with_cell(6, 2, ""), "y", ["row 6", "'y'", "no target value"]),
        (with_cell(6, 2, "NaN"), "y", ["row 6", "'y'", "no target value"]),
        (with_cell(7, 2, "maybe"), "y", ["row 7", "'y'", "text in a target column of numbers"]),
        (with_cell(8, 2, "5"), "y", ["the class 5", "has one row"]),
        (HEAD + "".join(f"{i},1,1\n" for i in range(20)), "y", ["'y' is constant"]),
        (HEAD + "".join(f"{i},1,1.5\n" for i in range(20)), "y", ["'y' is constant"]),
        (HEAD + "".join(f"{i},1,same\n" for i in range(20)), "y", ["'y' is constant", "same"]),
        (HEAD + "".join(f"1,1,k{i % 5}\n" for i in range(20)), "y", ["5 classes", "too few rows"]),
        ("y\n" + "1\n2\n" * 10, "y", ["one column alone, 'y'"]),
        (
            "u;v;y\n" + GOOD.replace(",", ";"),
            "y",
            ["one column alone, 'u;v;y'", "separated by commas"],
        ),
        (HEAD + GOOD + "1,2,3,4\n", "y", ["cannot be read", "as many cells as the header"]),
        (HEAD + "1,2\n" + GOOD, "y", ["row 1", "'y'", "an empty cell"]),
        (HEAD + GOOD + '"1,2,0\n', "y", ["cannot be read"]),
    ],
)
def test_bad_tables_are_refused(
    tmp_path: Path, content: str, target: str | None, parts: list[str]
) -> None:
    """One line names the file, the place and the problem."""
    file = tmp_path / "bad.csv"
    file.write_text(content)
    with pytest.raises(InputError) as caught:
        load_task(str(file), target=target)
    message = str(caught.value)
    assert "bad.csv" in message
    assert "\n" not in message
    for part in parts:
        assert part in message


def test_a_file_in_another_encoding_is_refused(tmp_path: Path) -> None:
    """Bytes that are no UTF-8 are not guessed at."""
    file = tmp_path / "latin.csv"
    file.write_bytes(HEAD.encode() + b"\xff,1,2\n" + GOOD.encode())
    with pytest.raises(InputError, match="UTF-8"):
        load_task(str(file), target="y")


def test_a_directory_is_refused(tmp_path: Path) -> None:
    """A folder is not a table."""
    with pytest.raises(InputError, match="takes no target, got 'y': that is for table"):
        load_task(str(tmp_path), target="y")


def test_a_mixed_column_counts_its_bad_cells(tmp_path: Path) -> None:
    """A column half of text says how many cells are bad, not one after another."""
    with pytest.raises(InputError, match=r"row 2 .*column 'c'.*9 more such cells"):
        table_of(tmp_path, ["a", "b"] * 10, c=[1, "red"] * 10)
