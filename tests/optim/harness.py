"""What the optimizer tests share: a zoo of tensors, gradients, driving, and what "equal" means."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cache
from typing import Any
from unittest.mock import patch

import numpy as np
import torch
from torch import Tensor
from torch.utils._pytree import tree_map_only

from downslope.engines.matrix import calls, library

from . import oracles
from .catalogue import Entry, Variant

__all__ = [
    "DTYPES",
    "STEPS",
    "TOLERANCE",
    "assert_equal_state",
    "assert_same",
    "assert_same_bits",
    "build",
    "detached",
    "drive",
    "follow_oracle",
    "gradients",
    "in_full_precision",
    "leaves",
    "oracle_end",
    "quadratic",
    "rows_of",
    "snapshot",
    "start_of",
    "tensors",
    "torch_end",
    "zoo",
]

DTYPES = (torch.float32, torch.float64)
STEPS = 20

#: How far two correct implementations may drift apart in STEPS steps: one unit in the last place a
#: step, of numbers of size 1, which is the size of everything in the zoo.
TOLERANCE = {dtype: STEPS * torch.finfo(dtype).eps for dtype in DTYPES}
TOLERANCE |= {torch.complex64: TOLERANCE[torch.float32], torch.complex128: TOLERANCE[torch.float64]}

_LONG = 1031  # no multiple of any vector's or block's length


@cache
def zoo(dtype: torch.dtype = torch.float32, seed: int = 0) -> tuple[Tensor, ...]:
    """Tensors of every awkward dense kind: scalar, empty, odd, transposed, channels last.

    Only read them: they are shared between tests.
    """
    make = torch.Generator().manual_seed(seed)

    def draw(*shape: int) -> Tensor:
        return torch.randn(shape, generator=make, dtype=_drawn(dtype)).to(dtype)

    return (
        draw(),
        draw(1),
        draw(0, 3),
        draw(7),
        draw(13, 5),
        draw(9, 4).t(),
        draw(2, 3, 4, 5).contiguous(memory_format=torch.channels_last),
        draw(_LONG),
    )


def _drawn(dtype: torch.dtype) -> torch.dtype:
    """Numbers are drawn in single precision, so that every precision starts from the same ones."""
    return torch.complex64 if dtype.is_complex else torch.float32


@cache
def gradients(
    tensors: tuple[Tensor, ...], steps: int = STEPS, seed: int = 1
) -> tuple[tuple[Tensor, ...], ...]:
    """A gradient for every step and tensor, about a tenth of its elements zero.

    Every other step the gradients are contiguous, whatever the layout of their parameters. Only
    read them: they are shared between tests.
    """
    make = torch.Generator().manual_seed(seed)

    def draw(t: Tensor, step: int) -> Tensor:
        g = torch.randn(t.shape, generator=make, dtype=_drawn(t.dtype))
        g *= torch.rand(t.shape, generator=make) > 0.1
        return g.to(t.dtype) if step % 2 else torch.empty_like(t.detach()).copy_(g)

    return tuple(tuple(draw(t, step) for t in tensors) for step in range(steps))


def start_of(entry: Entry, dtype: torch.dtype = torch.float32) -> tuple[Tensor, ...]:
    """Those tensors of the zoo that an optimizer takes."""
    return tuple(t for t in zoo(dtype) if entry.takes(t))


@cache
def rows_of(
    entry: Entry, tensors: tuple[Tensor, ...], steps: int = STEPS
) -> tuple[tuple[Tensor, ...], ...]:
    """Gradients for every step and tensor, in the form that an optimizer takes: see gradients."""
    rows = gradients(tensors, steps)
    if not entry.sparse_only:
        return rows
    with torch.sparse.check_sparse_tensor_invariants(enable=True):
        return tuple(tuple(g.to_sparse() for g in row) for row in rows)


def leaves(tensors: Iterable[Tensor], flags: Mapping[str, Any] | None = None) -> list[Tensor]:
    """Fresh parameters with these values and layouts; no leaves where the step is differentiated.

    An in-place step on a leaf inside autograd is an error, in torch as here.
    """
    copies = [_same_layout(t.detach()).requires_grad_() for t in tensors]
    return [c.clone() for c in copies] if flags and flags.get("differentiable") else copies


def _same_layout(t: Tensor) -> Tensor:
    """A copy with the same strides, gaps included."""
    if t.numel() == 0:
        return t.clone()
    span = 1 + sum((n - 1) * s for n, s in zip(t.shape, t.stride(), strict=True))
    return t.new_zeros(span).as_strided(t.shape, t.stride()).copy_(t)


def build(
    cls: type[torch.optim.Optimizer], params: Any, *kwargs: Mapping[str, Any]
) -> torch.optim.Optimizer:
    """An optimizer; its arguments are copied, so that no test sees another's tensor lr."""
    return cls(params, **{k: copy.deepcopy(v) for row in kwargs for k, v in row.items()})


def drive(
    optimizer: torch.optim.Optimizer,
    rows: Iterable[Sequence[Tensor | None]],
    before: Callable[[int], object] | None = None,
) -> None:
    """Take one step for each row of gradients; ``before(i)`` runs just before the i-th."""
    params = [p for group in optimizer.param_groups for p in group["params"]]
    for i, row in enumerate(rows):
        for p, g in zip(params, row, strict=True):
            p.grad = None if g is None else g.clone()  # torch's foreach SGD writes to gradients
        if before is not None:
            before(i)
        optimizer.step()


def snapshot(optimizer: torch.optim.Optimizer) -> dict[str, Any]:
    """A copy of the state dict, whose tensors would otherwise be the live ones."""
    return tree_map_only(Tensor, lambda t: t.detach().clone(), optimizer.state_dict())


def detached(params: Iterable[Tensor]) -> list[Tensor]:
    """The parameters' values, outside autograd."""
    return [p.detach() for p in params]


def tensors(state_dict: Mapping[str, Any]) -> list[Tensor]:
    """Every tensor of a state dict's state; a plain number as a tensor."""
    values = (v for slots in state_dict["state"].values() for v in slots.values())
    return [v if isinstance(v, Tensor) else torch.tensor(v) for v in values]


def assert_same(actual: Iterable[Tensor], expected: Iterable[Tensor], slack: float = 0.0) -> None:
    """The tensors agree to the tolerance of their dtype; ``slack`` is added to it."""
    for i, (a, e) in enumerate(zip(actual, expected, strict=True)):
        near = TOLERANCE[e.dtype]
        torch.testing.assert_close(
            a.detach(),
            e.detach(),
            rtol=near,
            atol=near + slack,
            msg=lambda m, i=i: f"tensor {i}: {m}",
        )


@contextmanager
def in_full_precision() -> Iterator[None]:
    """Matrix rules do not round to bfloat16."""
    with patch.object(library, "NARROW", torch.float64):
        calls.calls.cache_clear()
        yield
    calls.calls.cache_clear()


def assert_same_bits(actual: Iterable[Tensor], expected: Iterable[Tensor]) -> None:
    """The tensors are equal in every bit."""
    for i, (a, e) in enumerate(zip(actual, expected, strict=True)):
        assert a.dtype == e.dtype, f"tensor {i}: {a.dtype} is not {e.dtype}"
        assert torch.equal(a, e), f"tensor {i} differs by {(a - e).abs().max()}"


def assert_equal_state(actual: Mapping[str, Any], expected: Mapping[str, Any]) -> None:
    """Two state dicts have the same keys, and values that agree in dtype, shape and number."""
    assert actual["state"].keys() == expected["state"].keys()
    for index, wanted in expected["state"].items():
        kept = actual["state"][index]
        assert kept.keys() == wanted.keys(), f"state of parameter {index}"
        for key, value in wanted.items():
            assert isinstance(kept[key], type(value)), f"{key} of parameter {index}"
            if isinstance(value, Tensor):
                assert_same([kept[key]], [value])
            else:
                assert kept[key] == value, f"{key} of parameter {index}"


def follow_oracle(
    entry: Entry,
    start: Sequence[Tensor],
    rows: Sequence[Sequence[Tensor]],
    kwargs: Mapping[str, Any],
) -> tuple[list[Tensor], list[dict[str, Any]]]:
    """Where the float64 oracle goes from ``start``: the parameters, and each one's state."""
    hyper = {k: v.item() if isinstance(v, Tensor) else v for k, v in kwargs.items()}
    arrays = [_array(p) for p in start]
    columns = [[_array(row[i]) for row in rows] for i in range(len(start))]
    if entry.joint:
        all_rows = list(map(list, zip(*columns, strict=True)))
        found, state = oracles.follow_jointly(entry.oracle, arrays, all_rows, **hyper)
        reached = [
            (end, {k: v[i] if isinstance(v, list) else v for k, v in state.items()})
            for i, end in enumerate(found)
        ]
    else:
        reached = [
            oracles.follow(entry.oracle, p, column, **hyper)
            for p, column in zip(arrays, columns, strict=True)
        ]
    ends = [torch.from_numpy(np.asarray(end)) for end, _ in reached]
    states = [{k: v for k, v in state.items() if not k.startswith("_")} for _, state in reached]
    return ends, states


def _array(t: Tensor) -> oracles.Array:
    t = t.detach()
    return (t.to_dense() if t.is_sparse else t).numpy().astype(np.float64)


@cache
def oracle_end(entry: Entry, variant: Variant) -> tuple[list[Tensor], list[dict[str, Any]]]:
    """Where the oracle takes the zoo."""
    start = start_of(entry)
    return follow_oracle(entry, start, rows_of(entry, start), variant.kwargs)


@cache
def torch_end(
    entry: Entry, variant: Variant, dtype: torch.dtype
) -> tuple[list[Tensor], dict[str, Any]]:
    """Where torch's for-loop takes the zoo: the parameters and the state dict.

    Its fused kernels cannot be the reference: they read a gradient in the parameter's layout,
    whatever its own.
    """
    start = start_of(entry, dtype)
    params = leaves(start)
    twin = build(entry.torch, params, variant.kwargs, entry.one_by_one)
    drive(twin, rows_of(entry, start))
    return params, snapshot(twin)


def quadratic(params: Iterable[Tensor]) -> Tensor:
    """A loss with a gradient everywhere: the sum of squares around 0.3."""
    return torch.stack([((p - 0.3).abs() ** 2).sum() for p in params]).sum()
