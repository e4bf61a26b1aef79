"""What `fit` refuses, before anything is written."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from downslope import Recipe, fit
from downslope.errors import InputError, InputTypeError

from .tiny import RECIPE, tiny


def test_what_is_no_task_or_recipe_is_refused(tmp_path: Path) -> None:
    """Before anything is written; a run is not resumed by them either."""
    for resume in (False, True):
        with pytest.raises(InputTypeError, match=r"must be a downslope\.Task, got a? ?Linear"):
            fit(torch.nn.Linear(1, 1), RECIPE, tmp_path / "run", resume=resume)  # type: ignore[arg-type]  # on purpose
    with pytest.raises(InputTypeError, match=r"must be a downslope\.Recipe, got dict"):
        fit(tiny(), {"lr": 0.1}, tmp_path / "run")  # type: ignore[arg-type]  # on purpose
    assert not (tmp_path / "run").exists()


def test_an_average_of_averages_is_refused() -> None:
    """A Schedule-Free optimizer has its own."""
    with pytest.raises(InputError, match="evaluates an average of the weights already"):
        Recipe(optimizer="adamwschedulefree", ema=0.9)


@pytest.mark.parametrize("content", ["file", "folder"])
def test_a_directory_in_use_is_refused(tmp_path: Path, content: str) -> None:
    """A run never writes over something else."""
    path = tmp_path / "run"
    if content == "file":
        path.write_text("mine")
    else:
        path.mkdir()
        (path / "mine").write_text("mine")
    with pytest.raises(InputError, match="exists already"):
        fit(tiny(), RECIPE, path)


@pytest.mark.parametrize("recipe", [Recipe(device="cuda:99"), Recipe(lr=0.1, device="nowhere")])
def test_a_bad_recipe_leaves_nothing_behind(tmp_path: Path, recipe: Recipe) -> None:
    """It is refused before the directory is made."""
    with pytest.raises(InputError):
        fit(tiny(), recipe, tmp_path / "run")
    assert not list(tmp_path.iterdir())
