"""``storage=``: every elementwise optimizer with its state in float32, bfloat16 and int8."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from downslope.engines.cpu.library import JITTED
from downslope.engines.storage import SMALL, open_planes
from downslope.optim import SGD, AdamW
from downslope.optim._storage import opened

from .catalogue import CATALOGUE, Entry
from .compact import (
    ENGINES,
    drive,
    each_engine,
    each_format,
    gaps,
    gradients_into,
    rows,
    start,
)
from .harness import assert_same_bits, build, detached, leaves, snapshot

ELEMENTWISE = tuple(e for e in CATALOGUE if not e.ours.rule.matrix and e.ours.rule.dense)
#: With all that a kernel may do: compact slots of both kinds, and sums.
COMPILED = ("AdamW", "LAMB")


def _cases() -> list[Any]:
    """Every optimizer in every engine; a compile each where kernels are compiled, so few there."""
    compiled = ELEMENTWISE if not JITTED else [e for e in ELEMENTWISE if e.name in COMPILED]
    pairs = [("eager", e) for e in ELEMENTWISE] + [("numba", e) for e in compiled]
    return [pytest.param(ENGINES[n], e, id=f"{e.name}-{n}") for n, e in pairs]


@each_format
@pytest.mark.parametrize(("flags", "entry"), _cases())
def test_each_step_is_the_papers(entry: Entry, storage: str, flags: dict[str, Any]) -> None:
    """From the state as it is kept, a step is the oracle's, and what it keeps is next to that."""
    kwargs = entry.optimum
    params = start()
    optimizer = build(entry.ours, params, kwargs, flags, {"storage": storage})
    rule = entry.ours.rule
    nonnegative = {s.name for s in rule.slots if s.nonnegative}
    weights = {s.name for s in rule.slots if s.weights}
    judge: list[dict[str, Any]] = [{} for _ in params]
    for row in rows(3):
        before = [p.detach().double().numpy().copy() for p in params]
        gradients_into(params, row)
        optimizer.step()
        for k, p in enumerate(params):
            expected = entry.oracle(before[k], row[k].double().numpy(), judge[k], **kwargs)
            state = optimizer.state[p]
            near = 1e-5 * max(1.0, float(np.abs(expected - before[k]).max()))
            np.testing.assert_allclose(p.detach().numpy(), expected, rtol=2e-6, atol=near)
            for slot in rule.arrays(rule.present(optimizer.param_groups[0])):
                found = opened(state, slot).double().numpy()
                exact = np.broadcast_to(judge[k][slot], found.shape)
                bound = gaps(exact, "float32" if slot in weights else storage, slot in nonnegative)
                slack = 1e-5 * np.abs(exact).max()
                assert (np.abs(found - exact) <= bound * 1.01 + slack).all(), slot
                judge[k][slot] = found  # go on from what was kept


@pytest.mark.slow
@pytest.mark.skipif(not JITTED, reason="that is what it runs")
def test_each_step_is_the_papers_in_every_kernel() -> None:
    """The same of every optimizer's kernel, run as plain Python to save compiling them."""
    here = [sys.executable, "-m", "pytest", "-n", "0", "-q", "-k", "papers and numba", __file__]
    done = subprocess.run(
        here,
        cwd=Path(__file__).parents[2],
        env={**os.environ, "NUMBA_DISABLE_JIT": "1"},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stdout


@each_format
def test_bits_do_not_depend_on_threads(storage: str) -> None:
    """One thread and three give the same parameters and the same state."""
    ends = []
    threads = torch.get_num_threads()
    for count in (1, 3):
        torch.set_num_threads(count)
        try:
            make = torch.Generator().manual_seed(3)
            p = torch.randn(400, 701, generator=make).requires_grad_()
            optimizer = AdamW([p], storage=storage)
            for _ in range(3):
                p.grad = torch.randn(p.shape, generator=make)
                optimizer.step()
        finally:
            torch.set_num_threads(threads)
        ends.append([p.detach(), *optimizer.state[p].values()])
    assert_same_bits(*ends)


@each_engine
def test_any_dense_layout(flags: dict[str, Any]) -> None:
    """Blocks follow memory: a channels-last tensor has the state of the same numbers in a row."""
    make = torch.Generator().manual_seed(4)
    p = torch.randn(8, 16, 8, 8, generator=make).contiguous(memory_format=torch.channels_last)
    g = torch.randn(p.shape, generator=make)
    flat = p.permute(0, 2, 3, 1).reshape(-1).clone().requires_grad_()
    flat.grad = g.permute(0, 2, 3, 1).reshape(-1).clone()
    p = p.requires_grad_()
    p.grad = g
    ours, rowwise = (AdamW([x], storage="int8", **flags) for x in (p, flat))
    ours.step()
    rowwise.step()
    assert_same_bits([p.detach().permute(0, 2, 3, 1).reshape(-1)], [flat.detach()])
    scales = [o.state[x]["exp_avg_scale"] for o, x in ((ours, p), (rowwise, flat))]
    assert_same_bits(scales[:1], scales[1:])


def test_a_state_of_another_layout_is_laid_out_anew() -> None:
    """A state of contiguous parameters goes on in a channels-last model with the same numbers."""
    make = torch.Generator().manual_seed(4)
    start = torch.randn(8, 16, 8, 8, generator=make)
    p = start.clone().requires_grad_()
    p.grad = torch.randn(p.shape, generator=make)
    optimizer = AdamW([p], storage="int8")
    optimizer.step()
    last = start.contiguous(memory_format=torch.channels_last).requires_grad_()
    other = AdamW([last], storage="int8")
    other.load_state_dict(snapshot(optimizer))
    state = other.state[last]
    assert state["exp_avg"].stride() == last.stride()
    a, b = (opened(s, "exp_avg") for s in (state, optimizer.state[p]))
    torch.testing.assert_close(a, b, rtol=0, atol=float(b.abs().max()) * 0.02)


@each_engine
def test_clipping_by_units_of_odd_length(flags: dict[str, Any]) -> None:
    """``clip_agc`` with rows that end inside a block: what ``foreach=False`` gives, by default."""
    ends = []
    for chosen in ({}, flags):
        params = start()
        ends.append(detached(params))
        drive(AdamW(params, storage="int8", clip_agc=0.01, **chosen), rows(2))
    assert_same_bits(*ends)


@each_engine
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_32_bit_weights_follow_float32_training(flags: dict[str, Any], dtype: torch.dtype) -> None:
    """``storage="float32"`` trains 16-bit parameters as float32 ones: they are those, rounded."""
    narrow = leaves(p.detach().to(dtype) for p in start())
    wide = leaves(p.detach().float() for p in narrow)
    gradients = [[g.to(dtype) for g in row] for row in rows(5)]
    optimizer = drive(AdamW(narrow, 1e-3, storage="float32", **flags), gradients)
    drive(AdamW(wide, 1e-3, **flags), [[g.float() for g in row] for row in gradients])
    for a, b in zip(narrow, wide, strict=True):
        near = {"rtol": 0, "atol": 0} if dtype == torch.bfloat16 else {"rtol": 1e-6, "atol": 1e-8}
        codec = f"{str(dtype)[6:]}x16"
        found = open_planes(codec, [a.detach(), optimizer.state[a]["weight_correction"]])
        torch.testing.assert_close(found, b.detach(), **near)


@each_engine
def test_small_steps_are_not_lost(flags: dict[str, Any]) -> None:
    """Steps far below a bfloat16's last place add up with 24 bits, and are lost without them."""
    ends = []
    for storage in ("int8", {"exp_avg": "int8"}):
        p = torch.ones(80, 80, dtype=torch.bfloat16).requires_grad_()
        optimizer = AdamW([p], 1e-5, weight_decay=0, storage=storage, **flags)
        for _ in range(200):
            p.grad = torch.full_like(p, 0.5)
            optimizer.step()
        ends.append(p.detach().float())
    torch.testing.assert_close(ends[0], torch.full((80, 80), 0.998), rtol=0, atol=0.004)
    assert (ends[0] < 1).all()
    assert (ends[1] == 1).all()


@pytest.mark.parametrize("storage", ["bfloat16", "int8"])
def test_no_bias_grows_on_a_quadratic(storage: str) -> None:
    """After thousands of noisy steps the means over elements are those of float32 state."""
    steps, count = 10_000, SMALL
    ends = {}
    for kept in ("float32", storage):
        make = torch.Generator().manual_seed(6)
        p = torch.full((count,), 2.0).requires_grad_()
        optimizer = AdamW([p], 1e-2, weight_decay=0, storage=kept)
        noise = torch.randn(64, count, generator=make)
        variances = []
        for step in range(steps):
            with torch.no_grad():
                p.grad = p.detach() - 0.5 + noise[step % 64] * (1 + torch.arange(count) % 4)
            optimizer.step()
            if step % 1000 == 999:
                variances.append(
                    opened(optimizer.state[p], "exp_avg_sq").float().view(-1, 4).mean(0)
                )
        ends[kept] = torch.stack(variances), p.detach().view(-1, 4).mean(0)
    (exact, home), (found, end) = ends["float32"], ends[storage]
    torch.testing.assert_close(found, exact, rtol=0.02, atol=0)
    torch.testing.assert_close(end, home, rtol=0, atol=0.01)


@pytest.mark.parametrize(
    "make",
    [
        lambda p, **k: SGD(p, 0.05, momentum=0.9, **k),
        lambda p, **k: AdamW(p, 3e-3, **k),
    ],
    ids=["SGD", "AdamW"],
)
def test_int8_trains_as_well(make: Any) -> None:
    """The loss after training is, on average, that of float32 state to within its seeds' spread."""
    losses: dict[str, list[float]] = {"float32": [], "int8": []}
    for storage, found in losses.items():
        for seed in range(3):
            torch.manual_seed(seed)
            model = torch.nn.Sequential(
                torch.nn.Linear(10, 64), torch.nn.Tanh(), torch.nn.Linear(64, 64),
                torch.nn.Tanh(), torch.nn.Linear(64, 1),
            )  # fmt: skip
            optimizer = make(model.parameters(), storage=storage)
            for _ in range(80):
                x = torch.randn(64, 10)
                target = (x[:, :3].prod(1) + x[:, 3].sin()).unsqueeze(1)
                loss = torch.nn.functional.mse_loss(model(x), target)
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
            with torch.no_grad():
                x = torch.randn(4096, 10, generator=torch.Generator().manual_seed(9))
                target = (x[:, :3].prod(1) + x[:, 3].sin()).unsqueeze(1)
                found.append(float(torch.nn.functional.mse_loss(model(x), target)))
    full, compact = (torch.tensor(v) for v in losses.values())
    assert (compact.mean() - full.mean()).abs() <= full.max() - full.min()
