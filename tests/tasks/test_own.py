"""A task of the user's own: found, tried, refused in one line where something is wrong."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.data import IterableDataset, TensorDataset

from downslope import DownslopeError, Metric, Recipe, Run, Task, fit, load_task
from downslope.errors import InputError, InputTypeError
from downslope.tasks import rmse

from ..training.tiny import break_at, measured, tiny

MODULE = """
from dataclasses import replace
import torch
from torch.utils.data import TensorDataset
from tests.training.tiny import tiny

LIMIT = 3
def good(seed=0):
    return replace(tiny(), name=f"seed {seed}")
def unseeded(): return tiny()
def needy(rows): return tiny()
def raises(): raise RuntimeError("no such bucket")
def quits(): raise SystemExit("bye")
def nothing(): pass
def model(): return torch.nn.Linear(2, 1)
def narrow(): return replace(tiny(), model=lambda: torch.nn.Linear(2, 1))
def unreduced(): return replace(tiny(), loss=lambda y, t: (y - t).square())
def modelless(): return replace(tiny(), model=lambda: 3)
def triples(): return replace(tiny(), train=[(torch.zeros(3), 1.0, 2.0)] * 8)
"""


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder with modules in it, as the current one; they are forgotten afterwards."""
    (tmp_path / "mine.py").write_text(MODULE)
    (tmp_path / "broken.py").write_text("def f(:\n")
    (tmp_path / "lacking.py").write_text("import no_such_package\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    yield tmp_path
    for name in ("mine", "broken", "lacking", "shapes"):
        sys.modules.pop(name, None)


def test_a_function_is_found_and_called(own: Path) -> None:
    """The current folder is importable, and a function that takes the seed is given it."""
    assert load_task("mine:good", seed=7).name == "seed 7"


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("none:good", "there is no module 'none'"),
        ("none.more:good", "there is no module 'none'"),
        ("mine:god", r"no function 'god'\. It has: good, "),
        ("mine:LIMIT", "is int 3, not a function"),
        ("builtins:dict", "is no function of yours"),
        ("mine:", "is no function and no file"),
        (":good", "is no function and no file"),
        ("my/tasks.py:good", "is no function and no file"),
        ("broken:f", r"SyntaxError: .*broken.py, line 1"),
        ("lacking:f", "ModuleNotFoundError: No module named 'no_such_package'"),
        ("mine:needy", r"needs arguments \(rows\)"),
        ("mine:raises", "raised RuntimeError: no such bucket"),
        ("mine:quits", "raised SystemExit: bye"),
        ("mine:nothing", "must return a downslope.Task, got None"),
        ("mine:model", "must return a downslope.Task, got Linear Linear"),
        ("mine:narrow", "the model, on inputs of shape .* failed: RuntimeError"),
        ("mine:unreduced", "loss must give one number"),
        ("mine:modelless", r"model\(\) must give a torch module, got int 3"),
        ("mine:triples", "a row must be an .input, target. pair"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(own: Path, spec: str, message: str) -> None:
    """Whatever the function, its module or its task lacks."""
    with pytest.raises(DownslopeError, match=message) as caught:
        load_task(spec)
    assert "\n" not in str(caught.value)


def test_a_seed_that_nobody_takes_is_refused(own: Path) -> None:
    """Or every seed would split alike."""
    with pytest.raises(InputError, match="takes no seed, got seed 3"):
        load_task("mine:unseeded", seed=3)


def test_a_target_is_refused(own: Path) -> None:
    """The function chose it."""
    with pytest.raises(InputError, match="takes no target, got 'y': that is for"):
        load_task("mine:good", target="y")


def test_trying_a_task_draws_nothing(own: Path) -> None:
    """The global generators are as they were."""
    load_task("mine:good")
    before = torch.get_rng_state()
    load_task("mine:good")
    assert torch.get_rng_state().equal(before)


def test_a_run_knows_its_function(own: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Resumed from its directory alone, and from elsewhere, a run ends with the same bits."""
    recipe = Recipe(lr=0.01, epochs=2)
    whole = fit(load_task("mine:good"), recipe, own / "whole")
    break_at(5, load_task("mine:good"), recipe, own / "cut")
    elsewhere = own / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    sys.modules.pop("mine")
    sys.path.remove(str(own))
    task = Run.load(own / "cut").task()
    resumed = fit(task, run_dir=own / "cut", resume=True)
    state = resumed.model("last").state_dict()
    assert all(state[k].equal(v) for k, v in whole.model("last").state_dict().items())
    assert measured(resumed) == measured(whole)


class Stream(IterableDataset[Any]):
    def __iter__(self) -> Iterator[Any]:
        return iter(())


X = torch.zeros(4, 3)


@pytest.mark.parametrize(
    ("changes", "kind", "message"),
    [
        ({"name": ""}, InputError, "name must be a word"),
        ({"name": None}, InputError, "name must be a word, got None"),
        ({"model": nn.Linear(3, 1)}, InputTypeError, "fresh weights; got a Linear itself"),
        ({"model": "cnn"}, InputTypeError, "model must be a function .* got str 'cnn'"),
        ({"loss": nn.MSELoss}, InputTypeError, r"the class MSELoss: write MSELoss\(\)"),
        ({"loss": None}, InputTypeError, "loss must be a function .* got None"),
        ({"train": None}, InputTypeError, "train must be a map-style data set .* got None"),
        (
            {"train": X},
            InputTypeError,
            "train must be .* got a Tensor of shape",
        ),
        ({"train": Stream()}, InputTypeError, "which has no rows to choose from"),
        ({"train": TensorDataset(X)}, InputError, "two tensors, inputs and targets, got 1"),
        ({"validation": TensorDataset(X[:0], X[:0])}, InputError, "validation has no rows"),
        ({"metric": rmse}, InputTypeError, "a metric must be a downslope.Metric"),
        ({"metrics": [Metric("a", rmse, True)]}, InputTypeError, "a tuple of Metrics"),
        ({"metrics": (Metric("rmse", rmse, True),)}, InputError, "'rmse' is given twice"),
        ({"metrics": (Metric("loss", rmse, True),)}, InputError, "'loss' is given twice"),
        ({"batch_size": 0}, InputError, "batch_size must be a whole number .* got 0"),
        ({"batch_size": 2.0}, InputError, r"batch_size must be a whole number .* got 2\.0"),
        ({"epochs": True}, InputError, "epochs must be a whole number .* got True"),
        ({"kind": None}, InputTypeError, "kind must be"),
        ({"preparation": "csv"}, InputTypeError, "preparation must be"),
    ],
)
def test_each_wrong_part_is_named(
    changes: dict[str, Any], kind: type[Exception], message: str
) -> None:
    """When the task is made, not in the middle of a training."""
    with pytest.raises(kind, match=message) as caught:
        replace(tiny(), **changes)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("", rmse, True), "name must be a word"),
        (("a", 3, True), "function must be a function"),
        (("a", rmse, 1), "higher_is_better must be True or False, got 1"),
    ],
)
def test_each_wrong_part_of_a_metric_is_named(arguments: tuple[Any, ...], message: str) -> None:
    """When the metric is made."""
    with pytest.raises(DownslopeError, match=message):
        Metric(*arguments)


def test_a_task_of_lists_is_fine() -> None:
    """A data set is whatever has rows and a length."""
    rows = [(torch.zeros(3), torch.zeros(1))] * 4
    task = Task("t", tiny().model, F.mse_loss, rows, rows, tiny().metric, 2, 1, "regression")  # type: ignore[arg-type]  # a list will do
    assert task.judge().name == "rmse"


def test_the_example_of_the_documentation(own: Path) -> None:
    """The page's module is a task as it stands."""
    page = Path(__file__).parents[2] / "docs" / "tasks.md"
    [code] = re.findall(r"```python\n(# shapes.py\n.*?)```", page.read_text(), re.DOTALL)
    (own / "shapes.py").write_text(code)
    assert len(load_task("shapes:task", seed=1).train) == 400  # type: ignore[arg-type]  # sized
