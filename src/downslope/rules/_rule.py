"""What a rule is: one pure formula, and the data that describes it.

A formula is called, never compiled. It takes ``xp``, the arithmetic it runs on (tensors, lists of
tensors, symbols or tracer values), the parameter ``p``, its gradient ``g``, one array per slot
(``None`` where the slot does not exist), the scalar hyperparameters and the flags, and returns the
new parameter and the new slots. It may branch on flags and on absent slots, never on data.

A formula never sees maximisation, clipping, unscaling, storage, groups or devices: those are the
engines' and the driver's.
"""

from __future__ import annotations

import inspect
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from ._spec import Choice, Flag, Hyper, Slot

__all__ = [
    "HOST_SCALARS",
    "MATRIX_SCALARS",
    "TREATMENT",
    "Rule",
]

#: Scalars that the host supplies, one a tensor, beside the hyperparameters: the number of this step
#: (from 1), whether a slot was created just now (1.0 or 0.0), and the tensor's number of elements
#: (a complex number is two).
HOST_SCALARS = ("step", "fresh", "numel")

#: What is done to gradients before a rule sees them, beside whose scalars kernels have these.
TREATMENT = ("clip_value", "clip_agc", "gain", "factor")

#: Names that mean something else to every engine, so that no slot, hyperparameter or flag has them.
_TAKEN = frozenset({"p", "g", "unit", *TREATMENT, *HOST_SCALARS})

#: What the host supplies to a matrix rule beside them: the lengths of the last two dimensions.
MATRIX_SCALARS = ("rows", "columns")


@dataclass(frozen=True)
class Rule:
    """A formula with everything that is known about it, as data.

    Args:
        update: ``(xp, p, g, *slots, *, scalars, flags) -> (p, *slots)``.
        summary: one line.
        slots: the state, in the order of the formula's arguments.
        hypers: the scalar hyperparameters.
        flags: the booleans.
        paper: where the formula was published.
        use: when to choose it.
        class_name: the optimizer class that is declared for it; empty where a class is written by
            hand, as torch's are.
        errata: where a tutorial says something else, and what is right.
        notes: where the paper, its authors' code and other libraries differ, and which is followed.
        counts_steps: whether the state has torch's ``step``.
        state_at_construction: whether torch makes the state in the constructor (Adagrad).
        matrix: whether the formula is on whole matrices: it may ask ``xp`` for
            ``MATRIX_FUNCTIONS`` (``engines/tracer.py``) and the host for ``MATRIX_SCALARS``.
        sparse: whether torch takes sparse gradients here.
        dense: whether it takes dense ones.
        plain_step: whether torch keeps ``step`` as a plain number, not a tensor.
        needs: what a training must give it that not every training does; "": nothing, it steps any
            network from the gradients that a backward pass leaves.
        conflict: given a parameter group, what is wrong with the combination, or ``""``.
        blend: of a Schedule-Free rule, the hyperparameter b with which it trains at
            ``b x + (1 - b) z`` and is evaluated at x, z being a slot; "": both at the same weights.
    """

    update: Callable[..., tuple[Any, ...]]
    summary: str
    slots: tuple[Slot, ...]
    hypers: tuple[Hyper, ...]
    flags: tuple[Flag, ...] = ()
    paper: str = ""
    use: str = ""
    class_name: str = ""
    errata: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    counts_steps: bool = True
    state_at_construction: bool = False
    matrix: bool = False
    sparse: bool = False
    dense: bool = True
    plain_step: bool = False
    needs: str = ""
    conflict: Callable[[Mapping[str, Any]], str] = lambda group: ""
    blend: str = ""

    def __post_init__(self) -> None:
        positional = tuple(n for n, q in self._parameters.items() if q.kind != q.KEYWORD_ONLY)[3:]
        if positional != tuple(s.name for s in self.slots):
            raise TypeError(
                f"rule {self.name}: the formula's arguments after (xp, p, g) are {positional}, "
                f"its slots are {tuple(s.name for s in self.slots)}: they must be the same"
            )
        known = (
            {h.name for h in self.hypers}
            | {f.name for f in self.flags}
            | {*HOST_SCALARS, *MATRIX_SCALARS}
        )
        strange = sorted(set(self._keywords) - known)
        if strange:
            raise TypeError(f"rule {self.name}: no spec for the formula's keyword {strange[0]!r}")

    def check_names(self) -> None:
        """Raise TypeError if a slot, hyperparameter or flag has a name of the engines' own."""
        slots, hypers = (s.name for s in self.slots), (h.name for h in self.hypers)
        for name in (*slots, *hypers, *(f.name for f in self.flags)):
            if name in _TAKEN:
                raise TypeError(
                    f"rule {self.name}: {name!r} is a name of the engines' own, as are "
                    f"{', '.join(sorted(_TAKEN - {name}))}; choose another"
                )

    @property
    def name(self) -> str:
        """The formula's name."""
        return self.update.__name__

    @cached_property
    def _parameters(self) -> Mapping[str, inspect.Parameter]:
        return inspect.signature(self.update).parameters

    @cached_property
    def _keywords(self) -> tuple[str, ...]:
        return tuple(n for n, q in self._parameters.items() if q.kind == q.KEYWORD_ONLY)

    @cached_property
    def scalars(self) -> tuple[str, ...]:
        """The scalars that the formula reads, in its order."""
        flags = {f.name for f in self.flags}
        return tuple(n for n in self._keywords if n not in flags)

    @cached_property
    def scalar_hypers(self) -> tuple[Hyper, ...]:
        """The hyperparameters among :attr:`scalars`, in the same order."""
        by_name = {h.name: h for h in self.hypers}
        return tuple(by_name[n] for n in self.scalars if n in by_name)

    @cached_property
    def lengths(self) -> Mapping[str, int]:
        """The group keys whose value is a tuple (``betas``), each with its length."""
        return Counter(h.group_key for h in self.hypers if h.index is not None)

    @property
    def defaults(self) -> dict[str, Any]:
        """A parameter group's hyperparameters and flags where none is given.

        Raises:
            TypeError: a hyperparameter has no default.
        """
        found: dict[str, Any] = {}
        for hyper in self.hypers:
            if hyper.default is None:
                raise TypeError(
                    f"rule {self.name}: {hyper.name} has no default; give it with by_default(...)"
                )
            if hyper.index is None:
                found[hyper.group_key] = hyper.default
            else:
                found[hyper.group_key] = (*found.get(hyper.group_key, ()), hyper.default)
        return {**found, **{flag.group_key: flag.of({}) for flag in self.flags}}

    @cached_property
    def shared(self) -> tuple[str, ...]:
        """The slots that are one number for all parameters."""
        return tuple(slot.name for slot in self.slots if slot.shared)

    @property
    def switches(self) -> tuple[str, ...]:
        """The group keys of the flags that torch does not have."""
        flags = (flag for flag in self.flags if not isinstance(flag, Choice))
        return tuple(flag.group_key for flag in flags if flag.meaning)

    def present(self, group: Mapping[str, Any], ndim: int = 2) -> tuple[str, ...]:
        """The names of the slots that a parameter of so many dimensions keeps in such a group."""
        return tuple(s.name for s in self.slots if s.present(group, ndim))

    def arrays(self, present: Iterable[str]) -> tuple[str, ...]:
        """Those of the present slots that are arrays."""
        here = frozenset(present)
        return tuple(s.name for s in self.slots if s.name in here and not s.scalar)

    def numbers(self, present: Iterable[str]) -> tuple[str, ...]:
        """Those of the present slots that are single numbers."""
        here = frozenset(present)
        return tuple(s.name for s in self.slots if s.name in here and s.scalar)

    def refuses(self, group: Mapping[str, Any]) -> str:
        """What is wrong with a group's flags, or with its combination of values, or ``""``."""
        return next(filter(None, (f.refuses(group) for f in self.flags)), "") or self.conflict(
            group
        )

    def flag_values(self, group: Mapping[str, Any]) -> tuple[tuple[str, Any], ...]:
        """The flags' values in a parameter group, hashable."""
        return tuple((f.name, f.of(group)) for f in self.flags)
