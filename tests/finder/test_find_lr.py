"""The range test's sweep: what it goes through, when it stops, what it reports."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.amp.grad_scaler import GradScaler

import downslope
from downslope import RangeTest, find_lr, optim

from .problems import mse, problem, sweep


@pytest.mark.parametrize(
    ("growth", "space"), [("exponential", np.geomspace), ("linear", np.linspace)]
)
def test_learning_rates_grow_from_start_to_end(growth: Any, space: Callable[..., Any]) -> None:
    """Exponential growth multiplies, linear growth adds; both ends are included."""
    test = sweep(start=1e-5, end=1e-3, iterations=20, growth=growth)
    assert test.lrs == pytest.approx(space(1e-5, 1e-3, 20), rel=1e-12)


def test_the_sweep_goes_from_1e_7_until_it_diverges() -> None:
    """By 25 steps to 10, and stops early because the loss diverges."""
    test = sweep()
    assert test.lrs[0] == pytest.approx(1e-7)
    assert test.lrs[1] / test.lrs[0] == pytest.approx(10 ** (8 / 24))
    assert test.diverged_at == test.lrs[-1] < 10


def test_the_sweep_goes_on_while_it_has_not_diverged() -> None:
    """A loss of a millionth diverges far above 10; with an ``end`` it stops there."""

    def tiny(outputs: Tensor, targets: Tensor) -> Tensor:
        return 1e-3 * mse(outputs, targets)

    test = sweep(loss_fn=tiny)
    assert test.diverged_at is not None
    assert test.diverged_at > 10
    assert sweep(loss_fn=tiny, end=10.0).lrs[-1] == pytest.approx(10)


def test_each_step_uses_its_learning_rate() -> None:
    """Plain SGD on a constant gradient moves by lr * gradient at every iteration."""
    weight = nn.Linear(1, 1, bias=False)
    seen: list[float] = []

    def loss(outputs: Tensor, targets: Tensor) -> Tensor:
        seen.append(weight.weight.item())
        return outputs.mean()

    test = sweep(
        model=weight.double(),
        loss_fn=loss,
        loader=[(torch.ones(1, 1, dtype=torch.float64), torch.zeros(1))],
        optimizer=torch.optim.SGD(weight.parameters(), lr=0.1),
        start=1e-3,
        end=1e-1,
        iterations=10,
    )
    np.testing.assert_allclose(-np.diff(seen)[: len(test.lrs) - 1], test.lrs[:-1], rtol=1e-9)


def test_a_short_loader_is_read_again() -> None:
    """Four batches serve for 30 iterations."""
    assert len(sweep(iterations=30, end=1e-3).lrs) == 30


def test_it_stops_when_the_loss_is_four_times_its_best() -> None:
    """The last average is the first above 4 times the smallest."""
    test = sweep()
    best = np.minimum.accumulate(test.smoothed[6:])
    assert (np.array(test.smoothed[6:]) > 4 * best).tolist() == [False] * (len(best) - 1) + [True]


def test_it_stops_at_nan() -> None:
    """The learning rate of a NaN loss is reported; the curve before it is kept."""
    count = 0

    def loss(outputs: Tensor, targets: Tensor) -> Tensor:
        nonlocal count
        count += 1
        return mse(outputs, targets) * (math.nan if count == 13 else 1)

    test = sweep(loss_fn=loss)
    assert len(test.losses) == 12
    assert test.diverged_at == pytest.approx(np.geomspace(1e-7, 10, 25)[12])
    assert all(map(math.isfinite, test.losses))


def test_a_loss_that_is_nan_at_once_has_no_answer() -> None:
    """The result says why there is no suggestion, and can still be saved and drawn."""
    test = sweep(loss_fn=lambda outputs, targets: mse(outputs, targets) * math.nan)
    assert test.suggestion is None
    assert "not a finite number before the first step" in test.reason
    assert RangeTest.from_dict(test.to_dict()) == test
    assert test.plot().get_title() == test.reason


def test_clipping_bounds_the_gradient() -> None:
    """With ``clip_norm`` the gradients that the optimizer sees have at most that norm."""
    norms: list[float] = []
    model, _ = problem()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    parameters = list(model.parameters())

    def note(*_: Any) -> None:
        grads = [p.grad.flatten() for p in parameters if p.grad is not None]
        norms.append(float(torch.cat(grads).norm()))

    optimizer.register_step_pre_hook(note)
    sweep(model=model, optimizer=optimizer, clip_norm=0.5, iterations=15)
    assert max(norms) <= 0.5 * (1 + 1e-5)
    norms.clear()
    sweep(model=model, optimizer=optimizer, iterations=15)
    assert max(norms) > 0.5


def test_a_scaler_changes_nothing_in_float32() -> None:
    """Scaled losses are scaled back before clipping: the same curve to rounding."""
    with_scaler = sweep(scaler=GradScaler("cpu", init_scale=256.0), clip_norm=1.0)
    assert with_scaler.losses == pytest.approx(sweep(clip_norm=1.0).losses, rel=1e-4)


def test_autocast_runs_the_forward_pass_in_16_bits() -> None:
    """The outputs that the loss function gets have the dtype asked for."""
    dtypes = set()

    def loss(outputs: Tensor, targets: Tensor) -> Tensor:
        dtypes.add(outputs.dtype)
        return mse(outputs.float(), targets)

    sweep(loss_fn=loss, autocast=torch.bfloat16, iterations=10)
    assert dtypes == {torch.bfloat16}


def test_every_iteration_is_reported() -> None:
    """``on_step`` gets the event of each iteration: the sweep's first, then the races'."""
    events: list[dict[str, Any]] = []
    test = sweep(iterations=12, end=1e-3, on_step=events.append)
    swept = [
        {"event": "find_lr", "iteration": k, "iterations": 200, "lr": lr, "loss": loss}
        for k, (lr, loss) in enumerate(zip(test.lrs, test.losses, strict=True), start=1)
    ]
    assert events[:12] == swept
    assert [event["iteration"] for event in events] == list(range(1, len(events) + 1))
    raced = {event["lr"] for event in events[12:]}
    assert raced >= {lr for lr, _ in test.races}


def test_the_bar_shows_lr_and_loss(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """On a terminal there is a bar with both; elsewhere nothing is printed."""
    sweep(iterations=10, end=1e-3, progress=True)
    assert capsys.readouterr() == ("", "")
    monkeypatch.setenv("TTY_COMPATIBLE", "1")
    test = sweep(iterations=10, end=1e-3, progress=True)
    shown = capsys.readouterr().err
    assert "/200" in shown
    assert f"lr {test.races[-1][0]:.1e}  loss " in shown or "lr " in shown


def test_groups_keep_the_ratio_of_their_learning_rates() -> None:
    """The largest group's lr is swept; one at a tenth of it stays at a tenth."""
    model, _ = problem()
    groups = [{"params": [model.weight], "lr": 0.02}, {"params": [model.bias], "lr": 0.2}]
    optimizer = torch.optim.SGD(groups)
    seen: list[list[float]] = []
    optimizer.register_step_pre_hook(
        lambda o, *_: seen.append([group["lr"] for group in o.param_groups])
    )
    test = sweep(model=model, optimizer=optimizer, iterations=10, end=1e-3)
    assert [b for _, b in seen[:10]] == list(test.lrs)
    assert [a for a, _ in seen] == pytest.approx([0.1 * b for _, b in seen])


def test_accumulated_batches_are_one_step() -> None:
    """Two batches of 8 with ``accumulation=2`` are a batch of 16, to rounding."""
    model, whole = problem()
    halves = [(a, b) for x, y in whole for a, b in zip(x.split(8), y.split(8), strict=True)]
    options: dict[str, Any] = {"model": model, "iterations": 12, "end": 1e-3}
    optimizer = optim.SGD(model.parameters(), 0.1)
    plain = sweep(loader=whole, optimizer=optimizer, **options)
    parts = sweep(loader=halves, optimizer=optimizer, accumulation=2, **options)
    assert parts.losses == pytest.approx(plain.losses, rel=1e-5)


def test_the_package_offers_it() -> None:
    """``downslope.find_lr`` is the function."""
    assert downslope.find_lr is find_lr
