"""What the doctor says, in the report."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import nn
from torch.utils.data import TensorDataset

from downslope import Metric, Recipe, Task, fit
from downslope.report import write_report
from downslope.tasks import rmse


def line() -> Task:
    x = torch.linspace(-1, 1, 64)[:, None]
    data, held = TensorDataset(x, 2 * x), TensorDataset(x + 0.01, 2 * x + 0.02)
    return Task(
        name="line",
        model=lambda: nn.Sequential(nn.Linear(1, 16), nn.Tanh(), nn.Linear(16, 1)),
        loss=nn.functional.mse_loss,
        train=data,
        validation=held,
        metric=Metric("rmse", rmse, higher_is_better=False),
        batch_size=16,
        epochs=10,
        kind="regression",
    )


def page_at(lr: float, folder: Path) -> str:
    run = fit(line(), Recipe(optimizer="sgd", lr=lr, clip_norm=None, schedule="constant"), folder)
    return write_report(run).read_text(encoding="utf-8")


def test_a_fault_is_told_with_its_remedy(tmp_path: Path) -> None:
    """A rate that is far too low, in a section of its own."""
    page = page_at(1e-6, tmp_path / "low")
    assert "<h2>Findings</h2>" in page
    assert "warning: lr too low" in page
    assert "Raise the learning rate" in page


def test_a_healthy_run_has_no_such_section(tmp_path: Path) -> None:
    """Nothing is said where nothing is wrong."""
    assert "<h2>Findings</h2>" not in page_at(0.1, tmp_path / "good")


def test_the_evidence_is_drawn_and_told(tmp_path: Path) -> None:
    """A curve with its threshold, in words for who cannot see it."""
    page = page_at(1e-6, tmp_path / "low")
    assert "What the doctor saw" in page
    assert 'aria-label="Line chart: update over weight, median from ' in page
    assert "usual 0.001" in page
