"""Complex, sparse and half-precision tensors, where torch's class takes them."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch

import downslope.optim

from .catalogue import CATALOGUE, TWINNED, TWINS, Entry, Variant, each, each_variant
from .harness import (
    assert_equal_state,
    assert_same,
    assert_same_bits,
    build,
    detached,
    drive,
    gradients,
    leaves,
    snapshot,
    zoo,
)

SPARSE = tuple(e for e in CATALOGUE if e.sparse)
DENSE_ONLY = tuple(e for e in TWINS if not (e.sparse or e.sparse_only))


@each(tuple(e for e in TWINS if not e.complex))
def test_complex_parameters_are_refused(entry: Entry) -> None:
    """Where torch's class takes no complex parameters, ours says so in its words."""
    for cls in (entry.torch, entry.ours):
        p = torch.ones(7, 3, dtype=torch.complex64).requires_grad_()
        p.grad = torch.ones(7, 3, dtype=torch.complex64)
        with pytest.raises((RuntimeError, ValueError), match="does not support complex parameters"):
            build(cls, [p]).step()


@each_variant(tuple(e for e in TWINNED if e.complex))
@pytest.mark.parametrize("dtype", [torch.complex64, torch.complex128], ids=["c64", "c128"])
def test_complex_follows_torch(entry: Entry, variant: Variant, dtype: torch.dtype) -> None:
    """Complex parameters and state follow torch's: real and imaginary parts step apart."""
    ours, theirs = leaves(zoo(dtype)), leaves(zoo(dtype))
    subject = build(entry.ours, ours, variant.kwargs)
    twin = build(entry.torch, theirs, variant.kwargs, {"foreach": False})
    for optimizer in (subject, twin):
        drive(optimizer, gradients(zoo(dtype), 4))
    assert_same(ours, theirs)
    assert_equal_state(snapshot(subject), snapshot(twin))


@pytest.fixture(autouse=True)
def _checked_sparse_tensors() -> Iterator[None]:
    """Torch warns of sparse tensors whose checks were neither switched on nor off."""
    with torch.sparse.check_sparse_tensor_invariants(enable=True):
        yield


def sparse_rows(steps: int) -> list[torch.Tensor]:
    """Gradients with a few rows of a (7, 3) table, one of them named twice."""
    make = torch.Generator().manual_seed(3)
    return [
        torch.sparse_coo_tensor(
            torch.tensor([[0, step % 7, 4, 4]]), torch.randn(4, 3, generator=make), (7, 3)
        )
        for step in range(steps)
    ]


@each_variant(SPARSE)
def test_sparse_gradients_follow_torch(entry: Entry, variant: Variant) -> None:
    """Uncoalesced sparse gradients step as in torch; where torch fails, as dense ones or not."""
    ours = sparse_end(entry.ours, variant)
    theirs = sparse_end(entry.torch, variant)
    if theirs is not None:
        assert ours is not None
        assert_same([ours], [theirs])
    elif ours is not None:
        dense = torch.ones(7, 3).requires_grad_()
        rows = [[g.to_dense()] for g in sparse_rows(6)]
        drive(build(entry.ours, [dense], variant.kwargs), rows)
        assert_same([ours], [dense])


def sparse_end(cls: type[torch.optim.Optimizer], variant: Variant) -> torch.Tensor | None:
    """Where sparse gradients take a table; None if the step refuses them."""
    p = torch.ones(7, 3).requires_grad_()
    optimizer = build(cls, [p], variant.kwargs, {"foreach": False})
    for g in sparse_rows(6):
        p.grad = g
        try:
            optimizer.step()
        except RuntimeError:
            return None
    return p


@each(DENSE_ONLY)
def test_sparse_gradients_are_refused(entry: Entry) -> None:
    """Where torch's class refuses sparse gradients, ours does so in its words."""
    for cls in (entry.ours, entry.torch):
        p = torch.ones(7, 3).requires_grad_()
        p.grad = sparse_rows(1)[0]
        with pytest.raises(RuntimeError, match="does not support sparse gradients"):
            build(cls, [p]).step()


@each(SPARSE)
def test_sparse_and_dense_in_one_group(entry: Entry) -> None:
    """A sparse gradient beside dense ones in one group changes nothing for the dense ones."""
    both, dense = leaves(zoo()), leaves(zoo())
    table = torch.ones(7, 3).requires_grad_()
    optimizer = build(entry.ours, [*both, table])
    for row, g in zip(gradients(zoo(), 4), sparse_rows(4), strict=True):
        drive(optimizer, [[*row, g]])
    drive(build(entry.ours, dense), gradients(zoo(), 4))
    assert_same_bits(detached(both), detached(dense))
    assert (table != 1).any()


def test_sparse_adam_refuses_dense_gradients() -> None:
    """SparseAdam says in torch's words that Adam is for dense gradients."""
    for cls in (torch.optim.SparseAdam, downslope.optim.SparseAdam):
        p = torch.ones(7, 3).requires_grad_()
        p.grad = torch.ones(7, 3)
        with pytest.raises(RuntimeError, match="does not support dense gradients, please consider"):
            cls([p]).step()


def test_sparse_adam_leaves_unnamed_rows_alone() -> None:
    """Rows that no gradient names keep value and moments; named twice, a row steps by the sum."""
    ours, theirs = (torch.ones(7, 3).requires_grad_() for _ in range(2))
    subject = downslope.optim.SparseAdam([ours], lr=0.1)
    twin = torch.optim.SparseAdam([theirs], lr=0.1)
    named = torch.zeros(7, dtype=torch.bool)
    for g in sparse_rows(3):
        ours.grad = theirs.grad = g
        named[g.coalesce().indices()[0]] = True
        subject.step()
        twin.step()
    assert_same([ours], [theirs])
    assert_equal_state(snapshot(subject), snapshot(twin))
    assert torch.equal(ours.detach()[~named], torch.ones(int((~named).sum()), 3))
    assert not subject.state[ours]["exp_avg"][~named].any()


@pytest.mark.parametrize("shape", [(6, 4), (4, 6)])
def test_sparse_adam_on_a_transposed_table(shape: tuple[int, int]) -> None:
    """A table that is a transposed view steps as a contiguous one does (torch's class raises)."""
    turned = torch.ones(shape).t().requires_grad_()
    plain = torch.ones(shape[::-1]).requires_grad_()
    for p in (turned, plain):
        optimizer = downslope.optim.SparseAdam([p], lr=0.1)
        p.grad = torch.eye(*p.shape).to_sparse(1)
        optimizer.step()
    assert_same_bits([turned.detach()], [plain.detach()])


@each(TWINNED)
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=["bf16", "fp16"])
def test_half_precision_follows_torch(entry: Entry, dtype: torch.dtype) -> None:
    """16-bit parameters step, to two of their units, as torch's for-loop does."""
    start = [torch.randn(40, generator=torch.Generator().manual_seed(4)).to(dtype)]
    rows = [
        [torch.randn(40, generator=torch.Generator().manual_seed(s)).to(dtype)] for s in range(5)
    ]
    kwargs = {"eps": 1e-3} if "eps" in entry.ranges else {}  # torch's default eps is 0 in fp16
    ends = []
    for cls in (entry.ours, entry.torch):
        params = leaves(start)
        drive(build(cls, params, kwargs, {"lr": 0.1, "foreach": False}), rows)
        ends.append(params[0].detach())
    near = 5 * torch.finfo(dtype).eps
    torch.testing.assert_close(*ends, rtol=near, atol=near)


@each(tuple(e for e in TWINNED if e.capturable))
def test_capturable_changes_nothing_on_the_cpu(entry: Entry) -> None:
    """``capturable=True`` is for accelerators; on the CPU, where torch's step fails, it is idle."""
    plain, capturable = leaves(zoo()), leaves(zoo())
    drive(build(entry.ours, plain), gradients(zoo(), 3))
    drive(build(entry.ours, capturable, {"capturable": True}), gradients(zoo(), 3))
    assert_same_bits(detached(capturable), detached(plain))
