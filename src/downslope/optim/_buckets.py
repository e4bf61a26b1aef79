"""The buckets of an optimizer's tensors: made anew only when those of the last step do not fit."""

from __future__ import annotations

import itertools
import warnings
from collections.abc import Mapping, Sequence
from operator import is_
from typing import Any

from torch import Tensor

from ..engines import together
from ..engines.bucket import Bucket, Table
from ..engines.clip import Treatment
from ..errors import EngineError
from ..rules import Rule
from ._clipping import pick
from ._placement import level, make_buckets, shared_state

__all__ = ["Buckets"]

#: An optimizer's state, by parameter.
States = Mapping[Tensor, dict[str, Any]]


class Buckets:
    """Which engine steps which tensors.

    Args:
        owner: the optimizer's name, for errors.
        rule: its rule.
        scheduled: whether it has schedules, which are the host's: it must know if they go on.
    """

    def __init__(self, owner: str, rule: Rule, *, scheduled: bool) -> None:
        self._owner, self._rule, self._scheduled = owner, rule, scheduled
        #: Each with the positions of its tensors among those that have gradients.
        self.placed: list[tuple[list[int], Bucket]] = []
        self._used: list[bool] = []
        #: Whether some step by torch's operations, so that autograd's mode matters.
        self.torch_operations = False
        #: Whether the device counts all steps, and the host need not know of any.
        self.counts_on_device = False

    def drop(self) -> None:
        """Forget them: what they depend on changed."""
        self.placed, self._used = [], []

    def fit(
        self,
        params: Sequence[Tensor],
        grads: Sequence[Any],
        used: list[bool],
        groups: Sequence[Mapping[str, Any]],
        states: States,
    ) -> None:
        """See that they are right for the tensors of this step: make them anew if they are not.

        Args:
            params: those that have gradients.
            grads: their gradients.
            used: of all parameters, whether it has one.
            groups: all groups.
            states: the optimizer's state; missing entries are made.
        """
        if used == self._used and self._accepted(params, grads, states):
            return
        if not params:
            warnings.warn(
                f"{self._owner}.step(): no parameter has a gradient, so nothing was "
                "updated. Call loss.backward() first, and see that requires_grad is True.",
                stacklevel=5,
            )
        owners = [(n, g) for n, g in enumerate(groups) for _ in g["params"]]
        members = [
            (number, group, p, g)
            for (number, group), p, g in zip(
                itertools.compress(owners, used), params, grads, strict=True
            )
        ]
        known = shared_state(self._rule, states)
        self.placed = make_buckets(self._owner, self._rule, members, states)
        level(self._rule, states.values(), known)
        buckets = [bucket for _, bucket in self.placed]
        self.torch_operations = any(bucket.torch_operations for bucket in buckets)
        self.counts_on_device = not self._scheduled and all(b.counts_on_device for b in buckets)
        self._used = used
        if not self._accepted(params, grads, states):
            raise EngineError(
                f"{self._owner}: parameters or state changed while a step was prepared; "
                "is another thread changing them?"
            )

    def _accepted(self, params: Sequence[Tensor], grads: Sequence[Any], states: States) -> bool:
        """Whether every bucket is right for these tensors, which it then steps next."""
        if len(states) == len(params) and all(map(is_, states, params)):
            own = list(states.values())
        else:
            own = [states.get(p, _NO_STATE) for p in params]
        for at, bucket in self.placed:  # a generator would cost as much as a small bucket's check
            if not bucket.accepts(pick(params, at), pick(grads, at), pick(own, at)):
                return False
        return True

    def step(
        self,
        params: Sequence[Tensor],
        grads: Sequence[Any],
        table: Table,
        treatment: Treatment,
    ) -> None:
        """Step once, in all engines."""
        together.run(
            [
                bucket.step(pick(params, at), pick(grads, at), table, treatment)
                for at, bucket in self.placed
            ]
        )

    def undo(self, params: Sequence[Tensor], states: dict[Tensor, dict[str, Any]]) -> None:
        """Nothing of this step may reach parameters or state: forget what was prepared for it."""
        for _, bucket in self.placed:
            bucket.skip()
        for p in params:
            if p in states and not states[p]:
                del states[p]
        self.drop()


_NO_STATE: dict[str, Any] = {}
