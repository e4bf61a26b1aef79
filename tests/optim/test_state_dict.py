"""State dicts: torch's keys, shapes and dtypes, and a checkpoint of one is resumed by the other."""

from __future__ import annotations

import copy
import io
import pickle
from typing import Any

import pytest
import torch

from .catalogue import TWINNED, Entry, Variant, each, each_implementation, each_variant
from .harness import (
    assert_equal_state,
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

HALF = 3
ROWS = gradients(zoo(torch.float64), 2 * HALF)


def halfway(
    cls: type[torch.optim.Optimizer], *kwargs: Any
) -> tuple[list[torch.Tensor], torch.optim.Optimizer]:
    """Parameters and their optimizer after half of the steps."""
    params = leaves(zoo(torch.float64))
    optimizer = build(cls, params, *kwargs)
    drive(optimizer, ROWS[:HALF])
    return params, optimizer


def finish(
    cls: type[torch.optim.Optimizer], at: list[torch.Tensor], state: dict[str, Any], *kwargs: Any
) -> list[torch.Tensor]:
    """Resume from parameters and a state dict in a fresh optimizer, and take the other half."""
    params = leaves(at)
    optimizer = build(cls, params, *kwargs)
    optimizer.load_state_dict(state)
    drive(optimizer, ROWS[HALF:])
    return params


def _pickled(optimizer: torch.optim.Optimizer) -> Any:
    return pickle.loads(pickle.dumps(optimizer))


@each_variant(TWINNED)
def test_same_groups_as_torch(entry: Entry, variant: Variant) -> None:
    """The parameter groups of the state dict hold torch's keys and values, and no other."""
    ours, theirs = (
        build(cls, leaves(zoo()), variant.kwargs).state_dict()["param_groups"]
        for cls in (entry.ours, entry.torch)
    )
    assert ours == theirs


@each_variant(TWINNED)
@pytest.mark.parametrize("way", ["ours-to-torch", "torch-to-ours"])
def test_the_other_resumes(entry: Entry, variant: Variant, way: str) -> None:
    """A run of torch goes on here as if never stopped; one of ours, in torch, as its own do."""
    theirs, optimizer = halfway(entry.torch, variant.kwargs)
    if way == "torch-to-ours":
        resumed = finish(entry.ours, theirs, snapshot(optimizer), variant.kwargs)
        drive(optimizer, ROWS[HALF:])
        assert_same(resumed, theirs)
    else:
        ours, saved = halfway(entry.ours, variant.kwargs)
        resumed = finish(entry.torch, ours, snapshot(saved), variant.kwargs)
        # Not torch's unbroken run: torch itself changes the kind of some numbers when it loads.
        expected = finish(entry.torch, theirs, snapshot(optimizer), variant.kwargs)
        assert_same(resumed, expected)


@each_implementation(without=("differentiable",))
def test_resuming_changes_no_bit(entry: Entry, flags: dict[str, Any]) -> None:
    """Saved and resumed in our own class, a run ends in the same bits."""
    for variant in entry.variants:
        params, optimizer = halfway(entry.ours, variant.kwargs, flags)
        resumed = finish(entry.ours, params, snapshot(optimizer), variant.kwargs, flags)
        drive(optimizer, ROWS[HALF:])
        assert_same_bits(resumed, params)


@each()
def test_checkpoint_is_plain_data(entry: Entry) -> None:
    """``torch.load(weights_only=True)`` reads the state dict back."""
    for variant in entry.variants:
        _, optimizer = halfway(entry.ours, variant.kwargs)
        file = io.BytesIO()
        torch.save(optimizer.state_dict(), file)
        file.seek(0)
        loaded = torch.load(file, weights_only=True)
        assert_equal_state(loaded, optimizer.state_dict())
        assert loaded["param_groups"] == optimizer.state_dict()["param_groups"]


@each()
@pytest.mark.parametrize("duplicate", [copy.deepcopy, _pickled])
def test_copies_go_on_alone(entry: Entry, duplicate: Any) -> None:
    """A deep copy or a pickle goes on like the original, and without touching it."""
    for variant in entry.variants:
        params, optimizer = halfway(entry.ours, variant.kwargs)
        before = [p.detach().clone() for p in params]
        twin = duplicate(optimizer)
        moved = [p for group in twin.param_groups for p in group["params"]]
        drive(twin, ROWS[HALF:])
        assert_same_bits(detached(params), before)
        drive(optimizer, ROWS[HALF:])
        assert_same_bits(detached(moved), detached(params))


@each()
def test_state_dict_before_the_first_step(entry: Entry) -> None:
    """The state dict of an optimizer that never stepped loads, and stepping then starts afresh."""
    ends = []
    for load in (False, True):
        params = leaves(zoo())
        optimizer = build(entry.ours, params)
        if load:
            optimizer.load_state_dict(build(entry.ours, leaves(zoo())).state_dict())
        drive(optimizer, gradients(zoo(), 3))
        ends.append(params)
    assert_same_bits(*(detached(end) for end in ends))


@each(tuple(e for e in TWINNED if e.name != "SGD"))  # SGD counts no steps
def test_old_checkpoint_with_a_number_for_step(entry: Entry) -> None:
    """Checkpoints of older torch kept ``step`` as a plain number; they still load."""
    params, optimizer = halfway(entry.torch)
    state = snapshot(optimizer)
    for slots in state["state"].values():
        slots["step"] = int(slots["step"])
    resumed = finish(entry.ours, params, state)
    drive(optimizer, ROWS[HALF:])
    assert_same(resumed, params)


@each(TWINNED)
def test_checkpoint_of_another_shape_of_groups(entry: Entry) -> None:
    """A state dict with another number of groups or parameters is refused, as in torch."""
    state = build(entry.torch, leaves(zoo())).state_dict()
    two = [{"params": leaves(zoo()[:2])}, {"params": leaves(zoo()[2:])}]
    for params in (two, leaves(zoo()[1:])):
        with pytest.raises(ValueError, match="loaded state dict"):
            build(entry.ours, params).load_state_dict(state)


@each(TWINNED)
def test_repr_is_torchs(entry: Entry) -> None:
    """``repr`` shows what torch's shows."""
    assert repr(build(entry.ours, leaves(zoo()))) == repr(build(entry.torch, leaves(zoo())))


@each()
def test_hooks_of_the_state_dict_run(entry: Entry) -> None:
    """Hooks around ``state_dict`` and ``load_state_dict`` are called, and may replace the dict."""
    optimizer = build(entry.ours, leaves(zoo()))
    calls: list[str] = []
    optimizer.register_state_dict_pre_hook(lambda o: calls.append("before saving"))
    optimizer.register_state_dict_post_hook(lambda o, d: d | {"note": "kept"})
    optimizer.register_load_state_dict_pre_hook(lambda o, d: calls.append(d["note"]))
    optimizer.register_load_state_dict_post_hook(lambda o: calls.append("after loading"))
    optimizer.load_state_dict(optimizer.state_dict())
    assert calls == ["before saving", "kept", "after loading"]
