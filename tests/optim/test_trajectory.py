"""Twenty steps beside torch.optim and beside a float64 oracle, over a zoo of tensors."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from .catalogue import (
    DRIVEN,
    TWINNED,
    TWINS,
    Entry,
    Variant,
    each,
    each_implementation,
    each_variant,
)
from .harness import (
    DTYPES,
    assert_equal_state,
    assert_same,
    assert_same_bits,
    build,
    detached,
    drive,
    follow_oracle,
    in_full_precision,
    leaves,
    oracle_end,
    rows_of,
    snapshot,
    start_of,
    tensors,
    torch_end,
)

each_dtype = pytest.mark.parametrize("dtype", DTYPES, ids=["float32", "float64"])


def each_way(entries: tuple[Entry, ...], without: tuple[str, ...] = ()) -> pytest.MarkDecorator:
    """Every optimizer, variant and implementation: ``entry``, ``variant`` and ``flags``."""
    rows = [
        pytest.param(e, v, flags, id=f"{e.name}-{v.name}-{name}")
        for e in entries
        for v in e.variants
        for name, flags in e.implementations().items()
        if name not in without
    ]
    return pytest.mark.parametrize(("entry", "variant", "flags"), rows)


@each_dtype
@each_way(TWINS, without=("for-loop",))  # see the next test
def test_follows_torch(
    entry: Entry, variant: Variant, flags: dict[str, Any], dtype: torch.dtype
) -> None:
    """Whichever implementation is asked for, parameters and state go where torch's go."""
    start = start_of(entry, dtype)
    params = leaves(start, flags)
    optimizer = build(entry.ours, params, variant.kwargs, flags)
    drive(optimizer, rows_of(entry, start))
    expected, state = torch_end(entry, variant, dtype)
    assert_same(params, expected, entry.slack)
    assert_equal_state(snapshot(optimizer), state)


@each_dtype
@each_variant(tuple(e for e in TWINNED if e.one_by_one))
def test_for_loop_has_torchs_bits(entry: Entry, variant: Variant, dtype: torch.dtype) -> None:
    """With ``foreach=False`` every bit of parameters and state is torch's for-loop's."""
    start = start_of(entry, dtype)
    params = leaves(start)
    optimizer = build(entry.ours, params, variant.kwargs, {"foreach": False})
    drive(optimizer, rows_of(entry, start))
    expected, state = torch_end(entry, variant, dtype)
    assert_same_bits(detached(params), detached(expected))
    assert_same_bits(tensors(snapshot(optimizer)), tensors(state))


@each_dtype
@each_way(tuple(e for e in DRIVEN if not e.twinned))
def test_follows_the_oracle_where_torch_has_no_class(
    entry: Entry, variant: Variant, flags: dict[str, Any], dtype: torch.dtype
) -> None:
    """Whichever implementation is asked for, the parameters go where the oracle goes."""
    start = start_of(entry, dtype)
    params = leaves(start, flags)
    drive(build(entry.ours, params, variant.kwargs, flags), rows_of(entry, start))
    assert_same(params, [e.to(dtype) for e in oracle_end(entry, variant)[0]])


@each_variant(DRIVEN)
def test_float64_equals_the_oracle(entry: Entry, variant: Variant) -> None:
    """In float64 parameters and state are where the paper's formula puts them, to 1e-12."""
    start = start_of(entry, torch.float64)
    params = leaves(start)
    optimizer = build(entry.ours, params, variant.kwargs)
    with in_full_precision():
        drive(optimizer, rows_of(entry, start))
    for p, end, state in zip(params, *oracle_end(entry, variant), strict=True):
        torch.testing.assert_close(p.detach(), end, rtol=1e-12, atol=1e-12)
        kept = optimizer.state[p]
        assert kept.keys() == state.keys()
        for key, value in state.items():
            got = torch.as_tensor(kept[key])
            wanted = torch.as_tensor(value, dtype=got.dtype)
            torch.testing.assert_close(got, wanted, rtol=1e-12, atol=1e-12)


@each_variant(DRIVEN)
def test_float32_error_is_small(entry: Entry, variant: Variant) -> None:
    """The float32 rounding error is at most 1.1 times torch's, or a unit a step without a twin."""
    expected, _ = oracle_end(entry, variant)
    start = start_of(entry)
    params = leaves(start)
    drive(build(entry.ours, params, variant.kwargs), rows_of(entry, start))
    if not entry.twinned:
        assert_same(params, [e.float() for e in expected])
        return
    theirs, _ = torch_end(entry, variant, torch.float32)
    assert _error(params, expected) <= 1.1 * _error(theirs, expected)


def _error(params: list[Tensor], exact: list[Tensor]) -> float:
    """Root mean square over all elements."""
    gaps = [(p.detach().double() - e).flatten() for p, e in zip(params, exact, strict=True)]
    return torch.cat(gaps).square().mean().sqrt().item()


@each(DRIVEN)
@settings(max_examples=20, deadline=None, derandomize=True, database=None)
@given(data=st.data())
def test_any_hyperparameters_and_shape(entry: Entry, data: st.DataObject) -> None:
    """Whatever the hyperparameters and the shape, float64 equals the oracle to 1e-11."""
    kwargs = data.draw(st.fixed_dictionaries({}, optional=dict(entry.ranges)), label="arguments")
    shape = data.draw(entry.shapes, label="shape")
    steps = data.draw(st.integers(1, 6), label="steps")
    start = (torch.randn(shape, generator=torch.Generator().manual_seed(2)).double(),)
    rows = rows_of(entry, start, steps)
    params = leaves(start)
    with in_full_precision():
        drive(build(entry.ours, params, kwargs), rows)
    (expected,), _ = follow_oracle(entry, start, rows, kwargs)
    torch.testing.assert_close(params[0].detach(), expected, rtol=1e-11, atol=1e-11)


@each_implementation(DRIVEN)
def test_gradients_are_only_read(entry: Entry, flags: dict[str, Any]) -> None:
    """No step writes to a gradient (torch's foreach Nesterov does)."""
    for variant in entry.variants:
        start = start_of(entry)
        params = leaves(start, flags)
        optimizer = build(entry.ours, params, variant.kwargs, flags)
        for row in rows_of(entry, start, 2):
            for p, g in zip(params, row, strict=True):
                p.grad = g.clone()
            optimizer.step()
            assert_same_bits((_dense(p.grad) for p in params), map(_dense, row))


def _dense(gradient: Tensor | None) -> Tensor:
    assert gradient is not None
    return gradient.to_dense() if gradient.is_sparse else gradient


@each_dtype
@each(DRIVEN)
def test_parameter_without_gradient_stays(entry: Entry, dtype: torch.dtype) -> None:
    """A parameter without a gradient is neither moved nor given a step count."""
    start = start_of(entry, dtype)
    params = leaves(start)
    optimizer = build(entry.ours, params)
    absent = 1
    drive(optimizer, [(*r[:absent], None, *r[absent + 1 :]) for r in rows_of(entry, start, 3)])
    assert_same_bits([params[absent].detach()], [start[absent]])
    assert optimizer.state[params[absent]].get("step", 0) == 0


@each_variant(TWINS)
def test_late_gradient_starts_its_own_count(entry: Entry, variant: Variant) -> None:
    """A parameter whose gradient first comes at step 4 is then at its first step, as in torch."""
    start = start_of(entry, torch.float64)
    late = [
        [None if i % 3 == 0 and step < 3 else g for i, g in enumerate(row)]
        for step, row in enumerate(rows_of(entry, start, 6))
    ]
    ours, theirs = leaves(start), leaves(start)
    drive(build(entry.ours, ours, variant.kwargs), late)
    drive(build(entry.torch, theirs, variant.kwargs), late)
    assert_same(ours, theirs, entry.slack)


@each(TWINS)
def test_groups_with_their_own_hyperparameters(entry: Entry) -> None:
    """One step serves groups that differ in every hyperparameter and flag."""
    start = start_of(entry, torch.float64)
    # Torch's Adagrad ignores a group's own initial_accumulator_value.
    mine = [v for v in entry.variants if "initial_accumulator_value" not in v.kwargs]
    variants = sorted(mine, key=lambda v: -len(v.kwargs))

    def groups(params: list[Tensor]) -> list[dict[str, Any]]:
        return [{"params": [p], **v.kwargs} for p, v in zip(params, variants, strict=False)]

    ours, theirs = (build(c, groups(leaves(start))) for c in (entry.ours, entry.torch))
    for optimizer in (ours, theirs):
        count = len(optimizer.param_groups)
        drive(optimizer, [row[:count] for row in rows_of(entry, start)])
    assert_same(*([g["params"][0] for g in o.param_groups] for o in (ours, theirs)), entry.slack)


@each(DRIVEN)
def test_mixed_dtypes_in_one_group(entry: Entry) -> None:
    """float32 and float64 parameters in one group step as they would apart, bit for bit."""
    both = (*start_of(entry, torch.float32), *start_of(entry, torch.float64))
    rows = rows_of(entry, both, 5)
    together, apart = leaves(both), leaves(both)
    drive(build(entry.ours, together), rows)
    half = len(both) // 2
    for part in (slice(0, half), slice(half, None)):
        drive(build(entry.ours, apart[part]), [row[part] for row in rows])
    assert_same_bits(detached(together), detached(apart))
