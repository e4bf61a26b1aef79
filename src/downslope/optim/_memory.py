"""What an optimizer's training keeps in memory: foretold from its groups, and measured."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from ..engines.shards import local
from ..engines.storage import CODECS
from ..rules import Rule
from ._storage import counts, kinds_of

if TYPE_CHECKING:
    from ._optimizer import Optimizer

__all__ = ["Memory", "Usage", "memory_of"]


@dataclass(frozen=True)
class Usage:
    """Bytes, by what they are for.

    Args:
        weights: the parameters.
        gradients: all of them; the largest, where gradients are released.
        state: what is kept between steps.
        scratch: the compiled engine's tables. Engines of torch operations have temporaries of some
            times the largest parameter instead, which are not counted.
    """

    weights: int
    gradients: int
    state: int
    scratch: int

    @property
    def total(self) -> int:
        """All of it."""
        return self.weights + self.gradients + self.state + self.scratch


@dataclass(frozen=True)
class Memory:
    """The memory of an optimizer and of what it trains.

    Args:
        parameters: how many numbers are trained; of sharded ones, this rank's.
        predicted: bytes from sizes, dtypes and formats alone, once every parameter has been
            stepped.
        measured: bytes of the tensors that there are now.

    >>> import torch
    >>> from downslope.optim import AdamW
    >>> w = torch.nn.Parameter(torch.ones(1000, 1000, dtype=torch.bfloat16))
    >>> print(AdamW([w], storage="int8").memory())
    bytes a parameter   predicted  measured
    weights                 2.000     2.000
    gradients               2.000     0.000
    state                   3.063     0.000
    scratch                 0.002     0.000
    total                   7.064     2.000
    all of 1,000,000       7.1 MB    2.0 MB
    """

    parameters: int
    predicted: Usage
    measured: Usage

    @property
    def bytes_per_parameter(self) -> float:
        """The predicted total a parameter."""
        return self.predicted.total / max(self.parameters, 1)

    def __str__(self) -> str:
        count = max(self.parameters, 1)
        pairs = [
            (name, getattr(self.predicted, name) / count, getattr(self.measured, name) / count)
            for name in (*(f.name for f in fields(Usage)), "total")
        ]
        totals = (self.predicted.total, self.measured.total)
        return "\n".join(
            [
                "bytes a parameter   predicted  measured",
                *(f"{name:<20}{a:>9.3f}  {b:>8.3f}" for name, a, b in pairs),
                f"{f'all of {self.parameters:,}':<20}{_size(totals[0]):>9}{_size(totals[1]):>10}",
            ]
        )


def _size(count: int) -> str:
    for unit, size in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if count >= size:
            return f"{count / size:.1f} {unit}"
    return f"{count} B"


def memory_of(optimizer: Optimizer) -> Memory:
    """The report of an optimizer."""
    owned = [(group, p) for group in optimizer.param_groups for p in group["params"]]
    params = [local(p) for _, p in owned]
    trained = [p for p in params if p.requires_grad]
    released = optimizer._release
    gradients = [p.nbytes for p in trained]
    predicted = Usage(
        sum(p.nbytes for p in params),
        max(gradients, default=0) if released else sum(gradients),
        sum(_state_bytes(type(optimizer).__name__, optimizer.rule, g, p) for g, p in owned),
        _tables(trained),
    )
    found = [p.grad for _, p in owned if p.grad is not None]
    state = (v for s in optimizer.state.values() for v in s.values())
    buckets = released.buckets if released else [bucket for _, bucket in optimizer._buckets.placed]
    measured = Usage(
        predicted.weights,
        released.largest if released else _bytes(found),
        _bytes(v for v in state if isinstance(v, Tensor)),
        sum(_arrays(bucket) for bucket in buckets),
    )
    return Memory(sum(p.numel() for p in params), predicted, measured)


def _state_bytes(owner: str, rule: Rule, group: Mapping[str, Any], p: Tensor) -> int:
    if not p.requires_grad:
        return 0
    kinds, shard = kinds_of(owner, rule, group, p), local(p)
    number = torch.tensor(0.0).itemsize
    count = number if counts(rule, kinds) and not rule.plain_step else 0
    for slot in rule.slots:
        if not slot.present(group, p.ndim):
            continue
        if slot.scalar:
            count += 8 if slot.exact else number
        elif slot.axis is not None:
            count += shard.nbytes // max(shard.shape[slot.axis], 1)
        else:
            count += _array_bytes(kinds.get(slot.name), shard)
    if "p" in kinds:
        count += _array_bytes(kinds["p"], shard) - shard.nbytes
    return count


def _array_bytes(kind: str | None, p: Tensor) -> int:
    if kind is None:
        return p.nbytes
    if kind not in CODECS:
        dtype: torch.dtype = getattr(torch, kind)
        return p.numel() * dtype.itemsize
    return sum(-(-p.numel() // x.block) * x.dtype.itemsize for x in CODECS[kind].planes)


def _bytes(tensors: Iterable[Tensor]) -> int:
    return sum(local(t).nbytes for t in tensors)


#: What the compiled engine's tables have for a chunk of 2**15 elements, and for a tensor, in bytes.
_A_CHUNK, _A_TENSOR = 48, 256


def _tables(params: Iterable[Tensor]) -> int:
    return sum(_A_TENSOR + _A_CHUNK * -(-p.numel() // 2**15) for p in params)


def _arrays(thing: Any, depth: int = 3) -> int:
    """The bytes of all tables that a bucket holds."""
    return sum(array.nbytes for array in _found(thing, depth))


def _found(thing: Any, depth: int) -> Iterator[np.ndarray[Any, Any]]:
    for value in vars(thing).values():
        if isinstance(value, np.ndarray):
            yield value
        elif depth and type(value).__module__.startswith("downslope.engines"):
            yield from _found(value, depth - 1) if hasattr(value, "__dict__") else ()
