"""A bucket: the tensors that one engine steps together with one program.

Buckets share a rule, its flags and slots, kinds of number and a device, whatever group they come
from. A bucket is bound to the parameters and to their entries in the optimizer's state; it is made
anew when either was replaced.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
from torch import Tensor

from ..rules import Rule
from . import clip
from .clip import Treatment
from .storage import CODECS
from .together import Turns

__all__ = [
    "Bucket",
    "Float64",
    "Measures",
    "Members",
    "State",
    "Table",
    "elements",
    "float_or_tensor",
]

Float64 = npt.NDArray[np.float64]
State = dict[str, Any]
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
                float_or_tensor(clip.squares(which.limited(group, p, g)))
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


def elements(p: Tensor) -> int:
    """How many real numbers a tensor holds; a complex number is a pair of them."""
    return p.numel() * (2 if p.is_complex() else 1)


def float_or_tensor(number: Tensor) -> Any:
    """A tensor's number in float64, unless a graph or a device needs it as a tensor."""
    if hasattr(number, "full_tensor"):  # a DTensor, of which this rank may have a share only
        number = number.full_tensor()
    on_host = number.device.type == "cpu" and not number.requires_grad
    return float(number) if on_host else number.clone()
