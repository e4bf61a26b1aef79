"""The built-in digits, metrics, batches, and how a name becomes a task."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch
from torch.utils.data import Dataset, TensorDataset

from downslope.errors import InputError, MissingExtraError
from downslope.tasks import (
    Metric,
    Task,
    accuracy,
    batches,
    load_task,
    permutation,
    rmse,
    steps,
    steps_in,
)


@pytest.fixture(scope="module")
def digits() -> Task:
    return load_task("digits")


def test_digits_rows_are_split_once(digits: Task) -> None:
    """Every row of the source is in exactly one part."""
    assert sorted(digits.train_rows + digits.validation_rows) == list(range(1797))


def test_digits_rows_are_where_they_say(digits: Task) -> None:
    """``validation_rows`` names the source's rows in the order of ``validation``."""
    from sklearn.datasets import load_digits

    labels = load_digits().target[list(digits.validation_rows)]
    assert digits.validation[:][1].tolist() == labels.tolist()


def test_digits_split_is_stratified(digits: Task) -> None:
    """Each class has its share of the validation part, to a row."""
    everywhere = torch.cat([digits.train[:][1], digits.validation[:][1]]).bincount() * 0.2
    assert (digits.validation[:][1].bincount() - everywhere).abs().max() <= 1


def test_split_depends_on_the_seed_alone(digits: Task) -> None:
    """The same seed splits the same way, another one does not."""
    assert load_task("digits").train_rows == digits.train_rows
    assert load_task("digits", seed=1).train_rows != digits.train_rows


def test_source_makes_the_task_again() -> None:
    """``load_task(**task.source)`` gives the same rows."""
    task = load_task("digits", seed=3)
    assert load_task(**task.source).train_rows == task.train_rows  # type: ignore[arg-type]  # a dict


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"spec": "digts"}, "Unknown task 'digts'. Did you mean 'digits'?"),
        ({"spec": "digits", "target": "y"}, "takes no target, got 'y': that is for table"),
        ({"spec": "digits", "seed": -1}, "seed must be a whole number"),
        ({"spec": "digits", "seed": True}, "seed must be a whole number"),
        ({"spec": "digits", "seed": 2**32}, "seed must be a whole number"),
    ],
)
def test_bad_names_are_refused(arguments: dict[str, object], message: str) -> None:
    """One line says what came and what is allowed."""
    with pytest.raises(InputError, match=message) as caught:
        load_task(**arguments)  # type: ignore[arg-type]  # wrong on purpose
    assert "\n" not in str(caught.value)


def test_digits_without_scikit_learn(monkeypatch: pytest.MonkeyPatch) -> None:
    """The message names the extra to install."""
    monkeypatch.setitem(sys.modules, "sklearn.datasets", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'downslope\[data\]'"):
        load_task("digits")


def test_rmse_refuses_to_broadcast() -> None:
    """A column against a row would compare every pair."""
    with pytest.raises(ValueError, match="the same shape"):
        rmse(torch.zeros(3, 1), torch.zeros(3))


@pytest.mark.parametrize(
    ("higher", "value", "best", "expected"),
    [
        (True, 0.5, None, True),
        (True, 0.6, 0.5, True),
        (True, 0.5, 0.5, False),
        (False, 0.6, 0.5, False),
        (False, 0.4, 0.5, True),
    ],
)
def test_better_is_strict(higher: bool, value: float, best: float | None, expected: bool) -> None:
    """The first of equal values stays the best one."""
    assert Metric("m", accuracy, higher).better(value, than=best) is expected


def test_batches_cover_an_order_once() -> None:
    """The rows of all batches are the order, cut up."""
    rows = torch.arange(10)
    order = permutation(10, seed=1, epoch=2)
    got = [x.tolist() for x, _ in batches(TensorDataset(rows, rows), 4, order=order)]
    assert got == [order[:4].tolist(), order[4:8].tolist(), order[8:].tolist()]


def test_a_lone_row_joins_the_batch_before() -> None:
    """Batch norm cannot train on one row."""
    rows = torch.arange(9)
    assert [len(x) for x, _ in batches(TensorDataset(rows, rows), 4)] == [4, 5]


def test_batches_of_one_stay_batches_of_one() -> None:
    """Where one row was asked for, nothing joins."""
    rows = torch.arange(3)
    assert [len(x) for x, _ in batches(TensorDataset(rows, rows), 1)] == [1, 1, 1]


def test_permutations_differ_between_epochs_and_seeds() -> None:
    """Neither the next epoch nor the next seed repeats an order."""
    orders = {tuple(permutation(50, seed, epoch).tolist()) for seed in (0, 1) for epoch in (0, 1)}
    assert len(orders) == 4


class Squares(Dataset[tuple[torch.Tensor, torch.Tensor]]):
    def __len__(self) -> int:
        return 5

    def __getitem__(self, row: int) -> tuple[torch.Tensor, torch.Tensor]:
        return torch.tensor(float(row)), torch.tensor(float(row**2))


def test_other_datasets_are_collated() -> None:
    """A data set of single rows gives the same batches."""
    loader = batches(Squares(), 2, order=torch.tensor([4, 0, 1, 2]), skip=1)
    assert [(x.tolist(), y.tolist()) for x, y in loader] == [([1.0, 2.0], [1.0, 4.0])]


@pytest.mark.parametrize("dataset", [Squares(), TensorDataset(torch.zeros(5), torch.zeros(5))])
def test_batches_draw_nothing_from_the_global_generator(dataset: Dataset[object]) -> None:
    """Or a resumed run would see other random numbers than an uninterrupted one."""
    torch.manual_seed(0)
    before = torch.get_rng_state()
    for _ in batches(dataset, 2):  # type: ignore[arg-type]  # two kinds of data set
        pass
    assert torch.get_rng_state().equal(before)


def test_a_missing_file_offers_its_neighbours(tmp_path: Path) -> None:
    """The nearest file name in the same folder is named."""
    (tmp_path / "houses.csv").write_text("a,b\n")
    with pytest.raises(InputError, match=r"does not exist. Did you mean '.*houses.csv'\?"):
        load_task(str(tmp_path / "house.csv"), target="a")


def test_a_step_is_the_same_whoever_shares_it() -> None:
    """The parts of all processes, put together in order, are the step of one process."""
    data = TensorDataset(torch.arange(23), torch.arange(23))
    alone = [step[0][0].tolist() for step in steps(data, 12, seed=3, epoch=1)]
    shared = [
        [
            [(x.tolist(), share) for x, _, share in step]
            for step in steps(data, 12, seed=3, epoch=1, accumulate=2, process=p, processes=3)
        ]
        for p in range(3)
    ]
    for k, rows in enumerate(alone):
        parts = [part for process in shared for part in process[k]]
        assert [row for part, _ in parts for row in part] == rows
        assert sum(share for _, share in parts) == pytest.approx(1)
        assert [share for _, share in parts] == [len(part) / len(rows) for part, _ in parts]
        assert len(parts) == (6, 3)[k]


def test_every_process_has_two_rows_of_every_step() -> None:
    """Or the last step joins the one before, and the count of steps says so."""
    data = TensorDataset(torch.arange(21), torch.arange(21))
    mine = list(steps(data, 8, seed=0, epoch=0, process=2, processes=3))
    assert [len(x) for [(x, _, _)] in mine] == [2, 4]
    assert steps_in(21, 8, processes=3) == 2
    assert steps_in(21, 8) == 3
