"""A step uses what the groups hold now, whichever way it came there."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from typing import Any

import pytest
import torch

import downslope.optim

Change = Callable[[Any], object]

CHANGES: dict[str, Change] = {
    "item": lambda o: o.param_groups[0].__setitem__("lr", 1.0),
    "update": lambda o: o.param_groups[0].update(lr=1.0),
    "or": lambda o: o.param_groups[0].__ior__({"lr": 1.0}),
    "deleted": lambda o: (o.param_groups[0].pop("lr"), o.param_groups[0].setdefault("lr", 1.0)),
    "another dict": lambda o: o.param_groups.__setitem__(0, {**o.param_groups[0], "lr": 1.0}),
    "another list": lambda o: setattr(
        o, "param_groups", [{**g, "lr": 1.0} for g in o.param_groups]
    ),
    "loaded": lambda o: o.load_state_dict(changed_state(o)),
}


def changed_state(optimizer: torch.optim.Optimizer) -> dict[str, Any]:
    state = copy.deepcopy(optimizer.state_dict())
    state["param_groups"][0]["lr"] = 1.0
    return state


def stepped() -> tuple[torch.nn.Parameter, torch.optim.Optimizer]:
    """A parameter of ones whose gradient is 1, after two steps of lr 0.5: at 0."""
    p = torch.nn.Parameter(torch.ones(3))
    p.grad = torch.ones(3)
    optimizer = downslope.optim.SGD([p], lr=0.5)
    optimizer.step()
    optimizer.step()
    return p, optimizer


@pytest.mark.parametrize("name", CHANGES)
def test_new_lr_counts(name: str) -> None:
    """The next step has the new learning rate, and so has the one after it."""
    p, optimizer = stepped()
    CHANGES[name](optimizer)
    for end in (-1.0, -2.0):
        optimizer.step()
        assert torch.equal(p.detach(), torch.full((3,), end))


@pytest.mark.parametrize("name", ["another dict", "another list"])
def test_plain_dict_stays_watched(name: str) -> None:
    """A plain dict in a group's place is read at every step."""
    p, optimizer = stepped()
    CHANGES[name](optimizer)
    optimizer.step()
    optimizer.param_groups[0]["lr"] = 0.25
    optimizer.step()
    assert torch.equal(p.detach(), torch.full((3,), -1.25))


def test_element_of_a_list_counts() -> None:
    """Decay rates given as a list may be changed in place."""
    ends = []
    for betas in ([0.9, 0.99], [0.5, 0.99]):
        p = torch.nn.Parameter(torch.ones(3))
        optimizer = downslope.optim.Adam([p], lr=0.1, betas=betas)
        for step in range(4):
            p.grad = torch.full((3,), float(step))
            if step == 0:
                optimizer.step()
                p.data.fill_(1.0)
                optimizer.state.clear()
                betas[0] = 0.5
            else:
                optimizer.step()
        ends.append(p.detach())
    assert torch.equal(*ends)


def test_parameter_moved_between_groups() -> None:
    """A parameter that is moved to another group's list has that group's learning rate."""
    params = [torch.nn.Parameter(torch.ones(3)) for _ in range(2)]
    optimizer = downslope.optim.SGD(
        [{"params": params, "lr": 1.0}, {"params": [torch.nn.Parameter(torch.ones(3))], "lr": 0.5}]
    )
    for group in optimizer.param_groups:
        for p in group["params"]:
            p.grad = torch.ones(3)
    optimizer.step()
    moved = optimizer.param_groups[0]["params"].pop()
    optimizer.param_groups[1]["params"].insert(0, moved)
    optimizer.step()
    assert torch.equal(moved.detach(), torch.full((3,), -0.5))


def test_copies_are_dicts() -> None:
    """Pickles, copies and state dicts hold plain dicts, readable without this package."""
    _, optimizer = stepped()
    group = optimizer.param_groups[0]
    assert type(copy.copy(group)) is dict
    assert type(copy.deepcopy(group)) is dict
    assert type(pickle.loads(pickle.dumps(group))) is dict
    assert type(optimizer.state_dict()["param_groups"][0]) is dict
