"""What every optimizer here takes beyond torch's arguments: one list, with its documentation.

A class declares ``**beyond: Unpack[Beyond]``, so type checkers and ``inspect.signature`` see each
argument. What is not given appears neither in ``defaults`` nor in the groups, which then hold
torch's keys and no other.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Literal, TypedDict

from torch import Tensor

from ..errors import InputError, InputTypeError, guess
from ..rules import Hyper, Rule
from ..schedules import Schedule

__all__ = [
    "CLIPS",
    "MEANINGS",
    "NAMES",
    "OVER",
    "Beyond",
    "BeyondMomentum",
    "OnNonfinite",
    "align",
    "completed",
    "given",
    "mark",
    "parameters",
    "policy",
    "show_in_signature",
    "without_none",
]

Limit = float | Tensor | Schedule | None
OnNonfinite = Literal["skip", "raise"] | None
Format = Literal["float32", "bfloat16", "int8"]
Storage = Format | Mapping[str, Format] | None


class Beyond(TypedDict, total=False):
    """Keyword-only arguments of every optimizer; None, the default of all, changes nothing."""

    clip_norm: Limit
    clip_value: Limit
    clip_agc: Limit
    on_nonfinite: OnNonfinite
    storage: Storage


class BeyondMomentum(Beyond, total=False):
    """What optimizers with momentum take too: their rules' own flags."""

    cautious: bool


#: The clipping thresholds, kept in parameter groups as hyperparameters are. None: not clipped.
CLIPS = (
    Hyper(
        "clip_norm",
        "largest L2 norm of all gradients together; a group that gives its own is clipped alone, "
        "by the norm of its gradients",
        "c",
        above=True,
        infinite=True,
    ),
    Hyper(
        "clip_value",
        "largest absolute value of an element of a gradient",
        "c_v",
        above=True,
        infinite=True,
    ),
    Hyper(
        "clip_agc",
        "largest norm of the gradient of a unit (a row, a filter, a vector as a whole) as a share "
        "of the norm of its weights, or of 1e-3 where that is larger (arXiv 2102.06171)",
        "lamda_c",
        above=True,
        infinite=True,
    ),
)

NAMES = frozenset(h.name for h in CLIPS)

#: Group key that says over what ``clip_norm``'s norm is taken: ``"group"``, or ``"optimizer"`` for
#: all groups that say so and have a ``clip_norm``.
OVER = "clip_norm_over"

MEANINGS: Mapping[str, str] = {
    **{
        h.name: f"{h.meaning}; {h.range}, a one-element tensor or a schedule. None: no clipping."
        for h in CLIPS
    },
    "on_nonfinite": "what a step does when a gradient is infinite or NaN: 'skip' it, or 'raise' "
    "an error that names the parameter; nothing is changed then. None, as torch: step.",
    "storage": "how state is kept: 'float32', 'bfloat16' or 'int8', or a dict that gives one a "
    "slot ({'exp_avg': 'int8'}) and 'weight': 'float24' or 'float32' corrects 16-bit weights to "
    "so many bits, which a word alone does too. Tensors of fewer than 4096 elements keep float32. "
    "None, as torch: in the parameter's dtype.",
}


def given(owner: str, rule: Rule, arguments: Mapping[str, Any]) -> dict[str, Any]:
    """A constructor's further keyword arguments, checked to be among those here.

    Raises:
        InputTypeError: there is no such argument.
    """
    allowed = (*MEANINGS, *rule.switches)
    for name in arguments:
        if name not in allowed:
            named = (*allowed, *(hyper.group_key for hyper in rule.hypers))
            raise InputTypeError(
                f"{owner}.__init__() got an unexpected keyword argument {name!r}."
                f"{guess(name, named, most=1)}"
            )
    return {k: v for k, v in arguments.items() if v or k not in rule.switches}


def without_none(defaults: Mapping[str, Any]) -> dict[str, Any]:
    """Defaults without the arguments of this module that are None."""
    return {k: v for k, v in defaults.items() if v is not None or k not in MEANINGS}


def parameters(switches: Iterable[str] = ()) -> list[inspect.Parameter]:
    """The arguments as ``inspect`` describes them, a rule's own flags before the others."""
    shared = {n: a.__forward_arg__ for n, a in inspect.get_annotations(Beyond).items()}
    return [
        *(_keyword(name, False, "bool") for name in switches),
        *(_keyword(name, None, annotation) for name, annotation in shared.items()),
    ]


def _keyword(name: str, default: Any, annotation: str) -> inspect.Parameter:
    kind = inspect.Parameter.KEYWORD_ONLY
    return inspect.Parameter(name, kind, default=default, annotation=annotation)


def policy(owner: str, value: Any) -> OnNonfinite:
    """``on_nonfinite``, checked."""
    if value not in (None, "skip", "raise"):
        raise InputError(f"{owner}: on_nonfinite must be 'skip', 'raise' or None, got {value!r}")
    return value  # type: ignore[no-any-return]  # checked above


def mark(group: dict[str, Any]) -> None:
    """Note that a group which gives its own ``clip_norm`` is clipped alone."""
    if group.get("clip_norm") is not None:
        group.setdefault(OVER, "group")


def align(rule: Rule, groups: Sequence[dict[str, Any]], defaults: dict[str, Any]) -> None:
    """Give all groups the keys that one of them has, as torch does with hyperparameters."""
    optional = (*sorted(NAMES), "storage")
    for name, absent in (*((n, None) for n in optional), *((n, False) for n in rule.switches)):
        if name in defaults or any(name in g for g in groups):
            default = defaults.setdefault(name, absent)
            for group in groups:
                group.setdefault(name, None if isinstance(default, Schedule) else default)
    if "clip_norm" in defaults:
        for group in groups:
            group.setdefault(OVER, "optimizer")


def completed(
    rule: Rule, state_dict: dict[str, Any], groups: Sequence[Mapping[str, Any]]
) -> dict[str, Any]:
    """A saved state with the groups' own values where it has none: torch saves no such key.

    How state is kept stays as it is here, whatever the saved one's format.
    """
    saved = state_dict["param_groups"]
    if len(saved) != len(groups):
        return state_dict  # torch says so
    keys = (*NAMES, OVER, *rule.switches)
    own = [{k: g[k] for k in keys if k in g} for g in groups]
    kept = [{k: g[k] for k in ("storage",) if k in g} for g in groups]
    theirs = [{k: v for k, v in g.items() if k != "storage"} for g in saved]
    merged = [{**a, **b, **c} for a, b, c in zip(own, theirs, kept, strict=True)]
    return {**state_dict, "param_groups": merged}


def show_in_signature(rule: Rule, init: Callable[..., Any]) -> None:
    """Let ``inspect.signature`` and ``help`` list the arguments that ``**beyond`` stands for."""
    signature = inspect.signature(init)
    *rest, last = signature.parameters.values()
    if (last.name, last.kind) == ("beyond", last.VAR_KEYWORD):
        parts = [*rest, *parameters(rule.switches)]
        init.__signature__ = signature.replace(parameters=parts)  # type: ignore[attr-defined]  # inspect reads it
