"""A step writes to the tensors that are there now, and to no tensor that was there before."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

import downslope.optim
from downslope.engines.cpu import look
from downslope.errors import EngineError

from .catalogue import ANY_SHAPE, BACKWARD, Entry, each, each_implementation
from .harness import (
    assert_same,
    assert_same_bits,
    build,
    detached,
    drive,
    leaves,
    rows_of,
    snapshot,
    start_of,
    tensors,
)

IN_PLACE = ("differentiable",)


@pytest.fixture(autouse=True)
def _frozen() -> Iterator[None]:
    """What was made before a test is not searched for garbage in it: half a million objects.

    For each test anew, as kernels that were compiled meanwhile leave most of them.
    """
    gc.freeze()
    yield
    gc.unfreeze()


def start(entry: Entry) -> tuple[Tensor, ...]:
    """The parameters' first values."""
    return start_of(entry, torch.float64)


def rows(entry: Entry) -> tuple[tuple[Tensor, ...], ...]:
    """Their gradients in six steps."""
    return rows_of(entry, start(entry), 6)


def widest(entry: Entry) -> dict[str, Any]:
    """The arguments of the variant that keeps the most state."""

    def slots(kwargs: dict[str, Any]) -> int:
        p = torch.ones(1, 1, requires_grad=True)
        p.grad = torch.ones(1, 1)
        optimizer = build(entry.ours, [p], kwargs)
        optimizer.step()
        return len(optimizer.state[p])

    return max((dict(v.kwargs) for v in entry.variants), key=slots)


def stepped(entry: Entry, flags: dict[str, Any]) -> tuple[list[Tensor], torch.optim.Optimizer]:
    """Parameters and their optimizer after three steps."""
    params = leaves(start(entry))
    optimizer = build(entry.ours, params, widest(entry), flags)
    drive(optimizer, rows(entry)[:3])
    return params, optimizer


def live(params: list[Tensor], optimizer: torch.optim.Optimizer) -> list[Tensor]:
    """Every tensor that the next step may write to: parameters and state."""
    return [
        *detached(params),
        *(t for p in params for t in optimizer.state[p].values() if isinstance(t, Tensor)),
    ]


@each_implementation(BACKWARD, without=IN_PLACE)
def test_parameter_data_replaced(entry: Entry, flags: dict[str, Any]) -> None:
    """After ``p.data = other`` the step moves the new tensor and leaves the old one alone."""
    params, optimizer = stepped(entry, flags)
    same, reference = stepped(entry, flags)
    old = [p.data for p in params]
    before = [t.clone() for t in old]
    for p in params:
        p.data = p.data.clone()
    drive(optimizer, rows(entry)[3:])
    drive(reference, rows(entry)[3:])
    assert_same_bits(old, before)
    assert_same(detached(params), detached(same))


@each_implementation(BACKWARD, without=IN_PLACE)
def test_parameter_data_of_another_layout(entry: Entry, flags: dict[str, Any]) -> None:
    """After ``p.data`` became contiguous, state and gradients of the old layout still meet it."""
    params, optimizer = stepped(entry, flags)
    same, reference = stepped(entry, flags)
    for p in params:
        p.data = p.data.contiguous().clone()
    drive(optimizer, rows(entry)[3:])
    drive(reference, rows(entry)[3:])
    assert_same(detached(params), detached(same))


@each_implementation(BACKWARD, without=IN_PLACE)
def test_state_tensor_replaced(entry: Entry, flags: dict[str, Any]) -> None:
    """A state tensor that the user put in place of another is read and written, the old one not."""
    params, optimizer = stepped(entry, flags)
    same, reference = stepped(entry, flags)
    old = [t for p in params for t in optimizer.state[p].values()]
    before = [t.clone() for t in old]
    for p in params:
        optimizer.state[p] = {k: v.clone() for k, v in optimizer.state[p].items()}
    drive(optimizer, rows(entry)[3:])
    drive(reference, rows(entry)[3:])
    assert_same_bits(old, before)
    assert_same_bits(live(params, optimizer), live(same, reference))


@each_implementation(BACKWARD, without=IN_PLACE)
def test_state_emptied_starts_afresh(entry: Entry, flags: dict[str, Any]) -> None:
    """After ``optimizer.state.clear()`` the run goes on as a new optimizer would."""
    params, optimizer = stepped(entry, flags)
    fresh = leaves(params)
    optimizer.state.clear()
    drive(optimizer, rows(entry)[3:])
    drive(build(entry.ours, fresh, widest(entry), flags), rows(entry)[3:])
    assert_same_bits(detached(params), detached(fresh))


@each_implementation(BACKWARD, without=IN_PLACE)
def test_state_before_loading_is_left_alone(entry: Entry, flags: dict[str, Any]) -> None:
    """After ``load_state_dict`` the steps write to the loaded state, not to the one before."""
    params, optimizer = stepped(entry, flags)
    old = [t for p in params for t in optimizer.state[p].values()]
    before = [t.clone() for t in old]
    optimizer.load_state_dict(snapshot(optimizer))
    drive(optimizer, rows(entry)[3:])
    assert_same_bits(old, before)


@each(BACKWARD)
def test_loaded_dict_is_left_alone(entry: Entry) -> None:
    """The dict that was loaded does not change with the steps (in torch it does)."""
    _, optimizer = stepped(entry, {})
    loaded = snapshot(optimizer)
    kept = tensors(loaded)
    before = [t.clone() for t in kept]
    optimizer.load_state_dict(loaded)
    drive(optimizer, rows(entry)[3:])
    assert_same_bits(kept, before)


@each_implementation(ANY_SHAPE, without=IN_PLACE)
@pytest.mark.parametrize("kind", ["expanded", "transposed", "strided", "reversed-view"])
def test_gradient_of_any_layout(entry: Entry, flags: dict[str, Any], kind: str) -> None:
    """A gradient that is expanded, transposed or strided counts element by element."""
    g = {
        "expanded": torch.tensor([0.3]).expand(6, 4),
        "transposed": torch.randn(4, 6).t(),
        "strided": torch.randn(12, 8)[::2, ::2],
        "reversed-view": torch.randn(25)[1:].view(6, 4),
    }[kind]
    start = torch.randn(6, 4)
    ends = []
    for gradient in (g, g.clone(memory_format=torch.contiguous_format)):
        p = start.clone().requires_grad_()
        optimizer = build(entry.ours, [p], flags)
        for _ in range(3):
            p.grad = gradient
            optimizer.step()
        ends.append(p.detach())
    assert_same([ends[0]], [ends[1]])


@each_implementation(ANY_SHAPE, without=IN_PLACE)
def test_parameter_with_gaps(entry: Entry, flags: dict[str, Any]) -> None:
    """A parameter that is a view with gaps moves as a dense one, and its neighbours stay.

    ``fused=True`` refuses it; torch's fused kernels silently write into the gaps.
    """
    base = torch.randn(10, 10)
    kept = base.clone()
    view = base[2:7:2, 3:8].requires_grad_()
    alone = view.detach().clone().requires_grad_()
    row = [torch.randn(3, 5)]
    optimizer = build(entry.ours, [view], flags)
    if flags.get("fused"):
        with pytest.raises(EngineError, match="fused"):
            drive(optimizer, [row])
        return
    drive(optimizer, [row] * 3)
    drive(build(entry.ours, [alone], flags), [row] * 3)
    assert_same([view], [alone])
    outside = torch.ones(10, 10, dtype=torch.bool)
    outside[2:7:2, 3:8] = False
    assert torch.equal(base[outside], kept[outside])


@each_implementation(ANY_SHAPE, without=IN_PLACE)
def test_module_halved_before_the_first_step(entry: Entry, flags: dict[str, Any]) -> None:
    """After ``module.half()`` two steps move the half tensors and leave the float ones alone."""
    module = torch.nn.Linear(4, 3)
    # Prodigy's first step by default is less than a half number can tell.
    optimizer = build(entry.ours, module.parameters(), {**entry.optimum, "lr": 0.5}, flags)
    old = [p.data for p in module.parameters()]
    before = [t.clone() for t in old]
    module.half()
    halves = [p.detach().clone() for p in module.parameters()]
    drive(optimizer, [[torch.ones_like(p) for p in module.parameters()]] * 2)  # ADOPT's moves
    assert_same_bits(old, before)
    assert all(p.dtype == torch.float16 for p in module.parameters())
    assert all((p != h).all() for p, h in zip(module.parameters(), halves, strict=True))


@each_implementation(ANY_SHAPE, without=IN_PLACE)
def test_module_moved_to_double_after_steps(entry: Entry, flags: dict[str, Any]) -> None:
    """After ``module.double()`` in the middle of a run, nothing writes to the old float tensors."""
    module = torch.nn.Linear(4, 3)
    ones = [torch.ones_like(p) for p in module.parameters()]
    optimizer = build(entry.ours, module.parameters(), widest(entry), flags)
    drive(optimizer, [ones] * 2)
    old = [p.data for p in module.parameters()]
    before = [t.clone() for t in old]
    module.double()
    with suppress(RuntimeError):  # torch operations, and so torch, refuse state of another dtype
        drive(optimizer, [[g.double() for g in ones]])
    assert_same_bits(old, before)


@each(ANY_SHAPE)
def test_run_goes_on_in_double(entry: Entry) -> None:
    """The default engine goes on after ``module.double()``, with its float32 state."""
    still, moved = torch.nn.Linear(4, 3), torch.nn.Linear(4, 3)
    moved.load_state_dict(still.state_dict())
    ones = [torch.ones_like(p) for p in still.parameters()]
    for module, dtype in ((still, torch.float32), (moved, torch.float64)):
        optimizer = build(entry.ours, module.parameters(), widest(entry))
        drive(optimizer, [ones] * 2)
        module.to(dtype)
        drive(optimizer, [[g.to(dtype) for g in ones]] * 2)
    assert_same((p.float() for p in moved.parameters()), still.parameters())


@each_implementation(ANY_SHAPE, without=IN_PLACE)
def test_backward_through_a_stale_graph_raises(entry: Entry, flags: dict[str, Any]) -> None:
    """A backward pass that needs a parameter's old value fails after a step, as in torch."""
    p = torch.randn(5, requires_grad=True)
    optimizer = build(entry.ours, [p], flags)
    loss = (p * p * p).sum()
    p.grad = torch.ones(5)
    optimizer.step()
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        loss.backward()


@each(ANY_SHAPE)
def test_views_of_a_parameter_see_the_step(entry: Entry) -> None:
    """A view taken before the step, as NumPy or torch, shows the moved values."""
    p = torch.randn(6, 2, requires_grad=True)
    view, array = p.detach()[1:], p.detach().numpy()
    optimizer = build(entry.ours, [p])
    drive(optimizer, [[torch.ones(6, 2)]])
    assert torch.equal(view, p.detach()[1:])
    assert torch.equal(torch.from_numpy(array), p.detach())


@each_implementation(ANY_SHAPE, without=IN_PLACE)
def test_gradients_are_not_kept(entry: Entry, flags: dict[str, Any]) -> None:
    """After ``zero_grad`` nothing keeps a gradient's memory alive."""
    p = torch.randn(5, requires_grad=True)
    optimizer = build(entry.ours, [p], flags)
    for _ in range(2):
        memory = np.ones(5, np.float32)
        p.grad = torch.from_numpy(memory)
        watched = weakref.ref(memory)
        del memory
        optimizer.step()
        optimizer.zero_grad()
        gc.collect()
        assert watched() is None


@each_implementation(ANY_SHAPE, without=IN_PLACE)
def test_replaced_parameters_are_not_kept(entry: Entry, flags: dict[str, Any]) -> None:
    """One step after ``p.data = other`` nothing keeps the old memory alive."""
    memory = np.ones(5, np.float32)
    p = torch.from_numpy(memory).requires_grad_()
    optimizer = build(entry.ours, [p], flags)
    drive(optimizer, [[torch.ones(5)]] * 2)
    watched = weakref.ref(memory)
    del memory
    p.data = torch.zeros(5)
    drive(optimizer, [[torch.ones(5)]])
    gc.collect()
    assert watched() is None


@each_implementation(ANY_SHAPE, without=IN_PLACE)
def test_deleted_optimizers_keep_nothing(entry: Entry, flags: dict[str, Any]) -> None:
    """When optimizer and parameters are gone, so is the memory of parameters and state."""
    p = torch.randn(5, requires_grad=True)
    optimizer = build(entry.ours, [p], widest(entry), flags)
    drive(optimizer, [[torch.ones(5)]] * 2)
    watched = [weakref.ref(t) for t in (p, *optimizer.state[p].values())]
    del p, optimizer
    gc.collect()
    assert not any(w() is not None for w in watched)


@each_implementation(ANY_SHAPE, without=IN_PLACE)
def test_gradient_whose_memory_is_its_negative(entry: Entry, flags: dict[str, Any]) -> None:
    """A gradient kept by torch as "minus what lies there" counts with its value."""
    ends = []
    for lazy in (True, False):
        p = torch.tensor(0.5, requires_grad=True)
        optimizer = build(entry.ours, [p], flags)
        g = torch.tensor(0.25 + 0.75j).conj().imag
        assert g.is_neg()
        for _ in range(3):
            p.grad = g if lazy else g.resolve_neg()
            optimizer.step()
        ends.append(p.detach())
    assert_same([ends[0]], [ends[1]])


@each_implementation(without=IN_PLACE)
def test_gradient_whose_memory_is_its_conjugate(entry: Entry, flags: dict[str, Any]) -> None:
    """A complex gradient kept by torch as "the conjugate of what lies there" counts as it is."""
    start, g = torch.randn(5, dtype=torch.complex64), torch.randn(5, dtype=torch.complex64).conj()
    assert g.is_conj()
    ends = []
    for gradient in (g, g.resolve_conj()):
        p = start.clone().requires_grad_()
        optimizer = build(entry.ours, [p], flags)
        for _ in range(3):
            p.grad = gradient
            optimizer.step()
        ends.append(p.detach())
    assert_same([ends[0]], [ends[1]])


@each_implementation(ANY_SHAPE, without=IN_PLACE)
def test_swapped_tensors(entry: Entry, flags: dict[str, Any]) -> None:
    """After ``torch.utils.swap_tensors`` the step moves what the parameter is now, nothing else."""
    p = torch.nn.Parameter(torch.ones(6))
    optimizer = build(entry.ours, [p], flags)
    drive(optimizer, [[torch.ones(6)]])
    p.grad = None
    other = torch.nn.Parameter(torch.full((6,), 2.0))
    torch.utils.swap_tensors(p, other)
    before = other.detach().clone()
    drive(optimizer, [[torch.ones(6)]])
    assert (p != 2.0).all()
    assert_same_bits([other], [before])


def test_torch_of_another_layout(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where Python's tensors hold C++'s elsewhere, the compiled engine says so and stops."""
    p = torch.nn.Parameter(torch.ones(3))
    p.grad = torch.ones(3)
    look.functions.cache_clear()
    monkeypatch.setattr(look, "HEADER", look.HEADER + 8)
    try:
        with pytest.raises(EngineError, match=r"Install torch 2\.13, or give foreach=True"):
            downslope.optim.SGD([p]).step()
    finally:
        look.functions.cache_clear()
