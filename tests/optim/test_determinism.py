"""Same inputs, same bits: on repeat, on any number of threads, in two threads, after a fork."""

from __future__ import annotations

import hashlib
import os
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

import pytest
import torch
from torch import Tensor

from downslope import optim
from downslope.engines.cpu.threads import team as team_of_torch

from .catalogue import DRIVEN, Entry, each, each_implementation
from .harness import assert_same_bits, build, detached, drive, leaves, rows_of, tensors

#: Enough elements that an engine spreads them over threads, in unequal tensors.
VECTORS = ((170_003,), (3,), (40_001,))
MATRICES = ((613, 300), (3, 5), (200, 200), (200, 200))


@cache
def large(entry: Entry) -> tuple[Tensor, ...]:
    """The parameters' first values."""
    make = torch.Generator().manual_seed(5)
    shapes = MATRICES if entry.ours.rule.matrix else VECTORS
    drawn = (torch.randn(shape, generator=make) for shape in (*shapes, *VECTORS[:1]))
    return tuple(t for t in drawn if entry.takes(t))


def rows(entry: Entry) -> tuple[tuple[Tensor, ...], ...]:
    """Their gradients in three steps."""
    return rows_of(entry, large(entry), 3)


@contextmanager
def threads(count: int) -> Iterator[None]:
    """Torch's number of threads, for a while."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def widest(entry: Entry) -> dict[str, Any]:
    """The arguments of the variant with the most of them."""
    return dict(max((v.kwargs for v in entry.variants), key=len))


def end(entry: Entry, *kwargs: dict[str, Any]) -> list[Tensor]:
    """Parameters and state after the steps."""
    params = leaves(large(entry))
    optimizer = build(entry.ours, params, *kwargs)
    drive(optimizer, rows(entry))
    return [*detached(params), *tensors(optimizer.state_dict())]


@each_implementation(DRIVEN, without=("differentiable",))
def test_same_bits_on_repeat(entry: Entry, flags: dict[str, Any]) -> None:
    """Two runs of the same steps end in the same bits."""
    assert_same_bits(end(entry, widest(entry), flags), end(entry, widest(entry), flags))


@each(DRIVEN)
@pytest.mark.parametrize("count", [2, 3])
def test_same_bits_at_any_thread_count(entry: Entry, count: int) -> None:
    """The bits do not depend on ``torch.set_num_threads``."""
    with threads(1):
        alone = end(entry, widest(entry))
    with threads(count):
        together = end(entry, widest(entry))
    assert_same_bits(together, alone)


@each(DRIVEN)
def test_same_bits_on_threads_of_our_own(entry: Entry, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where torch's threads cannot be had, others do the same."""
    with threads(2):
        expected = end(entry, widest(entry))
        monkeypatch.setattr("downslope.engines.cpu.threads.team", lambda: None)
        assert_same_bits(end(entry, widest(entry)), expected)


@each(DRIVEN)
def test_same_bits_in_vectors(entry: Entry, monkeypatch: pytest.MonkeyPatch) -> None:
    """Steps so large that they ask for memory ahead do the same."""
    expected = end(entry, widest(entry))
    monkeypatch.setattr("downslope.engines.cpu.run.FAR", 0)
    assert_same_bits(end(entry, widest(entry)), expected)


@pytest.mark.skipif(sys.platform != "linux", reason="torch has another OpenMP there")
def test_torchs_threads_do_the_work(monkeypatch: pytest.MonkeyPatch) -> None:
    """A large step is one call of torch's OpenMP, on as many threads as torch uses."""
    team, calls = team_of_torch(), []
    assert team is not None

    def counted(function: int, job: int, count: int) -> None:
        calls.append(count)
        team(function, job, count)

    monkeypatch.setattr("downslope.engines.cpu.threads.team", lambda: counted)
    p = torch.zeros(400_000, requires_grad=True)
    p.grad = torch.ones_like(p)
    with threads(3):
        optim.AdamW([p]).step()
    assert calls == [3]


@each(DRIVEN)
def test_order_of_parameters_does_not_matter(entry: Entry) -> None:
    """A parameter's bits do not depend on which others step beside it."""
    together, alone = leaves(large(entry)), leaves(large(entry))
    drive(build(entry.ours, together, widest(entry)), rows(entry))
    for i in reversed(range(len(alone))):
        drive(build(entry.ours, [alone[i]], widest(entry)), [[row[i]] for row in rows(entry)])
    assert_same_bits(detached(together), detached(alone))


@each(DRIVEN)
def test_two_optimizers_in_two_threads(entry: Entry) -> None:
    """Optimizers that step at the same time in two threads end where each would alone."""
    expected = end(entry, widest(entry))
    ends: dict[int, list[Tensor]] = {}
    ready = threading.Barrier(2)

    def run(i: int) -> None:
        ready.wait()
        ends[i] = end(entry, widest(entry))

    with threads(2):
        workers = [threading.Thread(target=run, args=(i,)) for i in range(2)]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join(60)
    for i in range(2):
        assert_same_bits(ends[i], expected)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this platform has no fork")
@each()  # where torch's operations step, its own threads hang in a forked child
def test_fork_after_a_step(entry: Entry) -> None:
    """A child forked after a threaded step takes the next step to the parent's bits."""
    params = leaves(large(entry))
    with threads(2):
        optimizer = build(entry.ours, params, widest(entry))
        drive(optimizer, rows(entry)[:2])
        for p, g in zip(params, rows(entry)[2], strict=True):
            p.grad = g
        before = [p.detach().clone() for p in params]
        read, write = os.pipe()
        child = os.fork()
        if child == 0:
            try:
                optimizer.step()
                os.write(write, b"".join(_digest(p) for p in params))
            finally:
                os._exit(0)
        os.close(write)
        _wait(child)
        with os.fdopen(read, "rb") as pipe:
            theirs = pipe.read()
        assert_same_bits(detached(params), before)
        optimizer.step()
    assert theirs == b"".join(_digest(p) for p in params)


def _digest(p: Tensor) -> bytes:
    """Sixteen bytes that two different tensors do not share."""
    return hashlib.md5(p.detach().numpy().tobytes(), usedforsecurity=False).digest()


def _wait(child: int, seconds: float = 20.0) -> None:
    """Wait for a child process; one that hangs is killed and fails the test."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        if os.waitpid(child, os.WNOHANG)[0]:
            return
        time.sleep(0.005)
    os.kill(child, 9)
    os.waitpid(child, 0)
    pytest.fail("the forked child hung in its step")
