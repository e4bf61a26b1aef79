"""16-bit steps: what runs in 16 bits, scaling before clipping, and skipped steps."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from downslope import Recipe, fit, optim
from downslope.tasks.digits import convolutional_network
from downslope.training.learning_rate import schedule
from downslope.training.precision import Precision

from .tiny import tiny

CPU = torch.device("cpu")
DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


@pytest.mark.parametrize("name", DTYPES)
def test_matrix_products_run_in_the_named_precision(name: str) -> None:
    """Also on the CPU, where others fall back to float32 without a word."""
    with Precision(name, CPU).autocast():
        assert nn.Linear(2, 2)(torch.ones(1, 2)).dtype == DTYPES[name]


@pytest.mark.parametrize("name", DTYPES)
@pytest.mark.parametrize("fused", [None, True])
def test_gradients_are_unscaled_before_they_are_clipped(name: str, fused: bool | None) -> None:
    """The norm is that of the gradient itself, whatever the loss was scaled by."""
    weight = torch.tensor([3.0, 4.0], requires_grad=True)
    optimizer = optim.SGD([weight], lr=1.0, fused=fused, clip_norm=1.0, on_nonfinite="raise")
    precision = Precision(name, CPU)
    precision.backward((weight * torch.tensor([3.0, 4.0])).sum())
    assert precision.step(optimizer)
    assert optimizer.grad_norm == pytest.approx(5.0)
    assert weight.tolist() == pytest.approx([3 - 0.6, 4 - 0.8])


@pytest.mark.parametrize("fused", [None, True])
def test_an_overflow_changes_nothing_but_the_scale(fused: bool | None) -> None:
    """The step is skipped, and said so."""
    weight = torch.ones(2, requires_grad=True)
    optimizer = optim.SGD([weight], lr=1.0, fused=fused, clip_norm=1.0, on_nonfinite="raise")
    precision = Precision("fp16", CPU)
    before = precision.scale
    precision.backward((weight * float("inf")).sum())
    assert not precision.step(optimizer)
    assert weight.tolist() == [1.0, 1.0]
    assert precision.scale == before / 2


def test_a_skipped_step_does_not_advance_the_schedule(tmp_path: Path) -> None:
    """Steps are counted by updates; a skip is recorded as such, with its scale."""
    recipe = Recipe(lr=0.01, epochs=3, precision="fp16")
    run = fit(tiny(scale=1000.0), recipe, tmp_path / "run")
    records = run.records()
    steps = [r for r in records if r["event"] == "train"]
    skips = [r for r in records if r["event"] == "skip"]
    lr = schedule(run.recipe, 21)
    assert skips
    assert len(steps) + len(skips) == 21
    assert [r["step"] for r in steps] == list(range(1, len(steps) + 1))
    assert [r["lr"] for r in steps] == pytest.approx([0.01 * lr(i) for i in range(len(steps))])
    assert [r["scale"] for r in skips] == sorted((r["scale"] for r in skips), reverse=True)


@pytest.mark.parametrize("name", DTYPES)
def test_every_precision_trains(tmp_path: Path, name: str) -> None:
    """The loss of the first steps comes out the same to the precision's digits."""
    losses = [
        [r["loss"] for r in run.records() if r["event"] == "train"][:3]
        for run in (
            fit(tiny(scale=0.01), Recipe(lr=0.01, epochs=1, precision=p), tmp_path / p)  # type: ignore[arg-type]  # one of four words
            for p in {"fp32", name}
        )
    ]
    assert losses[0] == pytest.approx(losses[-1], rel=0.05)


@pytest.mark.parametrize("name", DTYPES)
def test_the_digits_network_runs_in_every_precision(name: str) -> None:
    """Convolution, batch norm, pooling and their gradients exist in 16 bits on the CPU."""
    model = convolutional_network()
    with Precision(name, CPU).autocast():
        outputs = model(torch.randn(4, 1, 8, 8))
    outputs.float().square().mean().backward()
    assert all(p.grad is not None and torch.isfinite(p.grad).all() for p in model.parameters())
