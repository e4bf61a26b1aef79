"""DTensors (FSDP2, tensor parallelism): every rank steps its own shard, without dispatch.

An elementwise rule needs nothing of the other ranks, so the compiled engine gets the local tensors
of parameters, gradients and slots. Going through a DTensor's own operations costs about 0.1 ms each
time, which for many small shards is all of the step.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import replace
from operator import attrgetter, is_
from typing import Any

import torch
from torch import Tensor

from .bucket import Measures, State
from .clip import Treatment
from .planned import PlannedBucket

__all__ = ["Shards", "distributed", "is_sharded", "local"]

_local = attrgetter("_local_tensor")
_spec = attrgetter("_spec")


def is_sharded(tensor: Tensor) -> bool:
    """Whether a tensor is a DTensor; the module that has them is not imported for the question."""
    module = sys.modules.get("torch.distributed.tensor")
    return module is not None and isinstance(tensor, module.DTensor)


def local(tensor: Any) -> Any:
    """This rank's part of a DTensor; anything else is returned as it is."""
    return _local(tensor) if isinstance(tensor, Tensor) and is_sharded(tensor) else tensor


class Shards(PlannedBucket):
    """What makes a compiled engine's bucket one of local shards; to be the first of its bases."""

    def _prepare(self) -> None:
        whole = self.members
        self._whole = whole
        states = tuple({k: local(v) for k, v in s.items()} for s in whole.state)
        self.members = replace(whole, params=tuple(map(_local, whole.params)), state=states)
        super()._prepare()
        for p, own, shards in zip(whole.params, whole.state, states, strict=True):
            for name, shard in shards.items():
                if local(own[name]) is not shard:  # laid out anew, or a view of all step counts
                    own[name] = distributed(shard, p) if is_sharded(own[name]) else shard
        self._specs = list(map(_spec, whole.params))
        self._values = [v for s in whole.state for v in s.values()]
        self._slots = [v for v in self._values if isinstance(v, Tensor) and is_sharded(v)]
        self._shards = list(map(_local, self._slots))

    def accepts(  # noqa: D102  # as Bucket's
        self, params: Sequence[Tensor], grads: Sequence[Tensor], state: Sequence[State]
    ) -> bool:
        values = [v for s in state for v in s.values()]
        if not (
            all(map(is_, params, self._whole.params))
            and len(values) == len(self._values)
            and all(map(is_, values, self._values))
            and all(map(is_, map(_local, self._slots), self._shards))
        ):
            return False
        return super().accepts(
            list(map(_local, params)), self._local_gradients(params, grads), self.members.state
        )

    def _local_gradients(self, params: Sequence[Tensor], grads: Sequence[Tensor]) -> list[Tensor]:
        """This rank's part of every gradient, distributed as its parameter."""
        if all(map(is_sharded, grads)) and all(map(is_, map(_spec, grads), self._specs)):
            return list(map(_local, grads))
        return [_like(g, p) for g, p in zip(grads, params, strict=True)]

    def measure(  # noqa: D102  # as Bucket's
        self, params: Sequence[Tensor], grads: Sequence[Tensor], treatment: Treatment
    ) -> Measures:
        raw, limited = super().measure(params, grads, treatment)
        both = torch.cat([torch.as_tensor(s, dtype=torch.float64) for s in (raw, limited)])
        sums: Any = _over_ranks(both, [*self._specs, *self._specs])
        if not isinstance(raw, Tensor):
            sums = sums.tolist()
        return sums[: len(raw)], sums[len(raw) :]

    def _changed(self, params: Sequence[Tensor]) -> None:
        super()._changed(self.members.params)
        super()._changed(params)

    def skip(self) -> None:  # noqa: D102  # as Bucket's
        super().skip()
        if self.untouched:
            self._whole.take_away()


def _over_ranks(sums: Tensor, specs: Sequence[Any]) -> Tensor:
    """Sums over all shards, from those over this rank's: one collective for each way of sharding.

    Args:
        sums: this rank's, one a tensor; overwritten.
        specs: how each tensor is distributed.
    """
    sharded: dict[tuple[Any, int], list[int]] = {}
    for k, spec in enumerate(specs):
        for dim, placement in enumerate(spec.placements):
            if placement.is_shard():
                sharded.setdefault((spec.mesh, dim), []).append(k)
    for (mesh, dim), at in sharded.items():
        part = sums[at]
        torch.distributed.all_reduce(part, group=mesh.get_group(dim))
        sums[at] = part
    return sums


def distributed(shard: Tensor, like: Any, shape: tuple[int, ...] | None = None) -> Tensor:
    """The DTensor of which a tensor is this rank's part.

    Args:
        shard: contiguous where a shape is given.
        like: a DTensor that is distributed in the same way.
        shape: of the whole; None: as ``like``'s.
    """
    from torch.distributed.tensor import DTensor

    size, stride = (like.shape, like.stride()) if shape is None else (shape, (shape[-1], 1))
    return DTensor.from_local(
        shard, like.device_mesh, like.placements, shape=torch.Size(size), stride=stride
    )


def _like(gradient: Any, param: Any) -> Tensor:
    """The local part of a gradient that may be distributed otherwise, or not yet be summed."""
    if not is_sharded(gradient):
        raise RuntimeError(
            f"a parameter is a DTensor, its gradient a {type(gradient).__name__}: set .grad to a "
            "DTensor of the same mesh and placements"
        )
    if gradient.placements != param.placements:
        gradient = gradient.redistribute(param.device_mesh, param.placements)
    shard: Any = _local(gradient)
    # A collective that is still running gives a tensor to wait for.
    waited: Tensor = shard.wait() if hasattr(shard, "wait") else shard
    return waited
