"""What only a CUDA device can show: graphs, waiting, launches, tensors beyond 32 bits.

Run with ``DOWNSLOPE_GPU=1``, or by ``make bench-gpu``.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch
from benchmarks.device import launches
from torch import Tensor

from downslope.optim import SGD, AdamW, NAdam, Optimizer

from ..optim.harness import detached, gradients, snapshot, tensors
from .on_device import DEVICE, assert_same, assert_same_bits, drive, leaves, moved, vectors
from .rules import Lamb
from .test_gpu_counting import FUSED

pytestmark = pytest.mark.skipif(DEVICE.type == "cpu", reason="needs a CUDA device: DOWNSLOPE_GPU=1")


@contextmanager
def nobody_waits() -> Iterator[None]:
    """Whatever waits for the device raises."""
    torch.cuda.synchronize()
    torch.cuda.set_sync_debug_mode("error")
    try:
        yield
    finally:
        torch.cuda.set_sync_debug_mode("default")


CAPTURED: tuple[tuple[type[Optimizer], dict[str, Any]], ...] = (
    (AdamW, {}),
    (NAdam, {}),
    (Lamb, {}),
    (AdamW, {"clip_norm": 1.0}),
    (SGD, {"momentum": 0.9, "clip_agc": 0.1}),
    (AdamW, {"storage": "int8"}),
)


@pytest.mark.parametrize(("cls", "kwargs"), CAPTURED)
def test_a_graph_replays_the_step(cls: type[Optimizer], kwargs: dict[str, Any]) -> None:
    """A step captured in a CUDA graph and replayed goes where steps without one go."""
    start = vectors()
    rows = gradients(start, 6)
    plain, captured = leaves(start), leaves(start)
    drive(cls(plain, capturable=True, **kwargs), rows)
    optimizer = cls(captured, capturable=True, **kwargs)
    static = moved(rows[0])
    for p, g in zip(captured, static, strict=True):
        p.grad = g

    def put(row: tuple[Tensor, ...]) -> None:
        for g, new in zip(static, row, strict=True):
            g.copy_(new)

    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        for row in rows[:2]:
            put(row)
            optimizer.step()
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    put(rows[2])
    with torch.cuda.graph(graph):
        optimizer.step()
    for row in rows[2:]:
        put(row)
        graph.replay()
    assert_same_bits(detached(captured), detached(plain))


def test_a_graph_follows_a_learning_rate_on_the_device() -> None:
    """A learning rate that is a tensor may change between replays."""
    start = vectors()
    rows = gradients(start, 4)
    plain, captured = leaves(start), leaves(start)
    lr = torch.tensor(0.1, device=DEVICE)
    optimizer, other = AdamW(captured, lr=lr, capturable=True), AdamW(plain, lr=0.1)
    drive(optimizer, rows[:1])
    drive(other, rows[:1])
    static = [p.grad for p in captured]
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        optimizer.step()
    for row in rows[1:]:
        lr /= 2
        other.param_groups[0]["lr"] = float(lr)
        for g, new in zip(static, row, strict=True):
            g.copy_(new)
        graph.replay()
        drive(other, [row])
    assert_same(captured, plain)


@pytest.mark.parametrize(("cls", "kwargs"), FUSED)
def test_a_scaler_costs_no_waiting(cls: type[Optimizer], kwargs: dict[str, Any]) -> None:
    """``GradScaler.step`` waits for nothing; with an infinite gradient it changes nothing."""
    params = leaves(vectors())
    optimizer = cls(params, fused=True, **kwargs)
    scaler = torch.amp.GradScaler("cuda", init_scale=1024.0)
    for step in range(4):
        scaler.scale(torch.ones((), device=DEVICE))  # makes the scale
        for p in params:
            p.grad = torch.full_like(p, torch.inf if step == 2 else 0.5)
        before = [t.clone() for t in (*detached(params), *tensors(snapshot(optimizer)))]
        if step:
            with nobody_waits():
                scaler.step(optimizer)
        else:
            scaler.step(optimizer)
        if step == 2:
            assert_same_bits([*detached(params), *tensors(snapshot(optimizer))], before)
        scaler.update()


def test_a_plain_step_waits_for_nothing() -> None:
    """A step sends what changed and launches; it does not wait for the device."""
    params = leaves(vectors())
    optimizer = AdamW(params)
    drive(optimizer, gradients(vectors(), 2))
    with nobody_waits():
        optimizer.step()


@pytest.mark.parametrize("groups", [1, 100])
def test_one_kernel_a_step(groups: int) -> None:
    """A step of many tensors in many groups is one kernel, as the profiler counts them."""
    params = leaves([torch.ones(32)] * 200)
    rows = [[torch.ones(32)] * 200] * 2
    optimizer = AdamW([{"params": params[k::groups]} for k in range(groups)])
    drive(optimizer, rows)
    assert launches(optimizer.step)["kernels"] == 1


def test_more_elements_than_32_bits_count() -> None:
    """The end of a tensor of more than 2^31 elements moves as its start does."""
    p = torch.ones(2**31 + 20_000, dtype=torch.bfloat16, device=DEVICE, requires_grad=True)
    p.grad = torch.full_like(p, 0.5)
    SGD([p], lr=0.5).step()
    assert torch.equal(p[-20_000:].detach(), torch.full_like(p[-20_000:], 0.75))
    assert torch.equal(p[:20_000].detach(), torch.full_like(p[:20_000], 0.75))
