"""A loss, gradient or metric that is not finite ends a run, and reaches no weight."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F

from downslope import Run, fit
from downslope.errors import DownslopeError
from downslope.training import TrainingDivergedError, checkpoint

from .tiny import RECIPE, data, recorded, tiny


class Poison(torch.autograd.Function):
    """The identity, whose gradient is NaN."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor) -> torch.Tensor:
        return x.clone()

    @staticmethod
    def backward(ctx: Any, g: torch.Tensor) -> torch.Tensor:
        return g * math.nan


def poisoned(outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """A finite loss whose gradient is not."""
    return F.mse_loss(Poison.apply(outputs), targets)


def test_a_gradient_that_is_not_finite_reaches_no_weight(tmp_path: Path) -> None:
    """The run ends before the step; the error gives the norm, and its cause names a parameter."""
    with pytest.raises(TrainingDivergedError, match="gradient norm nan") as caught:
        fit(tiny(loss=poisoned), RECIPE, tmp_path / "run")
    assert "parameter 0 of group 0" in str(caught.value.__cause__)
    assert recorded(Run.load(tmp_path / "run"), "train") == []


def explode(outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """Finite, until the outputs of two steps are behind it."""
    explode.calls += 1  # type: ignore[attr-defined]  # a counter
    return F.mse_loss(outputs, targets) * (math.inf if explode.calls > 3 else 1.0)  # type: ignore[attr-defined]  # as above


def test_a_loss_that_is_not_finite_ends_the_run(tmp_path: Path) -> None:
    """The error says where and what to do, the end is recorded, the checkpoint is sound."""
    explode.calls = 0  # type: ignore[attr-defined]  # a counter
    with pytest.raises(TrainingDivergedError, match=r"epoch 1 after 3 steps at lr .*lower lr"):
        fit(tiny(loss=explode), RECIPE.replace(checkpoint_every=2), tmp_path / "run")
    run = Run.load(tmp_path / "run")
    assert (run.reason, len(recorded(run, "train"))) == ("diverged", 3)
    last = checkpoint.load(run.files.last)
    assert last["progress"]["step"] == 2
    assert all(torch.isfinite(t).all() for t in last["model"].values())


def test_nan_in_the_data_does_not_reach_the_weights(tmp_path: Path) -> None:
    """The first step already raises."""
    rows = data(0)
    rows.tensors[0][:] = math.nan
    with pytest.raises(TrainingDivergedError, match="loss nan"):
        fit(tiny(rows), RECIPE, tmp_path / "run")
    assert issubclass(TrainingDivergedError, DownslopeError)


def test_a_metric_that_is_not_finite_ends_the_run(tmp_path: Path) -> None:
    """It could not be compared with any other."""
    with pytest.raises(TrainingDivergedError, match="rmse nan"):
        fit(tiny(metric=lambda outputs, targets: math.nan), RECIPE, tmp_path / "run")
