"""The trained model of a run, made again from its directory alone."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from downslope import Recipe, Run, fit, load_task, optim
from downslope.errors import InputError

from .tiny import RECIPE, break_at, tiny


def test_a_tables_model_needs_no_data(tmp_path: Path) -> None:
    """The checkpoint says how the model is made: the file may be gone."""
    table = tmp_path / "t.csv"
    table.write_text("x,y\n" + "".join(f"{i},{'ab'[i % 2]}\n" for i in range(40)))
    task = load_task(str(table), target="y")
    run = fit(task, Recipe(lr=0.01, epochs=2), tmp_path / "run")
    table.unlink()
    alone = Run.load(run.path)
    inputs = task.validation[:][0]
    assert alone.model("last")(inputs).equal(run.model("last", task=task)(inputs))
    described = json.loads(alone.files.task.read_text())["preparation"]
    assert alone.preparation("last").to_dict() == described


def test_a_task_without_a_preparation_says_so(tmp_path: Path) -> None:
    """There is nothing to read a file with."""
    run = fit(tiny(), RECIPE.replace(epochs=1), tmp_path)
    with pytest.raises(InputError, match="does not say how a file becomes its inputs"):
        run.preparation()


def test_a_schedule_free_run_gives_the_average_from_the_middle_of_an_epoch(tmp_path: Path) -> None:
    """Its last checkpoint holds the weights to train there; the model gets those to evaluate."""
    recipe = RECIPE.replace(
        optimizer="sgdschedulefree", schedule="constant", warmup=0.0, checkpoint_every=3
    )
    break_at(5, tiny(), recipe, tmp_path)
    run = Run.load(tmp_path)
    saved = torch.load(run.files.last, weights_only=True)
    assert all(group["train_mode"] for group in saved["optimizer"]["param_groups"])
    expected = tiny().model()
    expected.load_state_dict(saved["model"])
    optimizer = optim.SGDScheduleFree(expected.parameters())
    optimizer.load_state_dict(saved["optimizer"])
    optimizer.eval()
    got = run.model("last", task=tiny())
    for name, value in got.state_dict().items():
        torch.testing.assert_close(value, expected.state_dict()[name], rtol=0, atol=0)
    assert any(not value.equal(saved["model"][name]) for name, value in got.state_dict().items())
