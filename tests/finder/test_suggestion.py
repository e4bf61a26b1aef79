"""What the range test suggests, and what it costs."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest
import torch
from torch import nn

from downslope import find_lr, optim
from downslope.finder._trial import Trial

from .problems import mse, problem, sweep


def test_the_suggestion_trains() -> None:
    """200 steps at the suggestion reach a hundredth of the first loss, with SGD and AdamW."""
    for kind, arguments in ((optim.SGD, {"momentum": 0.9}), (optim.AdamW, {"weight_decay": 0.0})):
        model, loader = problem()
        optimizer = kind(model.parameters(), lr=1.0, **arguments)
        lr = find_lr(model, mse, loader, optimizer, steps=200, progress=False).suggestion
        assert lr is not None
        optimizer.param_groups[0]["lr"] = lr
        losses = []
        for step in range(200):
            inputs, targets = loader[step % len(loader)]
            optimizer.zero_grad()
            loss = mse(model(inputs), targets)
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
        assert losses[-1] < 0.01 * losses[0]


@pytest.mark.parametrize("steps", [10, 300, 1500, 4000])
def test_it_costs_no_more_than_it_may(steps: int) -> None:
    """200 iterations or 15% of the planned run, counted in forward passes of the model."""
    model, loader = problem()
    calls = 0

    def count(*_: Any) -> None:
        nonlocal calls
        calls += 1

    model.register_forward_hook(count)
    test = sweep(model=model, loader=loader, optimizer=optim.AdamW(model.parameters()), steps=steps)
    assert test.cost <= max(200, 0.15 * steps)
    assert calls <= max(200, 0.15 * steps) * 1.1


def test_races_are_judged_by_rows_that_they_do_not_train_on() -> None:
    """A quarter of the batches is never stepped on; of a single batch, a quarter of its rows."""
    for loader, held in (
        (problem()[1], 16),
        ([tuple(map(torch.cat, zip(*problem()[1], strict=True)))], 16),
    ):
        trained: set[float] = set()
        judged: set[float] = set()

        model = nn.Linear(4, 1)

        def watch(_: Any, args: Any, trained: Any = trained, judged: Any = judged) -> None:
            (trained if torch.is_grad_enabled() else judged).update(args[0][:, 0].tolist())

        model.register_forward_pre_hook(watch)
        trial = Trial(model, mse, loader, torch.optim.SGD(model.parameters(), lr=0.1))
        pool = trial.pool(20)
        trial.race(0.01, pool, 20, (20.0,), lambda lr, loss: None)
        assert len(judged) == held
        assert not judged & trained


def test_the_scale_of_the_loss_does_not_matter_to_adamw() -> None:
    """The loss times 30 gives nearly the same suggestion, and a thirtieth of SGD's."""
    for kind, factor in ((optim.AdamW, 1.0), (partial(optim.SGD, momentum=0.9), 30.0)):
        found = []
        for scale in (1.0, 30.0):
            model, loader = problem(256)
            test = sweep(
                model=model,
                loader=loader,
                optimizer=kind(model.parameters(), lr=0.1),
                loss_fn=lambda o, t, scale=scale: scale * mse(o, t),
                steps=300,
            )
            assert test.suggestion is not None
            found.append(test.suggestion)
        assert 0.6 < found[0] / (factor * found[1]) < 1.7


@pytest.mark.parametrize("flat", ["noise", "constant"])
def test_a_hopeless_loss_has_no_clear_answer(flat: str) -> None:
    """Where nothing can be learnt it says so, in place of a number."""
    torch.manual_seed(1)
    x = torch.randn(512, 4)
    y = torch.randn(512, 1) if flat == "noise" else torch.ones(512, 1)
    model = nn.Linear(4, 1)
    with torch.no_grad():  # the best there is already
        model.weight.zero_()
        model.bias.fill_(0.0 if flat == "noise" else 1.0)
    loader = list(zip(x.split(32), y.split(32), strict=True))
    test = sweep(model=model, loader=loader, optimizer=optim.SGD(model.parameters(), 0.1))
    assert (test.suggestion, test.confidence) == (None, "none")
    assert "no clear answer" in test.reason
    assert test.usual == test.fallback
    assert (test.usual is None) == (flat == "constant")  # there is no gradient
