"""What a hyperparameter may be: one check for all optimizers, when it is given and when it changes.

Messages begin with torch's words, then say what is allowed and what to do.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Mapping, Sequence, Set
from numbers import Real
from typing import Any

from torch import Tensor

from ..errors import InputError, InputTypeError, guess
from ..rules import Hyper, Rule
from ..schedules import Schedule
from ._beyond import CLIPS, OVER
from ._storage import check_storage

__all__ = [
    "check_alike",
    "check_group",
    "check_keys",
    "check_kinds",
    "check_number",
    "check_order",
    "check_state",
    "number",
]

#: Keys that torch's own tools add to a parameter group.
_KNOWN = ("params", "param_names", "initial_lr", "swa_lr", "schedule_step", OVER)


def number(owner: str, hyper: Hyper, value: Any) -> float:
    """A hyperparameter's value as a number.

    Raises:
        InputTypeError: it is no number, one-element tensor or schedule.
        InputError: it is a tensor of more than one element.
    """
    if value is None and hyper.machine:
        return math.nan
    if isinstance(value, Schedule):
        value = value(0)
    if isinstance(value, Tensor):
        if value.numel() != 1:
            place = "" if hyper.index is None else f"[{hyper.index}]"
            raise InputError(
                f"Tensor {hyper.group_key}{place} must be 1-element, got shape "
                f"{tuple(value.shape)}. {owner}: give one number, or one group a value"
            )
        return float(value.detach())
    if isinstance(value, bool) or not isinstance(value, Real):
        raise InputTypeError(
            f"{owner}: {hyper.name} must be {hyper.range}, a one-element tensor or a schedule, "
            f"got {value!r} of type {type(value).__name__}"
        )
    return float(value)


def check_number(owner: str, hyper: Hyper, value: Any) -> None:
    """Raise InputError if a hyperparameter is outside its range."""
    got = number(owner, hyper, value)
    if not (hyper.allows(got) or (value is None and hyper.machine)):
        # The first guide's way to a learning rate; other hyperparameters have no such tool.
        advice = " Find one with downslope.find_lr(...)." if hyper.name == "lr" else ""
        shown = got if isinstance(value, (Schedule, Tensor)) and not math.isfinite(got) else value
        raise InputError(
            f"{hyper.invalid}: {shown}. {owner}: {hyper.name} must be {hyper.range} or a schedule, "
            f"got {shown}.{advice}"
        )


def check_group(owner: str, rule: Rule, group: Mapping[str, Any]) -> None:
    """Raise if a parameter group's hyperparameters cannot be used, alone or together."""
    numbers: dict[str, Any] = {}
    for hyper in rule.hypers:
        value = group[hyper.group_key]
        if hyper.index is None:
            numbers[hyper.name] = number(owner, hyper, value)
            continue
        length = rule.lengths[hyper.group_key]
        if not (isinstance(value, (tuple, list)) and len(value) == length):
            raise InputError(
                f"{owner}: {hyper.group_key} must be a tuple of {length} numbers, got {value!r}"
            )
        numbers[hyper.group_key] = tuple(
            number(owner, h, h.of(group)) for h in rule.hypers if h.group_key == hyper.group_key
        )
    for hyper in rule.hypers:
        check_number(owner, hyper, hyper.of(group))
    conflict = rule.refuses({**group, **numbers})
    if conflict:
        got = ", ".join(f"{key}={group[key]!r}" for key in numbers)
        raise InputError(f"{conflict}. {owner} got {got}")
    for hyper in CLIPS:
        if group.get(hyper.name) is not None:
            check_number(owner, hyper, group[hyper.name])
    check_storage(owner, rule, group.get("storage"))
    if group.get(OVER, "group") not in ("group", "optimizer"):
        raise InputError(f"{owner}: {OVER} must be 'group' or 'optimizer', got {group[OVER]!r}")


def check_alike(owner: str, rule: Rule, groups: Sequence[Mapping[str, Any]]) -> None:
    """Raise InputError if groups differ in what must be the same in all."""
    for hyper in rule.hypers if len(groups) > 1 else ():
        if hyper.alike:
            values = [number(owner, hyper, hyper.of(group)) for group in groups]
            at = next((k for k, v in enumerate(values) if v != values[0]), None)
            if at is not None:
                raise InputError(
                    f"{owner}: {hyper.name} must be the same in all parameter groups, got "
                    f"{values[0]} in group 0 and {values[at]} in group {at}. Give it to the "
                    "constructor, for all groups"
                )


def check_keys(owner: str, group: Mapping[str, Any], known: Iterable[str]) -> None:
    """Raise if a key looks like a misspelt hyperparameter; other keys are the user's own."""
    known = {*known, *(h.name for h in CLIPS), "storage"}
    for key in group:
        if key in known or key in _KNOWN or not isinstance(key, str):
            continue
        question = guess(key, known, most=1, cutoff=0.8)
        if question:
            raise InputError(
                f"{owner}: a parameter group has the key {key!r}, which is not used.{question}"
            )


def check_order(params: object) -> None:
    """Raise InputTypeError for a model in place of its parameters, and for a set of them."""
    if not isinstance(params, Iterable):
        advice = ": give its .parameters()" if hasattr(params, "parameters") else ""
        raise InputTypeError(
            f"optimizer parameters must be tensors or groups of them, got {type(params).__name__}"
            f"{advice}"
        )
    if isinstance(params, (set, frozenset)):
        raise InputTypeError(
            "optimizer parameters need to be organized in ordered collections, because a set's "
            "order changes between runs and checkpoints go by order. Use a list"
        )


def check_kinds(owner: str, params: Iterable[Tensor]) -> None:
    """Raise InputError for a parameter that has no gradient."""
    strange = [p.dtype for p in params if not (p.is_floating_point() or p.is_complex())]
    if strange:
        raise InputError(
            f"{owner} can only optimize floating point or complex tensors, got one of "
            f"{strange[0]}. Leave it out of the parameters"
        )


def check_state(owner: str, mine: Set[str], saved: Mapping[str, Any]) -> None:
    """Raise InputError if a state dict holds what an optimizer does not keep for a parameter."""
    for group in saved["param_groups"]:
        kept = (saved["state"].get(key, {}) for key in group["params"])
        strange = sorted(set(map(str, itertools.chain.from_iterable(kept))) - mine)
        if strange:
            keeps = f"keeps {', '.join(sorted(mine))}" if mine else "keeps no state"
            raise InputError(
                f"This state has {', '.join(strange)}; {owner} {keeps}: it was "
                "saved by another optimizer. Load it into that one, or start without a state"
            )
