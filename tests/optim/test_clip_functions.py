"""``clip_grad_norm_`` and ``clip_grad_value_`` by themselves: torch's without its traps."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from downslope.errors import InputError, InputTypeError, NonfiniteGradientError
from downslope.optim import clip_grad_norm_, clip_grad_value_

from .clipping import norm
from .harness import assert_same_bits, gradients, zoo
from .test_determinism import threads

DTYPES = (
    torch.float32, torch.float64, torch.bfloat16, torch.float16, torch.complex64, torch.complex128,
)  # fmt: skip
FOREACH = pytest.mark.parametrize("foreach", [None, True, False])


def with_gradients(dtype: torch.dtype = torch.float32, *, turned: bool = False) -> list[Tensor]:
    """The zoo with a gradient each."""
    kind = dtype if dtype.is_complex else torch.float32
    params = [t.to(dtype, copy=True).requires_grad_() for t in zoo(kind)]
    for p, g in zip(params, gradients(zoo(kind), 2)[int(turned)], strict=True):
        p.grad = g.to(dtype).clone()
    return params


def grads(params: list[Tensor]) -> list[Tensor]:
    return [p.grad for p in params if p.grad is not None]


@pytest.mark.parametrize("name", ["clip_grad_norm_", "clip_grad_value_"])
def test_signatures_are_torchs(name: str) -> None:
    """Arguments, their order and defaults are torch's."""
    ours, theirs = (
        [(p.name, p.kind, p.default) for p in inspect.signature(f).parameters.values()]
        for f in (globals()[name], getattr(torch.nn.utils, name))
    )
    assert ours == theirs


@FOREACH
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("turned", [False, True])
def test_norm_is_clipped(dtype: torch.dtype, turned: bool, foreach: bool | None) -> None:
    """Every kind and layout: the norm of the exact gradients, each multiplied by the share."""
    params = with_gradients(dtype, turned=turned)
    wide = torch.complex128 if dtype.is_complex else torch.float64
    before = [g.clone().to(wide) for g in grads(params)]
    found = clip_grad_norm_(params, 1.5, foreach=foreach)
    expected = norm(before)
    assert float(found) == pytest.approx(expected, rel=1e-6)
    near = 8 * torch.finfo(dtype).eps
    for g, b in zip(grads(params), before, strict=True):
        torch.testing.assert_close(
            g, (b * (1.5 / (expected + 1e-6))).to(dtype), rtol=near, atol=near
        )


@FOREACH
@pytest.mark.parametrize("order", [1.0, 2.0, 3.0, math.inf, -math.inf, 0.5])
def test_any_order_follows_torch(order: float, foreach: bool | None) -> None:
    """For every order of norm gradients and result are torch's."""
    full = [t for t in zoo(torch.float64) if t.numel()]
    ours, theirs = ([t.clone().requires_grad_() for t in full] for _ in range(2))
    for params in (ours, theirs):
        for p, g in zip(params, gradients(tuple(full), 1)[0], strict=True):
            p.grad = g.clone()
    found = clip_grad_norm_(ours, 0.7, order, foreach=foreach)
    wanted = torch.nn.utils.clip_grad_norm_(theirs, 0.7, order)
    torch.testing.assert_close(found, wanted)
    torch.testing.assert_close(grads(ours), grads(theirs))


@FOREACH
def test_short_gradients_are_not_touched(foreach: bool | None) -> None:
    """Below the threshold nothing is written, not even the version counter."""
    params = with_gradients()
    before = [g.clone() for g in grads(params)]
    versions = [g._version for g in grads(params)]
    clip_grad_norm_(params, 1e3, foreach=foreach)
    clip_grad_norm_(params, math.inf, foreach=foreach)
    assert_same_bits(grads(params), before)
    assert [g._version for g in grads(params)] == versions


@FOREACH
@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_a_norm_that_is_not_finite_changes_nothing(value: float, foreach: bool | None) -> None:
    """Torch makes every gradient NaN; here the norm says it, or is raised as a RuntimeError."""
    params = with_gradients()
    params[3].grad[2] = value  # type: ignore[index]  # it has one
    before = [g.clone() for g in grads(params)]
    assert not math.isfinite(clip_grad_norm_(params, 1.0, foreach=foreach))
    with pytest.raises(RuntimeError, match="The total norm of order") as caught:
        clip_grad_norm_(params, 1.0, error_if_nonfinite=True, foreach=foreach)
    assert isinstance(caught.value, NonfiniteGradientError)
    for g, b in zip(grads(params), before, strict=True):
        torch.testing.assert_close(g, b, rtol=0, atol=0, equal_nan=True)


@FOREACH
def test_values_are_clamped(foreach: bool | None) -> None:
    """Every kind and layout: elements beyond the limit become it, NaN stays."""
    for dtype in DTYPES:
        params = with_gradients(dtype)
        params[3].grad[:3] = torch.tensor([math.nan, math.inf, -math.inf])  # type: ignore[index]
        before = [g.clone() for g in grads(params)]
        clip_grad_value_(params, 0.5, foreach=foreach)
        for g, b in zip(grads(params), before, strict=True):
            parts = [torch.view_as_real(x) if dtype.is_complex else x for x in (g, b)]
            torch.testing.assert_close(
                parts[0], parts[1].clamp(-0.5, 0.5), rtol=0, atol=0, equal_nan=True
            )


@FOREACH
def test_gradients_of_any_layout(foreach: bool | None) -> None:
    """Strided, conjugate, sparse and mixed gradients are clipped in place."""
    p = torch.zeros(4, 3, requires_grad=True)
    q = torch.zeros(3, dtype=torch.complex64, requires_grad=True)
    r = torch.zeros(7, 3, requires_grad=True)
    s = torch.zeros(5, dtype=torch.float64, requires_grad=True)
    base = torch.randn(8, 6)
    p.grad = base[::2, ::2]
    q.grad = torch.randn(3, dtype=torch.complex64).conj()
    r.grad = torch.sparse_coo_tensor(
        torch.tensor([[1, 4, 4]]), torch.ones(3, 3), (7, 3), check_invariants=True
    )
    s.grad = torch.randn(5, dtype=torch.float64)
    dense = [p.grad.clone(), q.grad.clone(), r.grad.to_dense(), s.grad.clone()]
    found = clip_grad_norm_([p, q, r, s], 0.5, foreach=foreach)
    assert float(found) == pytest.approx(norm(dense), rel=1e-6)
    assert found.dtype == torch.float64
    share = 0.5 / (norm(dense) + 1e-6)
    for x, d in zip((p, q, r, s), dense, strict=True):
        torch.testing.assert_close(x.grad.to_dense(), d * share)
    assert torch.equal(base[::2, ::2], p.grad)
    clip_grad_value_([p, r], 0.01, foreach=foreach)
    torch.testing.assert_close(p.grad, (dense[0] * share).clamp(-0.01, 0.01))
    torch.testing.assert_close(r.grad.to_dense(), (dense[2] * share).clamp(-0.01, 0.01))


def test_squares_do_not_overflow() -> None:
    """16-bit and float32 gradients whose squares overflow are clipped as any others."""
    for dtype, size in ((torch.float16, 300.0), (torch.float32, 1e30), (torch.bfloat16, 1e30)):
        for foreach in (None, True, False):
            p = torch.zeros(4000, dtype=dtype, requires_grad=True)
            p.grad = torch.full((4000,), size, dtype=dtype)
            exact = float(p.grad[0]) * math.sqrt(4000)
            found = clip_grad_norm_([p], exact / 2, foreach=foreach)
            assert float(found) == pytest.approx(exact, rel=1e-6)
            assert float(p.grad[0]) == pytest.approx(size / 2, rel=1e-2)


def test_same_bits_at_any_thread_count() -> None:
    """Neither the norm nor what is left depends on the number of threads."""
    make = torch.Generator().manual_seed(4)
    row = [torch.randn(n, generator=make) for n in (300_001, 17, 70_000)]
    ends = []
    for n in (1, 2, 3):
        with threads(n):
            params = [torch.zeros_like(g, requires_grad=True) for g in row]
            for p, g in zip(params, row, strict=True):
                p.grad = g.clone()
            ends.append([clip_grad_norm_(params, 1.0), *grads(params)])
    assert_same_bits(ends[1], ends[0])
    assert_same_bits(ends[2], ends[0])


def test_a_parameter_that_comes_twice_counts_once() -> None:
    """A tied weight is measured and shortened once."""
    p = torch.zeros(2, requires_grad=True)
    p.grad = torch.tensor([3.0, 4.0])
    assert clip_grad_norm_([p, p], 1.0) == 5.0
    assert float(p.grad.norm()) == pytest.approx(1.0)


def test_a_single_tensor_and_none_at_all() -> None:
    """One tensor is taken as a list of one; parameters without gradients give 0."""
    p = torch.zeros(2, requires_grad=True)
    assert clip_grad_norm_(p, 1.0) == 0.0
    assert clip_grad_norm_([], 1.0) == 0.0
    p.grad = torch.ones(2)
    clip_grad_value_(p, 0.25)
    assert p.grad.tolist() == [0.25, 0.25]


@pytest.mark.parametrize("clip", [clip_grad_norm_, clip_grad_value_])
@pytest.mark.parametrize("limit", [-1.0, math.nan, -math.inf])
def test_bad_limits_are_refused(clip: Callable[..., Any], limit: float) -> None:
    """A negative limit would turn the gradients, NaN would clip nothing in torch."""
    p = torch.zeros(2, requires_grad=True)
    p.grad = torch.ones(2)
    with pytest.raises(InputError, match="must be a number >= 0, got"):
        clip([p], limit)
    assert torch.equal(p.grad, torch.ones(2))


@pytest.mark.parametrize("clip", [clip_grad_norm_, clip_grad_value_])
def test_an_exhausted_generator_is_refused(clip: Callable[..., Any]) -> None:
    """A generator that an optimizer has read gives nothing; a fresh one is fine."""
    model = torch.nn.Linear(2, 2)
    used = model.parameters()
    torch.optim.SGD(used, lr=0.1)
    with pytest.raises(InputError, match="gave no parameters: it was used up"):
        clip(used, 1.0)
    clip(model.parameters(), 1.0)
    with pytest.raises(InputTypeError, match="must be tensors, got str"):
        clip(["weight"], 1.0)


def test_autograd_knows_that_gradients_changed() -> None:
    """A graph that needs the gradient's old value fails after it was clipped."""
    p = torch.randn(5, requires_grad=True)
    p.grad = torch.ones(5)
    p.grad.requires_grad_()
    squared = (p.grad * p.grad).sum()
    clip_grad_norm_([p], 0.1)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        squared.backward()
