"""The buckets of engines that call the rule on each tensor: the judges of all others."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from . import eager
from .bucket import State, Table, elements, float_or_tensor
from .clip import Treatment
from .one_by_one import OneByOne
from .together import Exchange, Turns
from .trace import trace

__all__ = ["EagerBucket", "TensorScalarBucket"]

Inputs = tuple[dict[str, Any], dict[str, Any]]


class _Called(OneByOne):
    """Engines that call the rule on each tensor, and so once more for each turn."""

    def _totals(self, inputs: Callable[[int], Inputs]) -> Exchange:
        """The formula's sums over all tensors, of which those here know their shares.

        Args:
            inputs: the arrays and scalars of the k-th tensor.
        """
        known: dict[int, Any] = {}
        for step in trace(self.rule, self.present, tuple(self.flags.items())).passes:
            calls = [t.call for t in step.totals if t.call is not None]
            if calls:
                each = [
                    eager.shares(self.rule, *inputs(k), self.flags, known)
                    for k in range(len(self.groups))
                ]
                sums = yield {c: [float_or_tensor(shares[c]) for shares in each] for c in calls}
                known.update(sums)
        return known

    def _values(self, p: Tensor, g: Tensor, state: State) -> dict[str, Any]:
        """The formula's arrays, and those of its numbers that are kept as tensors."""
        slots = {
            s.name: self._opened(p, state, s.name) if s.name in self.present else None
            for s in self.rule.slots
        }
        values: dict[str, Any] = {"p": self._opened(p, state, "p"), "g": g, **slots}
        arrays = [values[n] for n in ("p", *self.rule.arrays(self.present))]
        if p.dtype.itemsize == 2 and any(a.dtype == torch.float32 for a in arrays):
            # What is kept in float32, or was opened so, is computed in float32, as in kernels.
            return {n: v.float() if _is_half(v) else v for n, v in values.items()}
        return values


class EagerBucket(_Called):
    """One parameter at a time, in torch operations."""

    def _update(
        self,
        params: Sequence[Tensor],
        grads: Sequence[Tensor],
        table: Table,
        treatment: Treatment,
    ) -> Turns:
        columns = self.columns(table, self._count())
        states = self.members.state

        def inputs(k: int) -> Inputs:
            g = treatment.applied(self.members.groups[k], params[k], grads[k])
            values = self._values(params[k], g, states[k])
            values.update({n: float(states[k][n]) for n in self.numbers})
            return values, {n: float(columns[n][k]) for n in self.rule.scalars}

        totals = yield from self._totals(inputs)
        for k, (p, state) in enumerate(zip(params, states, strict=True)):
            values, scalars = inputs(k)
            if values["g"].is_sparse:
                self._sparse(p, values["g"], state, scalars)
            else:
                self._dense(p, values, state, scalars, totals)

    def _dense(
        self,
        p: Tensor,
        values: Mapping[str, Any],
        state: State,
        scalars: Mapping[str, Any],
        totals: Mapping[int, Any],
    ) -> None:
        for name, new in eager.update(self.rule, values, scalars, self.flags, totals).items():
            self._store(p, state, name, new)

    def _sparse(self, p: Tensor, g: Tensor, state: State, scalars: Mapping[str, Any]) -> None:
        """Only the rows that the gradient has; a slot that must decay everywhere makes it dense."""
        if scalars.get("weight_decay", 0) != 0:
            raise RuntimeError(
                "weight_decay option is not compatible with sparse gradients: it would touch every "
                "row. Set weight_decay=0 for this group"
            )
        if "momentum_buffer" in self.present:
            self._dense(p, self._values(p, g.to_dense(), state), state, scalars, {})
            return
        g = g.coalesce()  # the update is not linear, so every row must come once
        if p.ndim == 0:  # nothing to index: all of it is there, or none
            if g._nnz():
                self._dense(p, self._values(p, g.values()[0], state), state, scalars, {})
            return
        rows = tuple(g.indices())
        values = {"p": p[rows], "g": g.values(), **{s.name: None for s in self.rule.slots}}
        values.update({n: state[n][rows] for n in self.present})
        for name, new in eager.update(self.rule, values, scalars, self.flags).items():
            (p if name == "p" else state[name]).index_put_(rows, new)


class TensorScalarBucket(_Called):
    """One parameter at a time, with scalars kept as tensors.

    For ``differentiable=True``, where gradients flow to hyperparameters and earlier steps, and for
    ``capturable=True`` on a device, where nothing may be read by the host.
    """

    def _update(
        self,
        params: Sequence[Tensor],
        grads: Sequence[Tensor],
        table: Table,
        treatment: Treatment,
    ) -> Turns:
        hypers, states = self.rule.scalar_hypers, self.members.state
        if self.rule.counts_steps:
            with torch.no_grad():
                for state in states:
                    state["step"] += 1

        def inputs(k: int) -> Inputs:
            group, state = self.members.groups[k], states[k]
            scalars: dict[str, Any] = {
                h.name: v for h, v in zip(hypers, table.values[group], strict=True)
            }
            host = {"fresh": float(self.fresh[k]), "numel": float(elements(params[k]))}
            if "step" in self.rule.scalars:
                host["step"] = float_or_tensor(state["step"])
            scalars.update({n: v for n, v in host.items() if n in self.rule.scalars})
            g = treatment.applied(group, params[k], grads[k])
            # A copy: p is overwritten below, and the graph may need what it was.
            p = params[k].clone() if torch.is_grad_enabled() else params[k]
            values = self._values(p, g, state)
            values.update({n: float_or_tensor(state[n]) for n in self.numbers})
            return values, scalars

        totals = yield from self._totals(inputs)
        for k, (p, state) in enumerate(zip(params, states, strict=True)):
            for name, new in eager.update(self.rule, *inputs(k), self.flags, totals).items():
                self._store(p, state, name, new)


def _is_half(value: Any) -> bool:
    """Whether something is an array of 16-bit numbers."""
    return isinstance(value, Tensor) and value.dtype in (torch.bfloat16, torch.float16)
