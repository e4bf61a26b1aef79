"""``cautious=True`` on torch's classes, whose other tests compare them with torch.

The package's other optimizers have it among their variants.
"""

from __future__ import annotations

from typing import Any

import pytest
import torch

from downslope import optim
from downslope.errors import InputTypeError

from .catalogue import TWINNED, Entry, each
from .harness import (
    DTYPES,
    assert_same,
    assert_same_bits,
    build,
    detached,
    drive,
    follow_oracle,
    gradients,
    leaves,
    snapshot,
    zoo,
)

CAUTIOUS = tuple(e for e in TWINNED if "cautious" in e.ours.rule.switches)

#: What beside ``cautious`` is given: with it the update has momentum, and points both ways.
SETTINGS: dict[str, tuple[dict[str, Any], ...]] = {
    "SGD": ({"momentum": 0.9}, {"momentum": 0.9, "nesterov": True, "weight_decay": 0.3}),
    "RMSprop": ({"momentum": 0.9, "centered": True, "weight_decay": 0.3},),
    "Adam": ({"amsgrad": True, "weight_decay": 0.3}, {"decoupled_weight_decay": True}),
    "AdamW": ({}, {"weight_decay": 0.3, "maximize": True}),
    "NAdam": ({"weight_decay": 0.3}, {"weight_decay": 0.3, "decoupled_weight_decay": True}),
    # 0.8: the average is long enough after a few steps, so both branches are taken.
    "RAdam": ({"betas": (0.8, 0.8), "weight_decay": 0.3},),
    "Adamax": ({"weight_decay": 0.3},),
}

_ROWS = [
    pytest.param(e, {"lr": 0.02, "cautious": True, **kwargs}, flags, id=f"{e.name}-{k}-{name}")
    for e in CAUTIOUS
    for k, kwargs in enumerate(SETTINGS[e.name])
    for name, flags in e.implementations().items()
]


def test_all_momentum_is_covered() -> None:
    """Each of torch's classes whose formula has momentum takes the flag, and has settings here."""
    assert set(SETTINGS) == {e.name for e in CAUTIOUS}


@pytest.mark.parametrize("dtype", DTYPES, ids=["float32", "float64"])
@pytest.mark.parametrize(("entry", "kwargs", "flags"), _ROWS)
def test_follows_the_oracle(
    entry: Entry, kwargs: dict[str, Any], flags: dict[str, Any], dtype: torch.dtype
) -> None:
    """Whichever implementation is asked for, the parameters go where the oracle goes."""
    params = leaves(zoo(dtype), flags)
    drive(build(entry.ours, params, kwargs, flags), gradients(zoo(dtype)))
    expected, _ = follow_oracle(entry, zoo(), gradients(zoo()), kwargs)
    assert_same(params, [e.to(dtype) for e in expected])


@each(CAUTIOUS)
def test_what_disagrees_stays_and_the_rest_goes_further(entry: Entry) -> None:
    """The element whose gradient turned stays; the other three go 4/3 of their way."""
    kwargs = {"lr": 0.1, **SETTINGS[entry.name][0], "weight_decay": 0, "maximize": False}
    first, second = torch.ones(4), torch.tensor([1.0, 1.0, 1.0, -0.01])
    ends = []
    for cautious in (False, True):
        params = [torch.zeros(4).requires_grad_()]
        optimizer = build(entry.ours, params, kwargs)
        drive(optimizer, [[first]])
        begun = params[0].detach().clone()
        optimizer.param_groups[0]["cautious"] = cautious
        drive(optimizer, [[second]])
        ends.append(params[0].detach() - begun)
    plain, careful = ends
    assert careful[3] == 0
    torch.testing.assert_close(careful[:3], plain[:3] * 4 / 3)


@each(tuple(e for e in CAUTIOUS if e.name in {"SGD", "RMSprop"}))
def test_without_momentum_nothing_disagrees(entry: Entry) -> None:
    """A step along the gradient is taken as it is."""
    ends = []
    for cautious in (False, True):
        params = leaves(zoo())
        drive(build(entry.ours, params, {"cautious": cautious}), gradients(zoo(), 3))
        ends.append(detached(params))
    assert_same_bits(*ends)


@each(CAUTIOUS)
def test_is_in_the_groups_only_where_it_is_given(entry: Entry) -> None:
    """The groups have torch's keys and no other, until one of them is cautious."""
    plain = build(entry.ours, leaves(zoo()), {"cautious": False})
    assert plain.param_groups[0].keys() == build(entry.torch, leaves(zoo())).param_groups[0].keys()
    first, *rest = leaves(zoo())
    mixed = build(entry.ours, [{"params": [first], "cautious": True}, {"params": rest}])
    assert [group["cautious"] for group in mixed.param_groups] == [True, False]


@each(CAUTIOUS)
def test_a_checkpoint_of_torch_leaves_it_on(entry: Entry) -> None:
    """After a checkpoint without the flag was loaded, the steps are as cautious as before."""
    kwargs = {k: v for k, v in SETTINGS[entry.name][0].items() if k != "cautious"}
    theirs = leaves(zoo())
    twin = build(entry.torch, theirs, kwargs)
    drive(twin, gradients(zoo(), 3))
    ends = []
    for load in (snapshot(twin), snapshot(twin) | {"param_groups": _with_flag(snapshot(twin))}):
        params = leaves(theirs)
        ours = build(entry.ours, params, kwargs, {"cautious": True})
        ours.load_state_dict(load)
        drive(ours, gradients(zoo(), 3))
        ends.append(detached(params))
    assert_same_bits(*ends)


def _with_flag(saved: dict[str, Any]) -> list[dict[str, Any]]:
    return [{**group, "cautious": True} for group in saved["param_groups"]]


@pytest.mark.parametrize("cls", [optim.Adagrad, optim.Adadelta, optim.ASGD, optim.Rprop])
def test_is_refused_where_there_is_no_momentum(cls: Any) -> None:
    """A class without momentum has no such argument."""
    with pytest.raises(InputTypeError, match="unexpected keyword argument 'cautious'"):
        cls([torch.zeros(1, requires_grad=True)], cautious=True)
