"""What the buckets of compiled engines share: a program, where its arrays lie, what they hold."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence

import torch
from torch import Tensor

from .bucket import Bucket, State, elements
from .layout import adopt, dtype_name
from .program import Program
from .storage import CODECS
from .trace import trace

__all__ = ["PlannedBucket"]


class PlannedBucket(Bucket):
    """Dense tensors of one device whose kernels are given addresses."""

    torch_operations = False

    _program: Program

    def _prepare(self) -> None:
        from .plan import Plan  # imports Numba

        rule, params, state = self.rule, self.members.params, self.members.state
        flags = tuple(self.flags.items())
        self._program = trace(rule, self.present, flags, self.members.clips)
        arrays = rule.arrays(self.present)
        for p, s in zip(params, state, strict=True):
            for name in arrays:
                s[name] = adopt(s[name], p)
        self._gather_numbers()
        planes = {
            n: CODECS[self.codecs[n]].keys(n) if n in self.codecs else (n,) for n in ("p", *arrays)
        }
        others = [key for keys in planes.values() for key in keys[1:]]
        self._plan = Plan(params, state, (*arrays, *others))
        examples = {"p": params[0], "g": params[0], **{n: state[0][n] for n in arrays}}
        #: The kind of number or codec of every array, and how many numbers every tensor has.
        self._kinds = tuple(
            self.codecs.get(name, dtype_name(t.dtype.to_real())) for name, t in examples.items()
        )
        self._lengths = [elements(p) for p in params]

    @abstractmethod
    def _gather_numbers(self) -> None:
        """Make vectors of the state that is one number a tensor; the plan then notes its places."""

    @property
    def _counted(self) -> tuple[str, ...]:
        """The state that is one number a tensor."""
        return (*(("step",) if self.counts else ()), *self.rule.numbers(self.present))

    def accepts(
        self, params: Sequence[Tensor], grads: Sequence[Tensor], state: Sequence[State]
    ) -> bool:
        """Whether all lies where the plan found it; see :meth:`.plan.Plan.holds`."""
        return self._plan.holds(params, grads, state)

    def _shared(self, name: str, vector: Tensor) -> Tensor:
        """Make one number of every tensor's state a view of one vector: one operation for all."""
        for state, view in zip(self.members.state, vector.unbind(), strict=True):
            old = state[name]
            if (old.device, old.dtype, old.shape) == (view.device, view.dtype, view.shape):
                old.data = view  # the same object, so that whoever else holds it sees it count
            else:
                state[name] = view
        return vector

    def _gather(self, name: str) -> Tensor:
        """Such a vector on the host, with the numbers that the state has."""
        values = [s[name] for s in self.members.state]
        vector = torch.tensor([float(v) for v in values], dtype=values[0].dtype)
        return self._shared(name, vector)

    def _changed(self, params: Sequence[Tensor]) -> None:
        """Tell autograd: a backward through a graph that was built before the step then raises."""
        torch.autograd.graph.increment_version(params)

    def skip(self) -> None:
        """Forget a step that will not be taken, with its gradients."""
        self._plan.release()
        super().skip()
