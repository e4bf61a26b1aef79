"""A state that another optimizer saved is refused before anything is changed."""

from __future__ import annotations

import copy

import pytest
import torch

from downslope.errors import InputError

from .catalogue import CATALOGUE, DRIVEN, Entry, each
from .harness import build, drive, leaves, rows_of, snapshot, start_of, zoo


def kept(entry: Entry) -> frozenset[str]:
    """The state keys of an optimizer that keeps all it can."""
    rule = entry.ours.rule
    return frozenset(s.name for s in rule.slots) | ({"step"} if rule.counts_steps else set())


@each(tuple(e for e in CATALOGUE if e.name in {"SGD", "RMSprop", "Adagrad", "AdamW", "NAdam"}))
def test_a_state_of_another_optimizer_is_refused(entry: Entry) -> None:
    """Every optimizer whose state has keys that this one does not know is named as a stranger."""
    for other in DRIVEN:
        kwargs = {"momentum": 0.9} if other.name == "SGD" else {}
        theirs = build(other.ours, leaves(start_of(other)), kwargs)
        drive(theirs, rows_of(other, start_of(other), 1))
        saved = snapshot(theirs)
        keys = {str(k) for state in saved["state"].values() for k in state}
        if keys <= kept(entry):
            continue
        ours = build(entry.ours, leaves(zoo()))
        before = copy.deepcopy(ours.state_dict())
        with pytest.raises(InputError, match="saved by another optimizer"):
            ours.load_state_dict(saved)
        assert str(ours.state_dict()) == str(before)


def test_a_parameter_cut_short_in_place_is_stepped_as_it_is() -> None:
    """After ``p.data = p.data[:n]`` only the n elements change, whatever lies behind them."""
    whole = torch.arange(1000.0)
    p = torch.nn.Parameter(whole)
    optimizer = build(CATALOGUE[0].ours, [p], {"lr": 0.5})
    p.grad = torch.ones(1000)
    optimizer.step()
    tail = whole[500:].clone()
    p.grad = None
    p.data = p.data[:500]
    p.grad = torch.ones(500)
    optimizer.step()
    assert torch.equal(whole[500:], tail)
    assert torch.equal(p.data, torch.arange(500.0) - 1.0)
