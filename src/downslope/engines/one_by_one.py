"""What the buckets of engines of torch operations share: tensors read afresh each step."""

from __future__ import annotations

from collections.abc import Sequence
from operator import is_
from typing import Any

import numpy as np
import torch
from torch import Tensor

from .bucket import Bucket, Float64, State
from .clip import Treatment
from .storage import CODECS, close, noise, open_planes

__all__ = ["OneByOne"]


class OneByOne(Bucket):
    """Engines that read tensors from parameters and state afresh each step."""

    def _prepare(self) -> None:
        pass

    def accepts(
        self, params: Sequence[Tensor], grads: Sequence[Tensor], state: Sequence[State]
    ) -> bool:
        """Whether it is still right for these tensors, which it then steps next."""
        stateless = not (self.present or self.counts)
        return (
            all(map(is_, params, self.members.params))
            and (stateless or all(map(is_, state, self.members.state)))
            and all(n in s for s in state for n in self.present)
            and tuple(g.is_sparse for g in grads) == self.members.sparse
        )

    def _count(self) -> Float64:
        """Count the step in every tensor's state and return the counts."""
        if not self.counts:
            return np.zeros(len(self.groups))
        for state in self.members.state:
            state["step"] += 1
        return np.array([float(s["step"]) for s in self.members.state])

    def _treated(
        self, params: Sequence[Tensor], grads: Sequence[Tensor], treatment: Treatment
    ) -> tuple[Sequence[Tensor], Float64]:
        """Gradients, and the factor that is left to be multiplied with each."""
        if not self.members.clips:
            return grads, treatment.wholes[self.groups]
        owners = zip(self.members.groups, params, grads, strict=True)
        return [treatment.applied(*each) for each in owners], np.ones(len(grads))

    @property
    def numbers(self) -> tuple[str, ...]:
        """The slots that are one number a parameter."""
        return self.rule.numbers(self.present)

    def _planes(self, p: Tensor, state: State, name: str) -> list[Tensor]:
        """Where a compact array is kept."""
        keys = CODECS[self.codecs[name]].keys(name)
        return [p if name == "p" and k == 0 else state[key] for k, key in enumerate(keys)]

    def _opened(self, p: Tensor, state: State, name: str) -> Tensor:
        """The numbers of the parameter or of a slot."""
        if name in self.codecs:
            return open_planes(self.codecs[name], self._planes(p, state, name))
        value: Tensor = p if name == "p" else state[name]
        return value

    def _store(self, p: Tensor, state: State, name: str, new: Any) -> None:
        """Take over a new parameter or slot: in place, or into the graph where there is one."""
        codec = self.codecs.get(name)
        if codec is not None:
            planes = self._planes(p, state, name)
            random = None
            if name in self.random:
                number, step = self.random.index(name), float(state["step"])
                random = noise(step, number, planes[0].numel(), planes[0].device)
            close(codec, new, planes, random)
            return
        old = p if name == "p" else state[name]
        if not isinstance(new, Tensor):
            new = torch.full_like(old, new, requires_grad=False)
        if name != "p" and torch.is_grad_enabled():
            state[name] = new if new.requires_grad else new.to(old.dtype)
        else:
            old.copy_(new)
