"""Weights to train and weights to evaluate: ``train()``, ``eval()``, and what they are worth."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from downslope import optim
from downslope.errors import EngineError

from .catalogue import CATALOGUE, Entry, Variant, each, each_implementation, each_variant
from .harness import (
    assert_same,
    assert_same_bits,
    build,
    detached,
    drive,
    gradients,
    leaves,
    snapshot,
    zoo,
)

FREE = tuple(e for e in CATALOGUE if issubclass(e.ours, optim.ScheduleFree))
START = zoo(torch.float64)
ROWS = gradients(START, 10)
HALF = 5
KWARGS: dict[str, Any] = {"lr": 0.02, "warmup_steps": 3}


def averages(entry: Entry, kwargs: dict[str, Any]) -> list[Tensor]:
    """The oracle's averages, which it keeps beside what it trains."""
    found = []
    for i, start in enumerate(START):
        state: dict[str, Any] = {}
        p = start.numpy()
        for row in ROWS:
            g = row[i].numpy()
            p = entry.oracle(p, -g if kwargs.get("maximize") else g, state, **kwargs)
        found.append(torch.as_tensor(state["_x"]))
    return found


def stepped(entry: Entry, steps: int = HALF) -> tuple[list[Tensor], Any]:
    """Parameters and their optimizer after some steps."""
    params = leaves(START)
    optimizer = build(entry.ours, params, KWARGS)
    drive(optimizer, ROWS[:steps])
    return params, optimizer


@each_variant(FREE)
def test_evaluation_is_at_the_average(entry: Entry, variant: Variant) -> None:
    """After ``eval()`` the parameters are the oracle's average, to 1e-12."""
    params = leaves(START)
    optimizer: Any = build(entry.ours, params, variant.kwargs)
    drive(optimizer, ROWS)
    optimizer.eval()
    for p, x in zip(params, averages(entry, dict(variant.kwargs)), strict=True):
        torch.testing.assert_close(p.detach(), x, rtol=1e-12, atol=1e-12)


@each_implementation(FREE, without=("differentiable",))
def test_evaluating_in_between_changes_nothing(entry: Entry, flags: dict[str, Any]) -> None:
    """A run that was evaluated after every step ends where one does that never was."""
    ends = []
    for evaluated in (False, True):
        params = leaves(START)
        optimizer: Any = build(entry.ours, params, KWARGS, flags)
        for row in ROWS:
            drive(optimizer, [row])
            if evaluated:
                optimizer.eval()
                optimizer.eval()  # the second changes nothing
                optimizer.train()
        ends.append(detached(params))
    assert_same(*ends)


@each(FREE)
def test_a_step_while_evaluating_is_refused(entry: Entry) -> None:
    """It raises, says what to call, and changes nothing; after ``train()`` it is taken."""
    params, optimizer = stepped(entry)
    optimizer.eval()
    before = snapshot(optimizer), [p.detach().clone() for p in params]
    with pytest.raises(EngineError, match=r"Call optimizer\.train\(\)"):
        drive(optimizer, ROWS[HALF : HALF + 1])
    assert_same_bits(detached(params), before[1])
    assert str(snapshot(optimizer)) == str(before[0])
    optimizer.train()
    drive(optimizer, ROWS[HALF:])


@each(FREE)
@pytest.mark.parametrize("mode", ["train", "eval"])
def test_the_state_dict_knows_the_mode(entry: Entry, mode: str) -> None:
    """Saved in either mode, a run goes on to the same bits in a new optimizer."""
    params, optimizer = stepped(entry)
    getattr(optimizer, mode)()
    resumed = leaves(params)
    other: Any = build(entry.ours, resumed, KWARGS)
    other.load_state_dict(snapshot(optimizer))
    assert [g["train_mode"] for g in other.param_groups] == [mode == "train"]
    for each_one in (optimizer, other):
        each_one.train()
        drive(each_one, ROWS[HALF:])
    assert_same_bits(detached(resumed), detached(params))


@each(FREE)
def test_what_was_not_stepped_stays(entry: Entry) -> None:
    """A parameter without state has one value, whatever the mode."""
    params = leaves(START)
    optimizer: Any = build(entry.ours, params, KWARGS)
    optimizer.eval()
    optimizer.train()
    absent = 4
    drive(optimizer, [(*r[:absent], None, *r[absent + 1 :]) for r in ROWS[:2]])
    optimizer.eval()
    assert_same_bits([params[absent].detach()], [START[absent]])


@each(FREE)
def test_a_falling_lr_does_not_lower_the_weights_of_the_average(entry: Entry) -> None:
    """A step counts by the largest lr so far, as the oracle has it with each step's own lr."""
    lrs = [0.08 / (1 + k) for k in range(len(ROWS))]
    params = leaves(START)
    optimizer = build(entry.ours, params)

    def fall(k: int) -> None:
        optimizer.param_groups[0]["lr"] = lrs[k]

    drive(optimizer, ROWS, before=fall)
    for i, (start, end) in enumerate(zip(START, params, strict=True)):
        p, state = start.numpy(), {}
        for lr, row in zip(lrs, ROWS, strict=True):
            p = entry.oracle(p, row[i].numpy(), state, lr=lr)
        torch.testing.assert_close(end.detach(), torch.as_tensor(p), rtol=1e-12, atol=1e-12)


def test_the_oracles_follow_the_published_recursion() -> None:
    """With equal weights the average is the mean of all z after the first."""
    state: dict[str, Any] = {}
    p, zs = torch.ones(3).double().numpy(), []
    entry = next(e for e in FREE if e.name == "SGDScheduleFree")
    for k in range(4):
        p = entry.oracle(p, p + k, state, lr=0.1)
        zs.append(state["z"])
    torch.testing.assert_close(state["_x"], sum(zs) / 4)
