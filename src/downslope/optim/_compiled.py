"""The step inside ``torch.compile``: the formula in torch operations, for the compiler to fuse.

Two things must not become constants of the compiled code. Hyperparameters come from an operator
that the compiler does not look into, so a new learning rate compiles nothing again. State is made
when the step is compiled, not in the graph, by the hook that the compiler keeps for optimizers: it
calls their ``_init_group`` and guards what it finds in ``param_groups`` and ``state``. The
optimizer that it is shown here is :class:`Traced`, whose groups have parameters and nothing else.
"""

from __future__ import annotations

import weakref
from functools import cache
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from ..engines import eager
from ..engines.together import DIFFERENT_SUMS
from ..engines.trace import trace
from ..errors import EngineError
from ._placement import level, make_state, shared_state

if TYPE_CHECKING:
    from ._optimizer import Optimizer

__all__ = ["Traced"]

_owners: weakref.WeakValueDictionary[int, Any] = weakref.WeakValueDictionary()


class Traced(torch.optim.Optimizer):
    """What the compiler sees of an optimizer.

    Args:
        owner: the optimizer. It is not kept alive.
    """

    def __init__(self, owner: Optimizer) -> None:
        self._owner = weakref.ref(owner)
        self.key = id(owner)
        _owners[self.key] = owner
        self.rule = owner.rule
        self.state = owner.state
        self.param_groups = [{"params": g["params"]} for g in owner.param_groups]
        # Tensors whose slots were made by the compiler and have not been stepped since. (It may
        # follow a step several times before it runs the code.)
        self._fresh: set[int] = set()

    def _init_group(
        self, group: dict[str, Any], params: list[Tensor], grads: list[Tensor], at: list[int]
    ) -> tuple[Any, ...]:
        """Runs when the step is compiled: fill the lists, make missing state.

        Args:
            group: one of ``param_groups``.
            params: gets the parameters that have gradients.
            grads: gets the gradients.
            at: gets the position of each parameter in the group.

        Returns:
            the group's present slots and its flags, and how many times its formula waits for sums
            over all tensors: constants of the compiled code.
        """
        owner = self._owner()
        assert owner is not None
        _operator()
        number = next(n for n, g in enumerate(self.param_groups) if g is group)
        own, rule = owner.param_groups[number], self.rule
        name, present = type(owner).__name__, rule.present(own)
        if own.get("differentiable"):
            raise EngineError(f"{name}: differentiable=True cannot be compiled; call step outside")
        known = shared_state(rule, owner.state)
        for k, p in enumerate(group["params"]):
            if p.grad is None and rule.shared and owner.state.get(p):
                raise EngineError(
                    f"{name}: {', '.join(rule.shared)} are one for all parameters, and one of them "
                    "was stepped before and has no gradient now: that cannot be compiled; call "
                    "step outside"
                )
            if p.grad is not None:
                if p.grad.is_sparse:
                    raise EngineError(f"{name}: sparse gradients cannot be compiled")
                state = owner.state[p] if present or rule.counts_steps else {}
                if make_state(name, rule, own, p, state):
                    self._fresh.add(id(p))
                params.append(p)
                grads.append(p.grad)
                at.append(k)
        level(rule, owner.state.values(), known)
        flags = rule.flag_values(own)
        passes = trace(rule, present, flags).passes
        return present, flags, sum(any(t.call is not None for t in p.totals) for p in passes)

    def step(self) -> None:  # type: ignore[override]  # no closure: the owner has called it
        """One step; the compiler follows this method."""
        work, turns = [], set()
        for number, group in enumerate(self.param_groups):
            params: list[Tensor] = []
            grads: list[Tensor] = []
            at: list[int] = []
            present, flags, waits = self._init_group(group, params, grads, at)
            if params:
                turns.add(waits)
                # The parameter is an argument so that two steps in one graph are two calls.
                operator = torch.ops.downslope.hyperparameters
                row = operator(params[0].detach(), self.key, number, str(flags))
                work.append((params, grads, at, present, dict(flags), row))
        if len(turns) > 1:
            raise EngineError(DIFFERENT_SUMS)
        # All that may raise has run: an error here would leave autograd switched off.
        with torch.no_grad():
            calls = [
                (p, *self._inputs(p, g, k, present, row), named)
                for params, grads, at, present, named, row in work
                for p, g, k in zip(params, grads, at, strict=True)
            ]
            totals: dict[int, Any] = {}
            for _ in range(max(turns, default=0)):
                each = [eager.shares(self.rule, *call[1:], totals) for call in calls]
                totals = {
                    n: torch.stack(shares).sum() for n, shares in enumerate(zip(*each, strict=True))
                }
            for p, values, scalars, flags in calls:
                new = eager.update(self.rule, values, scalars, flags, totals)
                for name, value in new.items():
                    (p if name == "p" else self.state[p][name]).copy_(value)

    def _inputs(
        self, p: Tensor, g: Tensor, at: int, present: tuple[str, ...], row: Tensor
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        """What the formula is called on: arrays, then scalars."""
        rule, hypers = self.rule, len(self.rule.scalar_hypers)
        scalars: dict[str, Any] = {h.name: row[n] for n, h in enumerate(rule.scalar_hypers)}
        scalars.update(numel=float(p.numel()), fresh=row[hypers + 1 + at])
        state = self.state[p] if present or rule.counts_steps else {}
        if rule.counts_steps:
            state["step"] += 1
            scalars["step"] = state["step"].double()
        values: dict[str, Tensor | None] = {"p": p, "g": g * row[hypers].to(g.dtype)}
        for slot in rule.slots:
            value = state[slot.name] if slot.name in present else None
            values[slot.name] = value.double() if slot.scalar and value is not None else value
        return values, {n: scalars[n] for n in rule.scalars}

    def row(self, number: int, flags: str) -> Tensor:
        """What a compiled step of a group needs: hyperparameters, factor, fresh tensors.

        Raises:
            EngineError: something changed that the code was compiled for.
        """
        owner = self._owner()
        assert owner is not None
        owner._check_ready()
        group = owner.param_groups[number]
        if str(self.rule.flag_values(group)) != flags:
            raise EngineError(
                f"{type(owner).__name__}: a flag of group {number} changed since the step was "
                "compiled. Call torch.compiler.reset() after such a change"
            )
        numbers = owner.hyperparameters(number)
        fresh = [float(id(p) in self._fresh) for p in group["params"]]
        self._fresh -= {id(p) for p in group["params"] if p.grad is not None}
        return torch.tensor([*numbers, *fresh], dtype=torch.float64)


@cache
def _operator() -> None:
    """Make the operator ``downslope::hyperparameters``."""

    @torch.library.custom_op("downslope::hyperparameters", mutates_args=())
    def hyperparameters(p: Tensor, key: int, group: int, flags: str) -> Tensor:
        owner = _owners.get(key)
        if owner is None:
            raise EngineError("The optimizer of this compiled step is gone; compile the step again")
        traced: Traced = owner.traced
        return traced.row(group, flags).to(p.device)

    @hyperparameters.register_fake
    def _(p: Tensor, key: int, group: int, flags: str) -> Tensor:
        owner = _owners[key]
        count = len(owner.rule.scalar_hypers) + 1 + len(owner.param_groups[group]["params"])
        return torch.empty(count, dtype=torch.float64, device=p.device)
