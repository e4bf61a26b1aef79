"""A bucket: the tensors that one engine steps together with one program.

Buckets share a rule, its flags and slots, kinds of number and a device, whatever group they come
from. A bucket is bound to the parameters and to their entries in the optimizer's state; it is made
anew when either was replaced.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from operator import is_
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from ..rules import Rule
from . import clip, eager, foreach
from .clip import Treatment
from .storage import CODECS, close, noise, open_planes
from .together import Exchange, Turns
from .trace import trace

__all__ = ["BUCKETS", "Bucket", "Measures", "Members", "OneByOne", "State", "Table", "elements"]

Float64 = npt.NDArray[np.float64]
State = dict[str, Any]
Inputs = tuple[dict[str, Any], dict[str, Any]]
#: Two sequences, or two tensors.
Measures = tuple[Any, Any]


@dataclass(frozen=True)
class Table:
    """The hyperparameters of one step.

    Args:
        values: one tuple a group, in the order of ``rule.scalar_hypers``; numbers or tensors.
    """

    values: tuple[tuple[Any, ...], ...]

    @cached_property
    def numbers(self) -> Float64:
        """All of it as float64 [groups, hyperparameters]."""
        plain = ([v.detach() if isinstance(v, Tensor) else v for v in row] for row in self.values)
        return np.array([tuple(map(float, row)) for row in plain], np.float64)


@dataclass(frozen=True)
class Members:
    """What a bucket is made for: tensors, the group of each, and the names of its new state.

    ``clips`` are those of ``"clip_value"`` and ``"clip_agc"`` that all of its groups have.
    ``storage`` are the compact arrays, each with its codec (see :mod:`.storage`).
    Of the gradients only whether they are sparse: a reference would keep their memory alive.
    """

    params: tuple[Tensor, ...]
    sparse: tuple[bool, ...]
    state: tuple[State, ...]
    groups: tuple[int, ...]
    made: tuple[tuple[str, ...], ...]
    clips: tuple[str, ...] = ()
    storage: tuple[tuple[str, str], ...] = ()

    @property
    def fresh(self) -> tuple[bool, ...]:
        """Whether a slot was created just now."""
        return tuple(any(n != "step" for n in names) for names in self.made)

    def take_away(self) -> None:
        """Remove the new state."""
        for state, names in zip(self.state, self.made, strict=True):
            for name in names:
                del state[name]


class Bucket(ABC):
    """Tensors that are stepped together.

    Args:
        rule: the rule.
        present: the slots that exist.
        flags: the formula's booleans.
        members: what it steps; every present slot exists in their state.
    """

    #: Whether a step is made of torch operations, so that autograd's mode matters to it.
    torch_operations: ClassVar[bool] = True
    #: Whether the host need not know if a step was taken, nor the values of tensors: the device
    #: counts, and leaves a step out itself.
    counts_on_device: ClassVar[bool] = False

    def __init__(
        self,
        rule: Rule,
        present: tuple[str, ...],
        flags: tuple[tuple[str, bool], ...],
        members: Members,
    ) -> None:
        self.rule, self.present, self.flags, self.members = rule, present, dict(flags), members
        #: The codecs of compact arrays, and those that round at random, in the program's order.
        self.codecs = dict(members.storage)
        arrays = ("p", *rule.arrays(present))
        self.random = [n for n in arrays if n in self.codecs and CODECS[self.codecs[n]].random]
        #: Whether the state has the number of steps.
        self.counts = rule.counts_steps or bool(self.random)
        self.groups = np.array(members.groups, np.intp)
        self.fresh = np.array(members.fresh, np.float64)
        #: Whether it has not stepped yet.
        self.untouched = True
        self._prepare()

    @abstractmethod
    def _prepare(self) -> None:
        """Make what lasts for many steps."""

    @abstractmethod
    def accepts(
        self, params: Sequence[Tensor], grads: Sequence[Tensor], state: Sequence[State]
    ) -> bool:
        """Whether it is still right for these tensors, which it then steps next."""

    @abstractmethod
    def _update(
        self,
        params: Sequence[Tensor],
        grads: Sequence[Tensor],
        table: Table,
        treatment: Treatment,
    ) -> Turns:
        """Step once, in as many turns as the formula needs sums over all tensors."""

    def measure(
        self, params: Sequence[Tensor], grads: Sequence[Tensor], treatment: Treatment
    ) -> Measures:
        """The sum of squares of each gradient times its factor, before and after its limits.

        Reads the gradients once and changes nothing. A step of the same treatment follows, but for
        its gain.

        Returns:
            two sequences of float64 numbers, or of tensors where a graph or a device needs them;
            or two tensors.
        """
        found = []
        for which in (treatment.unlimited, treatment) if self.members.clips else (treatment,):
            squares = [
                _plain(clip.squares(which.limited(group, p, g)))
                for p, g, group in zip(params, grads, self.members.groups, strict=True)
            ]
            found.append(squares)
        return found[0], found[-1]

    def step(
        self,
        params: Sequence[Tensor],
        grads: Sequence[Tensor],
        table: Table,
        treatment: Treatment,
    ) -> Turns:
        """Update parameters and state in place; see :mod:`.together` for the turns."""
        yield from self._update(params, grads, table, treatment)
        if self.untouched:
            self.untouched = False
            self.fresh[:] = 0

    def skip(self) -> None:
        """Forget a step that will not be taken: state that was made for it is taken away."""
        if self.untouched:
            self.members.take_away()

    def columns(self, table: Table, steps: npt.NDArray[Any]) -> dict[str, Float64]:
        """The host's scalars by name, one number a tensor."""
        numbers = table.numbers[self.groups]
        named = {h.name: numbers[:, k] for k, h in enumerate(self.rule.scalar_hypers)}
        return {**named, "step": steps, "fresh": self.fresh, "numel": self.sizes}

    @cached_property
    def sizes(self) -> Float64:
        """The number of real numbers in every tensor."""
        return np.array([elements(p) for p in self.members.params], np.float64)


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
                sums = yield {c: [_plain(shares[c]) for shares in each] for c in calls}
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
                host["step"] = _plain(state["step"])
            scalars.update({n: v for n, v in host.items() if n in self.rule.scalars})
            g = treatment.applied(group, params[k], grads[k])
            # A copy: p is overwritten below, and the graph may need what it was.
            p = params[k].clone() if torch.is_grad_enabled() else params[k]
            values = self._values(p, g, state)
            values.update({n: _plain(state[n]) for n in self.numbers})
            return values, scalars

        totals = yield from self._totals(inputs)
        for k, (p, state) in enumerate(zip(params, states, strict=True)):
            for name, new in eager.update(self.rule, *inputs(k), self.flags, totals).items():
                self._store(p, state, name, new)


def elements(p: Tensor) -> int:
    """How many real numbers a tensor holds; a complex number is a pair of them."""
    return p.numel() * (2 if p.is_complex() else 1)


def _is_half(value: Any) -> bool:
    """Whether something is an array of 16-bit numbers."""
    return isinstance(value, Tensor) and value.dtype in (torch.bfloat16, torch.float16)


def _plain(number: Tensor) -> Any:
    """A tensor's number in float64, unless a graph or a device needs it as a tensor."""
    if hasattr(number, "full_tensor"):  # a DTensor, of which this rank may have a share only
        number = number.full_tensor()
    on_host = number.device.type == "cpu" and not number.requires_grad
    return float(number) if on_host else number.clone()


class ForeachBucket(OneByOne):
    """Lists of tensors in ``torch._foreach_*`` operations."""

    def _update(
        self,
        params: Sequence[Tensor],
        grads: Sequence[Tensor],
        table: Table,
        treatment: Treatment,
    ) -> Turns:
        program = trace(self.rule, self.present, tuple(self.flags.items()))
        states = self.members.state
        arrays = {n: [s[n] for s in states] for n in self.rule.arrays(self.present)}
        columns = self.columns(table, self._count())
        columns.update({n: np.array([float(s[n]) for s in states]) for n in self.numbers})
        grads, columns["factor"] = self._treated(params, grads, treatment)
        new = yield from foreach.update(program, {"p": params, "g": grads, **arrays}, columns)
        for name, column in new.items():
            for state, value in zip(states, column.tolist(), strict=True):
                state[name].fill_(value)


#: Engines of torch operations by name; those that compile kernels are in :mod:`.registry`.
BUCKETS: dict[str, type[Bucket]] = {
    "foreach": ForeachBucket,
    "eager": EagerBucket,
    "tensor": TensorScalarBucket,
}
