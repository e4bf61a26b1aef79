"""``clip_value`` and ``clip_agc``, alone and before ``clip_norm``: every engine, every kind."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.autograd import gradcheck

from downslope import optim
from downslope.engines.compiled import CompiledBucket
from downslope.errors import DownslopeError, EngineError, NonfiniteGradientError
from downslope.schedules import linear

from .catalogue import BACKWARD, CATALOGUE, DRIVEN, Entry, each, each_implementation
from .harness import assert_same, assert_same_bits, build, detached, drive, leaves, rows_of
from .harness import start_of as tensors_of
from .oracles import Array
from .test_determinism import end, threads, widest

STEPS = 4
#: Some of the zoo's gradients are cut by each, some are not.
CLIPS: tuple[dict[str, float], ...] = (
    {"clip_value": 0.8},
    {"clip_agc": 0.5},
    {"clip_value": 0.8, "clip_agc": 0.5, "clip_norm": 3.0},
    {"clip_agc": 0.5, "clip_norm": 3.0},
)
#: One pass, a choice at every element, sums over each tensor, matrices: the others are as these.
SOME = tuple(e for e in DRIVEN if e.name in {"SGD", "AdamW", "RAdam", "LAMB", "Adafactor"})
each_clip = pytest.mark.parametrize("clips", CLIPS, ids=lambda c: "+".join(c))


def unit_norm(x: Array) -> Array:
    """The norm over all but the first dimension, or over a vector."""
    axes = tuple(range(1, x.ndim)) if x.ndim > 1 else None
    return np.sqrt((np.abs(x) ** 2).sum(axis=axes, keepdims=True))


def clipped(
    weights: Sequence[Array],
    gradients: Sequence[Array],
    clip_value: float | None = None,
    clip_agc: float | None = None,
    clip_norm: float | None = None,
) -> list[Array]:
    """The three kinds of clipping one after another, naively."""
    gradients = list(gradients)
    if clip_value is not None:
        gradients = [np.clip(g, -clip_value, clip_value) for g in gradients]
    if clip_agc is not None:
        for k, (w, g) in enumerate(zip(weights, gradients, strict=True)):
            largest = clip_agc * np.maximum(unit_norm(w), 1e-3)
            norm = unit_norm(g)
            gradients[k] = g * np.where(norm > largest, largest / np.where(norm > 0, norm, 1), 1.0)
    if clip_norm is not None:
        norm = math.sqrt(sum(float((np.abs(g) ** 2).sum()) for g in gradients))
        gradients = [g * min(1.0, clip_norm / (norm + 1e-6)) for g in gradients]
    return gradients


def oracle_end(
    entry: Entry, rows: Sequence[Sequence[Tensor]], kwargs: Mapping[str, Any], **clips: float
) -> list[Tensor]:
    """Where the oracle goes when its gradients are clipped by the weights of the moment."""
    hyper = {k: v.item() if isinstance(v, Tensor) else v for k, v in kwargs.items()}
    sign = -1.0 if hyper.pop("maximize", False) else 1.0
    start = tensors_of(entry)
    weights = [t.detach().numpy().astype(np.float64) for t in start]
    states: list[dict[str, Any]] = [{} for _ in start]
    for row in rows:
        dense = [(g.to_dense() if g.is_sparse else g).numpy().astype(np.float64) for g in row]
        short = clipped(weights, dense, **clips)
        weights = [
            entry.oracle(w, sign * g, state, **hyper)
            for w, g, state in zip(weights, short, states, strict=True)
        ]
    return [
        torch.from_numpy(np.asarray(w)).to(t.dtype) for w, t in zip(weights, start, strict=True)
    ]


def rows(entry: Entry) -> tuple[tuple[Tensor, ...], ...]:
    return rows_of(entry, tensors_of(entry), STEPS)


@each_implementation(SOME)
@each_clip
def test_follows_the_oracle(entry: Entry, flags: dict[str, Any], clips: dict[str, float]) -> None:
    """In every engine the step is the oracle's with gradients that were clipped before."""
    if flags.get("fused") and "clip_agc" in clips:
        return  # the zoo has a transposed matrix, whose rows do not lie together: see below
    kwargs = entry.variants[-1].kwargs
    params = leaves(tensors_of(entry), flags)
    drive(build(entry.ours, params, kwargs, flags, clips), rows(entry))
    assert_same(params, oracle_end(entry, rows(entry), kwargs, **clips))


@each_clip
def test_the_compiled_engine_clips_all_that_it_can(clips: dict[str, float]) -> None:
    """The zoo is stepped by the compiled engine, the transposed matrix aside where rows matter."""
    entry = next(e for e in DRIVEN if e.name == "AdamW")
    optimizer = build(entry.ours, leaves(tensors_of(entry)), clips)
    drive(optimizer, rows(entry)[:1])
    compiled = [len(at) for at, b in optimizer._buckets.placed if isinstance(b, CompiledBucket)]
    assert sum(compiled) == len(tensors_of(entry)) - ("clip_agc" in clips)


def test_fused_refuses_rows_that_lie_apart() -> None:
    """``fused=True`` says why it cannot clip a transposed matrix by its rows."""
    p = torch.ones(3, 4).t().requires_grad_()
    with pytest.raises(EngineError, match=r"clip_agc is given and its units \(rows\) do not lie"):
        drive(optim.SGD([p], fused=True, clip_agc=0.1), [[torch.ones(4, 3)]])


@each_implementation(BACKWARD, without=("default", "fused", "differentiable"))
@each_clip
def test_large_limits_change_nothing(
    entry: Entry, flags: dict[str, Any], clips: dict[str, float]
) -> None:
    """With limits that nothing reaches each optimizer's step has the bits of one without."""
    plain, loose = leaves(tensors_of(entry)), leaves(tensors_of(entry))
    drive(build(entry.ours, plain, flags), rows(entry))
    drive(build(entry.ours, loose, flags, dict.fromkeys(clips, 1e6)), rows(entry))
    assert_same_bits(detached(loose), detached(plain))


@each(SOME)
@each_clip
def test_same_bits_at_any_thread_count(entry: Entry, clips: dict[str, float]) -> None:
    """The limits do not depend on the number of threads."""
    ends = []
    for n in (1, 3):
        with threads(n):
            ends.append(end(entry, widest(entry), clips))
    assert_same_bits(*ends)


@settings(deadline=None)  # a first example may wait for a kernel
@given(
    shape=st.lists(st.integers(1, 6), min_size=0, max_size=4),
    limit=st.floats(1e-3, 10.0),
    scale=st.floats(1e-4, 1e4),
    value=st.one_of(st.none(), st.floats(1e-3, 10.0)),
    foreach=st.sampled_from([None, True, False]),
    seed=st.integers(0, 2**31),
)
def test_any_shape(
    shape: list[int],
    limit: float,
    scale: float,
    value: float | None,
    foreach: bool | None,
    seed: int,
) -> None:
    """For any shape and limits the step is the naive clipping's."""
    make = torch.Generator().manual_seed(seed)
    start = torch.randn(shape, generator=make, dtype=torch.float64)
    g = torch.randn(shape, generator=make, dtype=torch.float64) * scale
    p = start.clone().requires_grad_()
    drive(optim.SGD([p], lr=1.0, clip_agc=limit, clip_value=value, foreach=foreach), [[g]])
    (short,) = clipped([start.numpy()], [g.numpy()], value, limit)
    torch.testing.assert_close(p.detach(), start - torch.from_numpy(np.asarray(short)))


def test_units_longer_than_a_chunk() -> None:
    """Rows of several chunks, and rows that do not fill one, are each clipped as one."""
    make = torch.Generator().manual_seed(1)
    start = [torch.randn(3, 70_001, generator=make), torch.randn(40_000, 2, generator=make)]
    row = [torch.randn(t.shape, generator=make) for t in start]
    params = leaves(start)
    drive(optim.SGD(params, lr=1.0, clip_agc=0.3, fused=True), [row])
    short = clipped(
        [t.double().numpy() for t in start], [g.double().numpy() for g in row], None, 0.3
    )
    wanted = [(t - torch.from_numpy(g)).float() for t, g in zip(start, short, strict=True)]
    assert_same(params, wanted)


def test_units_at_zero_move() -> None:
    """Weights of norm 0 count as 1e-3, so that a layer that starts at zero can leave it."""
    p = torch.zeros(2, 3, requires_grad=True)
    drive(optim.SGD([p], lr=1.0, clip_agc=0.1), [[torch.ones(2, 3)]])
    assert p.detach().norm(dim=1).tolist() == pytest.approx([1e-4, 1e-4])


@pytest.mark.parametrize("flags", [{}, {"foreach": True}, {"foreach": False}], ids=str)
def test_other_kinds_of_numbers(flags: dict[str, Any]) -> None:
    """Complex values are clamped by parts, and clipped by rows of moduli; 16-bit as they are."""
    make = torch.Generator().manual_seed(2)
    for dtype in (torch.complex64, torch.complex128, torch.bfloat16, torch.float16):
        kind = dtype.to_complex() if dtype.is_complex else torch.float32
        start = torch.randn(5, 4, generator=make, dtype=kind).to(dtype)
        g = torch.randn(5, 4, generator=make, dtype=kind).to(dtype)
        p = start.clone().requires_grad_()
        drive(optim.SGD([p], lr=1.0, clip_value=0.7, clip_agc=0.4, **flags), [[g]])
        wide = torch.complex128 if dtype.is_complex else torch.float64
        array = g.to(wide).numpy()
        parts = array.view(np.float64) if dtype.is_complex else array
        cut = np.clip(parts, -0.7, 0.7)
        array = cut.view(np.complex128) if dtype.is_complex else cut
        (short,) = clipped([start.to(wide).numpy()], [array], None, 0.4)
        wanted = (start.to(wide) - torch.from_numpy(short)).to(dtype)
        near = 4 * torch.finfo(dtype).eps
        torch.testing.assert_close(p.detach(), wanted, rtol=near, atol=near)


def test_sparse_gradients_are_clipped_by_their_rows() -> None:
    """Of a sparse gradient the values that it has are clamped, and the rows shortened."""
    start = torch.randn(7, 3, generator=torch.Generator().manual_seed(3))
    g = torch.sparse_coo_tensor(
        torch.tensor([[1, 4, 4]]), 3 * torch.ones(3, 3), (7, 3), check_invariants=True
    )
    p = start.clone().requires_grad_()
    drive(optim.SGD([p], lr=1.0, clip_value=5.0, clip_agc=0.2, clip_norm=1.0), [[g]])
    dense = g.to_dense().double().numpy()
    (short,) = clipped([start.double().numpy()], [dense], 5.0, 0.2, 1.0)
    assert_same([p], [(start - torch.from_numpy(short)).float()])
    single = torch.sparse_coo_tensor(
        torch.tensor([[1], [2]]), torch.ones(1), (7, 3), check_invariants=True
    )
    with pytest.raises(EngineError, match="whole rows"):
        drive(optim.SGD([p], lr=1.0, clip_agc=0.2), [[single]])


def test_groups_of_their_own() -> None:
    """Each group has its limits, and one with None is left alone."""
    params = [torch.ones(2, 2, requires_grad=True) for _ in range(4)]
    limits: list[dict[str, Any]] = [
        {}, {"clip_value": None}, {"clip_value": 0.25}, {"clip_value": None, "clip_agc": 0.1}
    ]  # fmt: skip
    groups = [{"params": [p], **own} for p, own in zip(params, limits, strict=True)]
    drive(optim.SGD(groups, lr=1.0, clip_value=0.5), [[torch.ones(2, 2)] * 4])
    moved = [float(1 - p.detach()[0, 0]) for p in params]
    assert moved == pytest.approx([0.5, 1.0, 0.25, 0.1], rel=1e-6)


def test_limits_change_while_training() -> None:
    """A schedule, a new value, and None in a group are the next step's."""
    p = torch.zeros(1, requires_grad=True)
    optimizer = optim.SGD([p], lr=1.0, clip_value=linear(2, start=1.0, end=0.5))
    seen = []
    for change in ({}, {}, {"clip_agc": 1.0}, {"clip_agc": None}):
        optimizer.param_groups[0].update(change)
        before = p.detach().clone()
        drive(optimizer, [[torch.full((1,), -9.0)]])
        seen.append(float(p.detach() - before))
    assert seen == pytest.approx([1.0, 0.75, 0.5, 0.5])


@pytest.mark.parametrize("flags", [{"fused": True}, {"foreach": True}, {"foreach": False}], ids=str)
def test_scaled_gradients_are_unscaled_before_they_are_clamped(flags: dict[str, Any]) -> None:
    """Under a GradScaler the limits are those of the unscaled gradient."""
    p = torch.ones(4, requires_grad=True)
    optimizer = optim.SGD([p], lr=1.0, clip_value=0.5, clip_agc=10.0, **flags)
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0**12)
    scaler.scale((p * torch.tensor([0.25, 0.5, 1.0, -2.0])).sum()).backward()
    scaler.step(optimizer)
    assert p.tolist() == [0.75, 0.5, 0.5, 1.5]


def test_nan_stays_where_it_is() -> None:
    """A clamp keeps NaN, and an infinite element becomes the limit, as in torch."""
    for flags in ({}, {"foreach": True}, {"foreach": False}):
        p = torch.zeros(3, requires_grad=True)
        g = torch.tensor([math.nan, -math.inf, 2.0])
        drive(optim.SGD([p], lr=1.0, clip_value=0.5, **flags), [[g]])
        torch.testing.assert_close(p.detach(), torch.tensor([math.nan, 0.5, -0.5]), equal_nan=True)


def test_what_the_clamp_hides_is_found() -> None:
    """``on_nonfinite`` and ``grad_norm`` look at the gradient as it came, not at what is left."""
    p = torch.zeros(3, requires_grad=True)
    optimizer = optim.SGD([p], clip_value=0.5, clip_norm=1.0, on_nonfinite="raise")
    drive(optimizer, [[torch.tensor([3.0, 4.0, 0.0])]])
    assert optimizer.grad_norm == 5.0
    with pytest.raises(NonfiniteGradientError):
        drive(optimizer, [[torch.tensor([math.inf, 0.0, 0.0])]])


@pytest.mark.parametrize("name", ["clip_value", "clip_agc"])
@pytest.mark.parametrize("limit", [0, -1.0, float("nan"), "1.0"])
@each(CATALOGUE)
def test_bad_limits(entry: Entry, name: str, limit: Any) -> None:
    """A limit that would stop or turn the training is refused."""
    with pytest.raises(DownslopeError, match=rf"{name} must be a number > 0"):
        build(entry.ours, [torch.ones(2, 2, requires_grad=True)], {name: limit})


def test_differentiable() -> None:
    """Gradients flow through clamps, units and weights: they equal central differences."""

    def last(start: Tensor, share: Tensor) -> Tensor:
        p = start.clone()
        optimizer = optim.AdamW([p], lr=0.05, eps=0.1, differentiable=True, clip_value=1.5)
        optimizer.param_groups[0].update(clip_agc=share, clip_norm=0.9)
        for _ in range(3):
            loss = ((p - 0.3) ** 4).sum() + (p * p.roll(1)).sum()
            (p.grad,) = torch.autograd.grad(loss, p, create_graph=True)
            optimizer.step()
        return p

    start = torch.tensor([[0.7, -1.3], [0.4, 0.2]], dtype=torch.float64, requires_grad=True)
    share = torch.tensor(0.6, dtype=torch.float64, requires_grad=True)
    assert gradcheck(last, (start, share), eps=1e-6, atol=1e-5, rtol=1e-5)


def test_checkpoints_hold_the_limits() -> None:
    """The limits come back with the state, and torch's class loads the dict."""
    p = torch.ones(2, 2, requires_grad=True)
    optimizer = optim.AdamW([p], clip_value=0.5, clip_agc=0.1)
    drive(optimizer, [[torch.ones(2, 2)]])
    again = optim.AdamW([p])
    again.load_state_dict(optimizer.state_dict())
    assert [again.param_groups[0][n] for n in ("clip_value", "clip_agc")] == [0.5, 0.1]
    torch.optim.AdamW([p]).load_state_dict(optimizer.state_dict())
