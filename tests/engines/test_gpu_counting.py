"""Steps that the device counts: none is waited for, and a captured graph carries its tables.

As ``test_gpu.py``, by Triton's interpreter on CPU tensors, or on a GPU.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

import pytest
import torch
from torch import Tensor

from downslope.engines.gpu import bucket as gpu_bucket
from downslope.errors import EngineError
from downslope.optim import SGD, AdamW, NAdam, Optimizer
from downslope.schedules import linear

from ..optim.harness import (
    assert_equal_state,
    detached,
    gradients,
    snapshot,
    tensors,
)
from .on_device import DEVICE, assert_same, assert_same_bits, drive, leaves, moved, vectors
from .rules import Lamb
from .test_totals import Travelled

pytestmark = pytest.mark.usefixtures("on_triton")


@pytest.mark.parametrize(("cls", "flags"), [(NAdam, {}), (AdamW, {"fused": True})])
def test_counts_are_saved_and_go_on(cls: type[Optimizer], flags: dict[str, Any]) -> None:
    """State that is one number a tensor goes on from what was loaded."""
    start = vectors()
    rows = gradients(start, 4)
    whole, first = leaves(start), leaves(start)
    optimizer, half = cls(whole, **flags), cls(first, **flags)
    drive(optimizer, rows)
    drive(half, rows[:2])
    second = leaves(first)
    resumed = cls(second, **flags)
    resumed.load_state_dict(half.state_dict())
    drive(resumed, rows[2:])
    assert_same_bits(detached(second), detached(whole))
    assert_equal_state(snapshot(resumed), snapshot(optimizer))


@contextmanager
def nothing_is_read() -> Iterator[None]:
    """No tensor's number may become Python's: with a GPU, that waits for it."""

    def refuse(*args: object) -> None:
        raise AssertionError("the host read a tensor")

    with pytest.MonkeyPatch.context() as patch:
        for name in ("__bool__", "__float__", "__int__", "cpu", "item", "tolist"):
            patch.setattr(Tensor, name, refuse)
        yield


SCALE = 2.0**10  # a power of two: scaling and unscaling then round nothing
FUSED: tuple[tuple[type[Optimizer], dict[str, Any]], ...] = (
    (AdamW, {}),
    (SGD, {"momentum": 0.9, "dampening": 0.5}),  # its first step is another
    (AdamW, {"clip_norm": 1.0, "clip_agc": 0.1}),
    (Lamb, {}),
    (Travelled, {}),  # a slot that is one number
)


@pytest.mark.parametrize(("cls", "kwargs"), FUSED)
def test_a_scaler_is_not_waited_for(cls: type[Optimizer], kwargs: dict[str, Any]) -> None:
    """Of a GradScaler's scale and verdict the device alone makes plain steps, or leaves them out.

    A step that is left out changes no parameter and no state, and does not count.
    """
    start = vectors()
    rows = gradients(start, 4)
    plain, scaled = leaves(start), leaves(start)
    drive(cls(plain, fused=True, **kwargs), rows)
    optimizer = cls(scaled, fused=True, **kwargs)
    infinite = [torch.full_like(g, torch.inf) for g in rows[0]]
    for number, row in enumerate([infinite, *rows[:2], infinite, *rows[2:]]):
        optimizer.grad_scale = torch.tensor([SCALE], device=DEVICE)
        optimizer.found_inf = torch.tensor([float(row is infinite)], device=DEVICE)
        for p, g in zip(scaled, moved(row), strict=True):
            p.grad = g * SCALE
        before = [t.clone() for t in (*detached(scaled), *tensors(snapshot(optimizer)))]
        with nothing_is_read() if number else nullcontext():  # the first step makes tables
            optimizer.step()
        if row is infinite and number:
            after = [*detached(scaled), *tensors(snapshot(optimizer))]
            assert_same_bits(after, before)
    assert_same_bits(detached(scaled), detached(plain))


def test_a_schedule_reads_the_verdict() -> None:
    """A schedule does not go on at a step that was left out."""
    (p,) = leaves([torch.ones(3)])
    optimizer = AdamW([p], lr=linear(4), fused=True)
    for found in (0.0, 1.0, 1.0, 0.0):
        p.grad = torch.ones_like(p)
        optimizer.found_inf = torch.tensor([found], device=DEVICE)
        optimizer.step()
    assert optimizer.param_groups[0]["schedule_step"] == 2
    assert optimizer.state[p]["step"] == 2


@pytest.mark.parametrize("cls", [AdamW, NAdam])
def test_capturable_reads_nothing(cls: type[Optimizer]) -> None:
    """With ``capturable=True``, a tensor of a learning rate is the device's, changes included."""
    start = vectors()
    rows = gradients(start, 4)
    plain, captured = leaves(start), leaves(start)
    lr = torch.tensor(0.1, device=DEVICE)
    optimizer, other = cls(captured, lr=lr, capturable=True), cls(plain, lr=0.1)
    for step, row in enumerate(rows):
        for p, q, g in zip(captured, plain, moved(row), strict=True):
            p.grad, q.grad = g, g
        with nothing_is_read() if step else nullcontext():
            optimizer.step()
            lr /= 2
        other.step()
        other.param_groups[0]["lr"] = float(lr)
    assert_same(captured, plain)


@pytest.fixture
def capturing(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """From now on, it looks as if a graph were being captured."""
    return lambda: monkeypatch.setattr(gpu_bucket, "_capturing", lambda device: True)


@pytest.mark.parametrize("cls", [AdamW, NAdam, Lamb])
def test_a_captured_step_carries_its_tables(
    cls: type[Optimizer], capturing: Callable[[], None]
) -> None:
    """A captured step reads nothing that a later step overwrites, and keeps alive what it reads."""
    start = vectors()
    rows = gradients(start, 3)
    plain, captured = leaves(start), leaves(start)
    drive(cls(plain, capturable=True), rows)
    optimizer = cls(captured, capturable=True)
    drive(optimizer, rows[:2])
    words = optimizer._buckets.placed[0][1]._words
    sent = words._twin.clone()
    capturing()
    drive(optimizer, rows[2:])
    assert torch.equal(words._twin, sent)
    assert_same_bits(detached(captured), detached(plain))


def test_a_captured_step_must_be_capturable(capturing: Callable[[], None]) -> None:
    """A step that counts on the host cannot be part of a graph, and says what to ask for."""
    (p,) = leaves([torch.ones(3)])
    optimizer = AdamW([p])
    drive(optimizer, [[torch.ones(3)]])
    capturing()
    with pytest.raises(EngineError, match="capturable=True"):
        drive(optimizer, [[torch.ones(3)]])


def test_a_first_step_cannot_be_captured(capturing: Callable[[], None]) -> None:
    """Kernels and tables cannot be made during a capture, and the error says what to do."""
    (p,) = leaves([torch.ones(3)])
    capturing()
    with pytest.raises(EngineError, match="Take a step first"):
        drive(AdamW([p], capturable=True), [[torch.ones(3)]])
