"""``clip_norm``: the norm over all gradients, one read of them, and a factor in the update."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torch.autograd import gradcheck

from downslope import optim

from .catalogue import BACKWARD, CATALOGUE, DRIVEN, TWINS, Entry, each, each_implementation
from .clipping import FULL, LIMIT, ROWS, expected, near, norm, rows, shortened
from .harness import (
    assert_same,
    assert_same_bits,
    build,
    detached,
    drive,
    in_full_precision,
    leaves,
    rows_of,
    start_of,
    zoo,
)
from .test_determinism import end, large, threads, widest


@each_implementation(DRIVEN)
def test_follows_the_oracle(entry: Entry, flags: dict[str, Any]) -> None:
    """In every engine the step is the oracle's with gradients that were shortened before."""
    for variant in entry.variants[:3]:
        params = leaves(start_of(entry), flags)
        optimizer = build(entry.ours, params, variant.kwargs, flags, {"clip_norm": LIMIT})
        with in_full_precision():
            drive(optimizer, rows(entry))
        assert_same(params, expected(entry, variant.kwargs))


@each_implementation(DRIVEN)
def test_short_gradients_are_left_alone(entry: Entry, flags: dict[str, Any]) -> None:
    """Below the threshold the step has the bits of one without clipping."""
    plain, clipped = leaves(start_of(entry), flags), leaves(start_of(entry), flags)
    drive(build(entry.ours, plain, flags), rows(entry))
    drive(build(entry.ours, clipped, flags, {"clip_norm": 1e3}), rows(entry))
    assert_same_bits(detached(clipped), detached(plain))


@each_implementation(BACKWARD, without=("differentiable",))
def test_gradients_are_not_rewritten(entry: Entry, flags: dict[str, Any]) -> None:
    """After the step each gradient has its bits."""
    params = leaves(start_of(entry))
    optimizer = build(entry.ours, params, flags, {"clip_norm": LIMIT})
    drive(optimizer, rows(entry)[:1])
    assert_same_bits((p.grad for p in params), rows(entry)[0])


@each_implementation(DRIVEN)
def test_grad_norm_is_the_norm_of_all_gradients(entry: Entry, flags: dict[str, Any]) -> None:
    """``grad_norm`` is the whole norm before clipping; ``inf`` measures without clipping."""
    for limit in (LIMIT, math.inf):
        optimizer = build(entry.ours, leaves(start_of(entry), flags), flags, {"clip_norm": limit})
        assert optimizer.grad_norm is None
        for row in rows(entry)[:2]:
            drive(optimizer, [row])
            assert optimizer.grad_norm == pytest.approx(norm(row), rel=near(flags))


def test_no_norm_without_a_reason() -> None:
    """An optimizer that does not clip computes no norm."""
    optimizer = optim.AdamW(leaves(zoo()))
    drive(optimizer, ROWS[:1])
    assert optimizer.grad_norm is None


@each(DRIVEN)
@pytest.mark.parametrize("count", [2, 3])
def test_same_bits_at_any_thread_count(entry: Entry, count: int) -> None:
    """The norm and the step after it do not depend on the number of threads."""
    ends = []
    for n in (1, count):
        with threads(n):
            ends.append(end(entry, widest(entry), {"clip_norm": LIMIT}))
    assert_same_bits(*ends)
    assert norm(rows_of(entry, large(entry), 3)[0]) > LIMIT


@each_implementation(DRIVEN, without=("differentiable",))
def test_order_of_parameters_does_not_matter(entry: Entry, flags: dict[str, Any]) -> None:
    """The norm has the same bits in any order of the parameters."""
    forth, back = leaves(start_of(entry)), leaves(start_of(entry)[::-1])
    turned = [row[::-1] for row in rows(entry)]
    drive(build(entry.ours, forth, flags, {"clip_norm": LIMIT}), rows(entry))
    drive(build(entry.ours, back, flags, {"clip_norm": LIMIT}), turned)
    assert_same_bits(detached(forth), detached(back[::-1]))


def test_one_norm_for_all_groups_engines_and_kinds() -> None:
    """Float, double, half, complex, sparse and strided tensors in five groups share one norm."""
    make = torch.Generator().manual_seed(3)
    draw = [torch.randn(5, 4, generator=make, dtype=torch.float64) for _ in range(12)]
    start = [
        draw[0].float(), draw[1], draw[2].half(), torch.complex(draw[3], draw[4]),
        draw[5].float(), draw[6].float()[::2, ::2], draw[7].float(), draw[8],
    ]  # fmt: skip
    flags: list[dict[str, Any]] = [{}, {}, {}, {}, {}, {}, {"foreach": False}, {"foreach": True}]
    row = [3 * t.clone() for t in start]
    dense = [*row]
    row[4] = torch.sparse_coo_tensor(
        torch.tensor([[0, 3, 3]]), draw[9][:3].float(), (5, 4), check_invariants=True
    )
    dense[4] = row[4].to_dense()
    params = leaves(start)
    groups = [{"params": [p], **f} for p, f in zip(params, flags, strict=True)]
    optimizer = optim.SGD(groups, lr=1.0, clip_norm=LIMIT)
    drive(optimizer, [row])
    assert optimizer.grad_norm == pytest.approx(norm(dense), rel=1e-6)
    for p, before, g in zip(params, start, shortened(dense), strict=True):
        wanted = (before.to(g.dtype) - g).to(p.dtype)
        near = 4 * torch.finfo(p.dtype).eps
        torch.testing.assert_close(p.detach(), wanted, rtol=near, atol=near)


def test_squares_do_not_overflow_or_vanish() -> None:
    """The norm of float32 gradients of any size is right, where float32 squares are not."""
    for size in (1e30, 1e-30):
        p = torch.nn.Parameter(torch.zeros(1000))
        for flags in ({}, {"foreach": False}, {"foreach": True}):
            optimizer = optim.SGD([p], lr=1.0, clip_norm=math.inf, **flags)
            drive(optimizer, [[torch.full((1000,), size)]])
            assert optimizer.grad_norm == pytest.approx(math.sqrt(1000) * size, rel=1e-6)


@pytest.mark.parametrize("size", [1e30, 1e19, 1.0, 1e-13, 1e-21, 1e-30])
def test_norms_of_long_gradients_are_right(size: float) -> None:
    """Where squares are begun in float32, norms of gradients of any size are those of float64."""
    make = torch.Generator().manual_seed(11)
    drawn = torch.randn(70_001, generator=make) * size
    alone = torch.zeros(70_001)
    alone[69_000] = size
    for g, rel in ((drawn, 1e-9), (torch.full((70_001,), 0.7 * size), 2e-7), (alone, 1e-7)):
        optimizer = optim.SGD(leaves([g]), lr=0.0, clip_norm=math.inf)
        drive(optimizer, [[g]])
        assert optimizer.grad_norm == pytest.approx(norm([g]), rel=rel, abs=0)


@given(
    sizes=st.lists(st.integers(0, 700), min_size=1, max_size=4),
    limit=st.floats(1e-3, 1e3),
    scale=st.floats(1e-6, 1e6),
    foreach=st.sampled_from([None, True, False]),
    seed=st.integers(0, 2**31),
)
def test_never_longer_than_the_limit(
    sizes: list[int], limit: float, scale: float, foreach: bool | None, seed: int
) -> None:
    """For any shapes, thresholds and gradients: the step's length is the shorter of the two."""
    make = torch.Generator().manual_seed(seed)
    row = [torch.randn(n, generator=make) * scale for n in sizes]
    params = [torch.zeros(n, requires_grad=True) for n in sizes]
    drive(optim.SGD(params, lr=1.0, clip_norm=limit, foreach=foreach), [row])
    wanted = min(norm(row), limit * norm(row) / (norm(row) + 1e-6))
    assert norm(detached(params)) == pytest.approx(wanted, rel=1e-5, abs=1e-30)


@each(tuple(e for e in TWINS if e in BACKWARD))
def test_same_as_torchs_recipe(entry: Entry) -> None:
    """It goes where torch's class goes after ``torch.nn.utils.clip_grad_norm_``."""
    ours, theirs = leaves(start_of(entry)), leaves(start_of(entry))
    drive(build(entry.ours, ours, {"clip_norm": LIMIT}), rows(entry))
    drive(
        build(entry.torch, theirs, entry.one_by_one),
        rows(entry),
        before=lambda _: torch.nn.utils.clip_grad_norm_(theirs, LIMIT),
    )
    near = 1e-6 + entry.slack
    torch.testing.assert_close(detached(ours), detached(theirs), rtol=1e-5, atol=near)


def test_accumulated_gradients_are_clipped_as_one() -> None:
    """Gradients added up over micro-batches, or by DDP over ranks, are one gradient."""
    parts, whole = leaves(zoo()), leaves(zoo())
    split, joined = (optim.SGD(p, lr=0.1, clip_norm=LIMIT) for p in (parts, whole))
    for p, a, b in zip(parts, ROWS[0], ROWS[1], strict=True):
        p.grad = a.clone()
        p.grad += b
    split.step()
    drive(joined, [[a + b for a, b in zip(ROWS[0], ROWS[1], strict=True)]])
    assert_same_bits(detached(parts), detached(whole))


# -- autograd and scaling -------------------------------------------------------------------------


@pytest.mark.parametrize("limit", [0.5, 50.0])
@each(tuple(e for e in CATALOGUE if e.name in {"SGD", "AdamW", "RMSprop"}))
def test_differentiable_through_the_norm(entry: Entry, limit: float) -> None:
    """``differentiable=True`` follows the norm too: gradients equal central differences."""

    def end(start: Tensor, threshold: Tensor) -> Tensor:
        p = start.clone()
        kwargs = {"momentum": 0.5} if entry.name == "SGD" else {"eps": 0.1}
        optimizer = build(entry.ours, [p], kwargs, {"lr": 0.05, "differentiable": True})
        optimizer.param_groups[0]["clip_norm"] = threshold
        for _ in range(3):
            loss = ((p - 0.3) ** 4).sum() + (p * p.roll(1)).sum()
            (p.grad,) = torch.autograd.grad(loss, p, create_graph=True)
            optimizer.step()
        return p

    start = torch.tensor([0.7, -1.3, 0.4], dtype=torch.float64, requires_grad=True)
    threshold = torch.tensor(limit, dtype=torch.float64, requires_grad=True)
    assert gradcheck(end, (start, threshold), eps=1e-6, atol=1e-5, rtol=1e-5)


@each_implementation(BACKWARD, without=("differentiable",))
def test_scaled_gradients_are_unscaled_before_they_are_measured(
    entry: Entry, flags: dict[str, Any]
) -> None:
    """Under a GradScaler the norm is that of the unscaled gradients, however they are unscaled."""
    for unscale_first in (False, True):
        params = leaves(start_of(entry))
        optimizer = build(entry.ours, params, flags, {"clip_norm": LIMIT})
        scaler = torch.amp.GradScaler("cpu", init_scale=2.0**10, growth_interval=1000)
        for row in rows(entry):
            loss = torch.stack([(p * g).sum() for p, g in zip(params, row, strict=True)]).sum()
            optimizer.zero_grad()
            scaler.scale(loss).backward()
            if unscale_first:
                scaler.unscale_(optimizer)
            with in_full_precision():
                scaler.step(optimizer)
            scaler.update()
            assert optimizer.grad_norm == pytest.approx(norm(row), rel=1e-6)
        assert_same(params, expected(entry))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=["fp16", "bf16"])
@pytest.mark.parametrize("flags", [{"fused": True}, {"foreach": True}, {"foreach": False}])
def test_half_precision(dtype: torch.dtype, flags: dict[str, Any]) -> None:
    """The norm of 16-bit gradients is that of their values, though their squares overflow."""
    g = torch.full((4000,), 300.0).to(dtype)
    p = torch.zeros(4000, dtype=dtype, requires_grad=True)
    optimizer = optim.SGD([p], lr=1.0, clip_norm=float(g[0]) * math.sqrt(4000) / 2, **flags)
    drive(optimizer, [[g]])
    assert optimizer.grad_norm == pytest.approx(float(g[0]) * math.sqrt(4000), rel=1e-9)
    torch.testing.assert_close(p.detach(), -g / 2, rtol=2 * torch.finfo(dtype).eps, atol=0)


def test_fp16_parameters_under_a_grad_scaler() -> None:
    """``fused=True`` takes fp16 gradients still scaled, which torch's ``unscale_`` refuses."""
    p = torch.zeros(100, dtype=torch.float16, requires_grad=True)
    optimizer = optim.SGD([p], lr=1.0, clip_norm=1.0, fused=True)
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0**8)
    scaler.scale((p * 2.0).sum()).backward()
    scaler.step(optimizer)
    scaler.update()
    assert optimizer.grad_norm == pytest.approx(20.0)
    torch.testing.assert_close(p.detach(), torch.full_like(p, -0.1), rtol=2e-3, atol=0)


def test_maximize_turns_the_clipped_gradient() -> None:
    """``maximize`` steps up by the threshold."""
    p = torch.zeros(3, requires_grad=True)
    drive(optim.SGD([p], lr=1.0, maximize=True, clip_norm=1.0), [FULL[:1]])
    torch.testing.assert_close(p.detach(), FULL[0] / 4, rtol=1e-5, atol=0)


def test_widest_variants_are_clipped_too() -> None:
    """Momentum, weight decay and amsgrad leave the norm that of the gradients alone."""
    for entry in DRIVEN:
        optimizer = build(entry.ours, leaves(start_of(entry)), widest(entry), {"clip_norm": LIMIT})
        drive(optimizer, rows(entry)[:2])
        assert optimizer.grad_norm == pytest.approx(norm(rows(entry)[1]), rel=near({}))
