"""State dicts: torch's keys, shapes and dtypes, and a checkpoint of one is resumed by the other."""

from __future__ import annotations

import copy
import io
import pickle
from typing import Any

import pytest
import torch

from .catalogue import DRIVEN, TWINS, Entry, Variant, each, each_implementation, each_variant
from .harness import (
    assert_equal_state,
    assert_same,
    assert_same_bits,
    build,
    detached,
    drive,
    leaves,
    rows_of,
    snapshot,
    start_of,
)

HALF = 3


def rows(entry: Entry, half: int) -> tuple[tuple[torch.Tensor, ...], ...]:
    """The gradients of the first half of the steps (0) or of the second (1)."""
    every = rows_of(entry, start_of(entry, torch.float64), 2 * HALF)
    return every[half * HALF : (half + 1) * HALF]


def halfway(
    entry: Entry, cls: type[torch.optim.Optimizer], *kwargs: Any
) -> tuple[list[torch.Tensor], torch.optim.Optimizer]:
    """Parameters and their optimizer after half of the steps."""
    params = leaves(start_of(entry, torch.float64))
    optimizer = build(cls, params, *kwargs)
    drive(optimizer, rows(entry, 0))
    return params, optimizer


def finish(
    entry: Entry,
    cls: type[torch.optim.Optimizer],
    at: list[torch.Tensor],
    state: dict[str, Any],
    *kwargs: Any,
) -> list[torch.Tensor]:
    """Resume from parameters and a state dict in a fresh optimizer, and take the other half."""
    params = leaves(at)
    optimizer = build(cls, params, *kwargs)
    optimizer.load_state_dict(state)
    drive(optimizer, rows(entry, 1))
    return params


def _pickled(optimizer: torch.optim.Optimizer) -> Any:
    return pickle.loads(pickle.dumps(optimizer))


@each_variant(TWINS)
def test_same_groups_as_torch(entry: Entry, variant: Variant) -> None:
    """The parameter groups of the state dict hold torch's keys and values, and no other."""
    ours, theirs = (
        build(cls, leaves(start_of(entry)), variant.kwargs).state_dict()["param_groups"]
        for cls in (entry.ours, entry.torch)
    )
    assert ours == theirs


@each_variant(TWINS)
@pytest.mark.parametrize("way", ["ours-to-torch", "torch-to-ours"])
def test_the_other_resumes(entry: Entry, variant: Variant, way: str) -> None:
    """A run of torch goes on here as if never stopped; one of ours, in torch, as its own do."""
    theirs, optimizer = halfway(entry, entry.torch, variant.kwargs)
    if way == "torch-to-ours":
        resumed = finish(entry, entry.ours, theirs, snapshot(optimizer), variant.kwargs)
        drive(optimizer, rows(entry, 1))
        assert_same(resumed, theirs, entry.slack)
    else:
        ours, saved = halfway(entry, entry.ours, variant.kwargs)
        resumed = finish(entry, entry.torch, ours, snapshot(saved), variant.kwargs)
        # Not torch's unbroken run: torch itself changes the kind of some numbers when it loads.
        expected = finish(entry, entry.torch, theirs, snapshot(optimizer), variant.kwargs)
        assert_same(resumed, expected, entry.slack)


@each_implementation(DRIVEN, without=("differentiable",))
def test_resuming_changes_no_bit(entry: Entry, flags: dict[str, Any]) -> None:
    """Saved and resumed in our own class, a run ends in the same bits."""
    for variant in entry.variants:
        params, optimizer = halfway(entry, entry.ours, variant.kwargs, flags)
        resumed = finish(entry, entry.ours, params, snapshot(optimizer), variant.kwargs, flags)
        drive(optimizer, rows(entry, 1))
        assert_same_bits(resumed, params)


@each(DRIVEN)
def test_checkpoint_is_plain_data(entry: Entry) -> None:
    """``torch.load(weights_only=True)`` reads the state dict back."""
    for variant in entry.variants:
        _, optimizer = halfway(entry, entry.ours, variant.kwargs)
        file = io.BytesIO()
        torch.save(optimizer.state_dict(), file)
        file.seek(0)
        loaded = torch.load(file, weights_only=True)
        assert_equal_state(loaded, optimizer.state_dict())
        assert loaded["param_groups"] == optimizer.state_dict()["param_groups"]


@each(DRIVEN)
@pytest.mark.parametrize("duplicate", [copy.deepcopy, _pickled])
def test_copies_go_on_alone(entry: Entry, duplicate: Any) -> None:
    """A deep copy or a pickle goes on like the original, and without touching it."""
    for variant in entry.variants:
        params, optimizer = halfway(entry, entry.ours, variant.kwargs)
        before = [p.detach().clone() for p in params]
        twin = duplicate(optimizer)
        moved = [p for group in twin.param_groups for p in group["params"]]
        drive(twin, rows(entry, 1))
        assert_same_bits(detached(params), before)
        drive(optimizer, rows(entry, 1))
        assert_same_bits(detached(moved), detached(params))


@each(DRIVEN)
def test_state_dict_before_the_first_step(entry: Entry) -> None:
    """The state dict of an optimizer that never stepped loads, and stepping then starts afresh."""
    ends = []
    for load in (False, True):
        params = leaves(start_of(entry))
        optimizer = build(entry.ours, params)
        if load:
            optimizer.load_state_dict(build(entry.ours, leaves(start_of(entry))).state_dict())
        drive(optimizer, rows_of(entry, start_of(entry), 3))
        ends.append(params)
    assert_same_bits(*(detached(end) for end in ends))


@each(tuple(e for e in TWINS if e.ours.rule.counts_steps))
def test_old_checkpoint_with_a_number_for_step(entry: Entry) -> None:
    """Checkpoints of older torch kept ``step`` as a plain number; they still load."""
    params, optimizer = halfway(entry, entry.torch)
    state = snapshot(optimizer)
    for slots in state["state"].values():
        slots["step"] = int(slots["step"])
    resumed = finish(entry, entry.ours, params, state)
    drive(optimizer, rows(entry, 1))
    assert_same(resumed, params)


@each(TWINS)
def test_checkpoint_of_another_shape_of_groups(entry: Entry) -> None:
    """A state dict with another number of groups or parameters is refused, as in torch."""
    state = build(entry.torch, leaves(start_of(entry))).state_dict()
    two = [{"params": leaves(start_of(entry)[:2])}, {"params": leaves(start_of(entry)[2:])}]
    for params in (two, leaves(start_of(entry)[1:])):
        with pytest.raises(ValueError, match="loaded state dict"):
            build(entry.ours, params).load_state_dict(state)


@each(TWINS)
def test_repr_is_torchs(entry: Entry) -> None:
    """``repr`` shows what torch's shows."""
    assert repr(build(entry.ours, leaves(start_of(entry)))) == repr(
        build(entry.torch, leaves(start_of(entry)))
    )


@each(DRIVEN)
def test_hooks_of_the_state_dict_run(entry: Entry) -> None:
    """Hooks around ``state_dict`` and ``load_state_dict`` are called, and may replace the dict."""
    optimizer = build(entry.ours, leaves(start_of(entry)))
    calls: list[str] = []
    optimizer.register_state_dict_pre_hook(lambda o: calls.append("before saving"))
    optimizer.register_state_dict_post_hook(lambda o, d: d | {"note": "kept"})
    optimizer.register_load_state_dict_pre_hook(lambda o, d: calls.append(d["note"]))
    optimizer.register_load_state_dict_post_hook(lambda o: calls.append("after loading"))
    optimizer.load_state_dict(optimizer.state_dict())
    assert calls == ["before saving", "kept", "after loading"]
