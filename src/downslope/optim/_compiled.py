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
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from ..engines import eager
from ..engines.bucket import elements
from ..engines.clip import Treatment, real, squares
from ..engines.clip import number as as_number
from ..engines.together import DIFFERENT_SUMS
from ..engines.trace import trace
from ..errors import EngineError
from ._clipping import Measured, wanted
from ._group import set_scheduled
from ._placement import clips_inside, level, make_state, shared_state

if TYPE_CHECKING:
    from ._optimizer import Optimizer

__all__ = ["Traced"]

#: Numbers of a row between the hyperparameters and the fresh tensors: factor, limits.
_EXTRA = 3


class _Constants(NamedTuple):
    """What the code of a group is compiled for.

    Attributes:
        flags: the formula's booleans.
        clips: which of ``clip_value`` and ``clip_agc`` it has.
        measures: whether norms are wanted, of any group.
        guards: whether a step with a gradient that is not finite is not taken.
    """

    flags: tuple[tuple[str, Any], ...]
    clips: tuple[str, ...]
    measures: bool
    guards: bool


class _Work(NamedTuple):
    """One tensor of the step.

    Attributes:
        p, g: the parameter and its gradient.
        group, at: the number of its group, and its position there.
        present: the slots that exist.
        constants: of its group.
        row: of its group, see :meth:`Traced.row`.
    """

    p: Tensor
    g: Tensor
    group: int
    at: int
    present: tuple[str, ...]
    constants: _Constants
    row: Tensor


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
        # Those that are so again if the step that is being taken is not taken after all.
        self._to_judge: set[int] = set()

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
            the group's present slots, its :meth:`constants`, and how many times its formula waits
            for sums over all tensors: all constants of the compiled code.
        """
        owner = self._owner()
        assert owner is not None
        _operator()
        # The state of all groups: the compiler looks at it once, after the first call.
        known = shared_state(self.rule, owner.state)
        for each in owner.param_groups:
            self._make_state(owner, each)
        level(self.rule, owner.state.values(), known)
        number = next(n for n, g in enumerate(self.param_groups) if g is group)
        own, rule = owner.param_groups[number], self.rule
        present = rule.present(own)
        for k, p in enumerate(group["params"]):
            if p.grad is not None:
                params.append(p)
                grads.append(p.grad)
                at.append(k)
        waits = trace(rule, present, rule.flag_values(own)).waits
        # The compiler knows constants of plain types only.
        return present, tuple(self.constants(number)), waits

    def _make_state(self, owner: Optimizer, group: dict[str, Any]) -> None:
        """Make what is missing of a group's state; raise if its step cannot be compiled."""
        name, rule = type(owner).__name__, self.rule
        if group.get("differentiable"):
            raise EngineError(f"{name}: differentiable=True cannot be compiled; call step outside")
        if group.get("storage") is not None:
            raise EngineError(f"{name}: a step with storage= cannot be compiled; call step outside")
        for p in group["params"]:
            if p.grad is None and rule.shared and owner.state.get(p):
                raise EngineError(
                    f"{name}: {', '.join(rule.shared)} are one for all parameters, and one of them "
                    "was stepped before and has no gradient now: that cannot be compiled; call "
                    "step outside"
                )
            if p.grad is not None:
                if p.grad.is_sparse:
                    raise EngineError(f"{name}: sparse gradients cannot be compiled")
                state = owner.state[p] if rule.present(group) or rule.counts_steps else {}
                if make_state(name, rule, group, p, state, {}):
                    self._fresh.add(id(p))

    def constants(self, number: int) -> _Constants:
        """What the code of a group is compiled for."""
        owner = self._owner()
        assert owner is not None
        group = owner.param_groups[number]
        return _Constants(
            self.rule.flag_values(group),
            clips_inside(group),
            wanted(owner.param_groups) or owner.on_nonfinite is not None,
            owner.on_nonfinite is not None,
        )

    def step(self) -> None:  # type: ignore[override]  # no closure: the owner has called it
        """One step; the compiler follows this method."""
        work, turns = [], set()
        for number, group in enumerate(self.param_groups):
            params: list[Tensor] = []
            grads: list[Tensor] = []
            at: list[int] = []
            present, constants, waits = self._init_group(group, params, grads, at)
            if params:
                turns.add(waits)
                # The parameter is an argument so that two steps in one graph are two calls.
                operator = torch.ops.downslope.hyperparameters
                row = operator(params[0].detach(), self.key, number, str(constants))
                named = _Constants(*constants)
                for p, g, k in zip(params, grads, at, strict=True):
                    work.append(_Work(p, g, number, k, present, named, row))
        if len(turns) > 1:
            raise EngineError(DIFFERENT_SUMS)
        # All that may raise has to run here: below an error would leave autograd switched off.
        verdict = self._judged(work) if work and work[0].constants.measures else None
        taken = None if verdict is None or not work[0].constants.guards else verdict[-1] != 0
        with torch.no_grad():
            calls = [
                (one.p, *self._inputs(one, verdict, taken), dict(one.constants.flags))
                for one in work
            ]
            totals: dict[int, Any] = {}
            for _ in range(max(turns, default=0)):
                shares = [eager.shares(self.rule, *call[1:], totals) for call in calls]
                totals = {
                    n: torch.stack(each).sum() for n, each in enumerate(zip(*shares, strict=True))
                }
            for p, values, scalars, flags in calls:
                new = eager.update(self.rule, values, scalars, flags, totals)
                for name, value in new.items():
                    old = p if name == "p" else self.state[p][name]
                    old.copy_(value if taken is None else torch.where(taken, value, old))

    def _judged(self, work: list[_Work]) -> Tensor:
        """One gain for each group, then whether the step is taken: see :meth:`judge`."""
        raw, left = [], []
        for one in work:
            raw.append(squares(self._limited(one, ())))
            clips = one.constants.clips
            left.append(squares(self._limited(one, clips)) if clips else raw[-1])
        owners = [one.group for one in work]
        verdict: Tensor = torch.ops.downslope.judge(
            torch.stack(raw), torch.stack(left), self.key, owners
        )
        return verdict

    def _limited(self, one: _Work, clips: tuple[str, ...]) -> Tensor:
        """A gradient before its norm is known."""
        factor, value, share = one.row[len(self.rule.scalar_hypers) :][:_EXTRA].unbind()
        treatment = Treatment(
            (factor,),
            (1.0,),
            (value if "clip_value" in clips else None,),
            (share if "clip_agc" in clips else None,),
        )
        return treatment.limited(0, one.p.detach(), one.g.detach())

    def _inputs(
        self, one: _Work, verdict: Tensor | None, taken: Tensor | None
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        """What the formula is called on: arrays, then scalars."""
        rule, p, row = self.rule, one.p, one.row
        scalars: dict[str, Any] = {h.name: row[n] for n, h in enumerate(rule.scalar_hypers)}
        fresh = row[len(rule.scalar_hypers) + _EXTRA + one.at]
        scalars.update(numel=float(elements(p)), fresh=fresh)
        state = self.state[p] if one.present or rule.counts_steps else {}
        if rule.counts_steps:
            state["step"] += 1 if taken is None else taken
            scalars["step"] = state["step"].double()
        g = self._limited(one, one.constants.clips)
        if verdict is not None:
            g = g * verdict[one.group].to(real(g.dtype))
        values: dict[str, Tensor | None] = {"p": p, "g": g}
        for slot in rule.slots:
            value = state[slot.name] if slot.name in one.present else None
            values[slot.name] = value.double() if slot.scalar and value is not None else value
        return values, {n: scalars[n] for n in rule.scalars}

    # -- what runs on the host, at every step -----------------------------------------------------

    def row(self, number: int, constants: str) -> Tensor:
        """What a compiled step of a group needs: hyperparameters, factor, limits, fresh tensors.

        Raises:
            EngineError: something changed that the code was compiled for.
        """
        owner = self._owner()
        assert owner is not None
        name = type(owner).__name__
        owner._check_ready()
        now = self.constants(number)
        if str(tuple(now)) != constants:
            raise EngineError(
                f"{name}: a flag, a kind of clipping or on_nonfinite of group {number} changed "
                "since the step was compiled. Call torch.compiler.reset() after such a change"
            )
        if getattr(owner, "found_inf", None) is not None:
            raise EngineError(
                f"{name}: a GradScaler cannot hand its scale to a compiled step. Compile the "
                "model, not the step"
            )
        group, schedules = owner.param_groups[number], owner._schedules[number]
        set_scheduled(group, schedules)
        table, treatment = owner._read_groups()
        limits = (treatment.factor, treatment.clip_value, treatment.clip_agc)
        extra = [as_number(each[number]) for each in limits]
        if schedules:
            group["schedule_step"] += 1
        fresh = [float(id(p) in self._fresh) for p in group["params"]]
        stepped = self._fresh.intersection(id(p) for p in group["params"] if p.grad is not None)
        self._fresh -= stepped
        if now.guards:
            self._to_judge |= stepped
        numbers = [*table.numbers[number].tolist(), *extra, *fresh]
        return torch.tensor(numbers, dtype=torch.float64)

    def judge(self, raw: Tensor, left: Tensor, owners: list[int]) -> Tensor:
        """What clipping leaves of the step's gradients, and whether the step is taken.

        Args:
            raw: the sum of squares of each gradient.
            left: the same after ``clip_value`` and ``clip_agc``.
            owners: the number of the group of each.

        Returns:
            one gain for each group, then 1, or 0 where a gradient is not finite.

        Raises:
            NonfiniteGradientError: one is not, and ``on_nonfinite="raise"``.
        """
        owner = self._owner()
        assert owner is not None
        groups = owner.param_groups
        measured = Measured([(range(len(owners)), np.array(owners), raw.tolist(), left.tolist())])
        owner._norm = measured.norm()
        fresh, self._to_judge = self._to_judge, set()
        if owner.on_nonfinite is not None and (bad := measured.nonfinite()):
            self._fresh |= fresh
            for number in set(owners):
                if owner._schedules[number]:
                    groups[number]["schedule_step"] -= 1
            owner._blame([p for g in groups for p in g["params"] if p.grad is not None], bad)
            owner.skipped_steps += 1
            return torch.zeros(len(groups) + 1, dtype=torch.float64)
        treatment = owner._read_groups()[1]
        clipping = owner._reading.clipping
        if clipping is not None:
            treatment = clipping.clipped(treatment, measured)
        return torch.tensor([*map(as_number, treatment.gain), 1.0], dtype=torch.float64)


@cache
def _operator() -> None:
    """Make the operators, into which the compiler does not look."""

    def traced(key: int) -> Traced:
        owner = _owners.get(key)
        if owner is None:
            raise EngineError("The optimizer of this compiled step is gone; compile the step again")
        found: Traced = owner.traced
        return found

    @torch.library.custom_op("downslope::hyperparameters", mutates_args=())
    def hyperparameters(p: Tensor, key: int, group: int, constants: str) -> Tensor:
        return traced(key).row(group, constants).to(p.device)

    @hyperparameters.register_fake
    def _(p: Tensor, key: int, group: int, constants: str) -> Tensor:
        owner = _owners[key]
        count = len(owner.rule.scalar_hypers) + _EXTRA + len(owner.param_groups[group]["params"])
        return torch.empty(count, dtype=torch.float64, device=p.device)

    @torch.library.custom_op("downslope::judge", mutates_args=())
    def judge(raw: Tensor, left: Tensor, key: int, owners: list[int]) -> Tensor:
        return traced(key).judge(raw, left, owners).to(raw.device)

    @judge.register_fake
    def _(raw: Tensor, left: Tensor, key: int, owners: list[int]) -> Tensor:
        return raw.new_empty(len(_owners[key].param_groups) + 1)
