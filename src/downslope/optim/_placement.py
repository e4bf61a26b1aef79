"""Which engine steps which tensor, and the state that a tensor's first step needs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from importlib.util import find_spec
from typing import Any

import torch
from torch import Tensor

from ..engines.bucket import Bucket, Members
from ..engines.layout import COMPILED_DTYPES, PLAIN, dense
from ..engines.matrix.run import MATRIX, MATRIX_LOOP
from ..engines.registry import ENGINES
from ..engines.shards import is_sharded, local
from ..engines.storage import BLOCK, CODECS
from ..engines.trace import trace
from ..errors import EngineError, InputError
from ..rules import Rule, Slot
from ._storage import conform, conform_weight, counts, keep, kinds_of

__all__ = [
    "clips_inside",
    "level",
    "make_buckets",
    "make_state",
    "number_dtype",
    "shared_state",
    "structure",
]

#: The engine that compiles kernels, by the kind of device. (ROCm's devices are "cuda" to torch.)
COMPILED = {"cpu": "numba", "cuda": "triton", "xpu": "triton"}
_FLAGS = ("fused", "foreach", "differentiable", "capturable")


def structure(rule: Rule, group: Mapping[str, Any]) -> tuple[Any, ...]:
    """Everything in a group's values that decides how its tensors are placed."""
    flags = tuple(group.get(f) for f in _FLAGS)
    values = rule.flag_values(group), flags, clips_inside(group), str(group.get("storage"))
    return rule.present(group), *values, len(group["params"])


def clips_inside(group: Mapping[str, Any]) -> tuple[str, ...]:
    """The clipping that is part of a kernel."""
    return tuple(n for n in ("clip_value", "clip_agc") if group.get(n) is not None)


@cache
def _has_triton() -> bool:
    return find_spec("triton") is not None


def _compiled_refuses(rule: Rule, group: Mapping[str, Any], p: Tensor) -> str:
    """Why no compiled engine can step a tensor; empty if one can."""
    if is_sharded(p):
        if len(trace(rule, rule.present(group), rule.flag_values(group)).passes) > 1:
            return "it is a DTensor, over whose shards the formula sums"
        if group.get("clip_agc") is not None:
            return "it is a DTensor, over whose shards clip_agc sums"
        p = local(p)
    if type(p) not in PLAIN:
        return f"it is a {type(p).__name__}"
    if p.device.type not in COMPILED:
        return f"it is on {p.device.type}"
    if COMPILED[p.device.type] == "triton" and not _has_triton():
        return f"it is on {p.device.type}, and Triton is not installed"
    if p.dtype not in COMPILED_DTYPES:
        return f"it holds {p.dtype}"
    if p.layout != torch.strided or not dense(p):
        return "its elements do not fill one block of memory"
    if group.get("clip_agc") is not None and not _units_apart(p):
        return "clip_agc is given and its units (rows) do not lie one after the other in memory"
    return ""


def _storage_refuses(group: Mapping[str, Any], p: Tensor) -> str:
    """Why no compiled engine can step a tensor whose state is compact; empty if one can."""
    if COMPILED.get(p.device.type) == "triton":
        return ""  # whose chunks need not end where units do
    if group.get("clip_agc") is not None and p.ndim > 1 and p.numel() // p.shape[0] % BLOCK:
        return f"clip_agc is given and its units (rows) are no multiple of {BLOCK} elements"
    return ""


def _units_apart(p: Tensor) -> bool:
    """Whether the elements of a dense tensor's units lie together."""
    return p.ndim < 2 or not p.numel() or p.shape[0] == 1 or p.stride(0) == p.numel() // p.shape[0]


def _compiled(group: Mapping[str, Any], p: Tensor) -> str:
    """The name of the compiled engine for one tensor."""
    engine = COMPILED[p.device.type]
    counting = engine == "triton" and (group.get("fused") or group.get("capturable"))
    return engine + "-counting" * bool(counting) + "-shards" * is_sharded(p)


def _engine(
    owner: str,
    rule: Rule,
    group: Mapping[str, Any],
    p: Tensor,
    g: Tensor,
    *,
    compact: Sequence[str],
) -> str:
    """The name of the engine for one tensor; ``compact``: its arrays that are of another kind."""
    fused, foreach = group.get("fused"), group.get("foreach")
    if not g.is_sparse and not rule.dense:
        raise EngineError(
            f"{owner} does not support dense gradients, please consider Adam instead. Or make them "
            "sparse: sparse=True in the embedding"
        )
    if g.is_sparse and not rule.sparse:
        raise EngineError(
            f"{owner} does not support sparse gradients. Use SGD or Adagrad, or sparse=False in "
            "the embedding"
        )
    if rule.matrix:
        if p.is_complex():
            raise EngineError(
                f"{owner} does not support complex parameters. Step the real and the imaginary "
                "part as parameters of their own"
            )
        # Operations on DTensors gather what they need; few of them work on stacks.
        return MATRIX_LOOP if foreach is False or is_sharded(p) else MATRIX
    if compact and (g.is_sparse or group.get("differentiable")):
        what = "sparse gradients" if g.is_sparse else "differentiable=True"
        raise EngineError(
            f"{owner}: a compact state (storage=) cannot be stepped with {what}. "
            "Put such parameters into a group with storage=None"
        )
    if group.get("differentiable"):
        return "tensor"
    on_accelerator = p.device.type != "cpu"
    if g.is_sparse:
        return "tensor" if group.get("capturable") and on_accelerator else "eager"
    refusal = _compiled_refuses(rule, group, p) or (_storage_refuses(group, p) if compact else "")
    if fused and refusal:
        raise EngineError(
            "`fused=True` requires all the params to be floating point Tensors of supported "
            f"devices: {list(COMPILED)}, each one block of memory, but {refusal}. "
            "Leave fused at None"
        )
    fastest = not (foreach or fused is False or foreach is False)
    if fused or (fastest and not refusal):
        return _compiled(group, p)
    if group.get("capturable") and on_accelerator:
        return "tensor"
    # DTensors have few of the operations on lists; compact states none.
    if compact and is_sharded(p):
        raise EngineError(
            f"{owner}: only the compiled engine steps DTensors with compact state (storage=), but "
            f"{refusal or 'foreach or fused says otherwise'}. Put them into a group with "
            "storage=None"
        )
    lists = foreach or (fastest and not is_sharded(p))
    return "foreach" if lists and not compact else "eager"


def make_state(
    owner: str,
    rule: Rule,
    group: Mapping[str, Any],
    p: Tensor,
    state: dict[str, Any],
    kinds: Mapping[str, str],
) -> tuple[str, ...]:
    """Make what is missing of a tensor's state, and let slots be kept as the group says.

    Args:
        owner: the optimizer's name, for errors.
        rule: its rule.
        group: the parameter's group.
        p: the parameter.
        state: its state.
        kinds: how slots are kept, see :func:`._storage.kinds_of`.

    Returns:
        the names of what was made.
    """
    present = rule.present(group, p.ndim)
    before = set(state)
    if counts(rule, kinds) and "step" not in state:
        if state and rule.counts_steps:
            raise InputError(
                f"{owner}: a parameter's state has {', '.join(map(str, state))}, not "
                f"{', '.join(('step', *present))}: it was saved by another optimizer. "
                "Load a state of this one, or start without"
            )
        state["step"] = 0 if rule.plain_step else _number(group, p, 0.0)
    for slot in rule.slots:
        kind = kinds.get(slot.name)
        if slot.name not in present:
            continue
        if state.get(slot.name) is not None:
            conform(state, slot.name, kind, p)
        elif kind is None:
            state[slot.name] = _first_value(group, p, slot)
        else:
            first = None if slot.init == 0.0 else _first_value(group, p, slot)
            keep(state, slot.name, first, kind, p)
    if state or "p" in kinds:
        conform_weight(state, kinds.get("p"), p)
    return tuple(name for name in state if name not in before)


def shared_state(rule: Rule, states: Mapping[Tensor, dict[str, Any]]) -> Mapping[str, Any] | None:
    """A state that has the numbers which are one for all parameters, or None."""
    names = set(rule.shared)
    return next((s for s in states.values() if names <= s.keys()), None) if names else None


def level(rule: Rule, states: Iterable[dict[str, Any]], known: Mapping[str, Any] | None) -> None:
    """Give all states the numbers that are one for all parameters: those of a state that has them.

    Args:
        rule: says which they are.
        states: of all parameters; those that lack the numbers are left alone.
        known: the state that has them as they are now; None: nothing is known yet.
    """
    if known is None:
        return
    for state in states:
        for name in rule.shared:
            if name in state and state is not known:
                if known[name].requires_grad:
                    state[name] = known[name]
                else:
                    state[name].copy_(known[name])


def _first_value(group: Mapping[str, Any], p: Tensor, slot: Slot) -> Tensor:
    """What a slot holds before the first step."""
    if slot.init == "p" and group.get("differentiable"):
        return p.clone()  # a slope flows through it
    if slot.init == "p":
        with torch.no_grad():
            return _array(p, 0.0, slot.axis).copy_(p)
    value = group[slot.init] if isinstance(slot.init, str) else slot.init
    number = float(value.detach() if isinstance(value, Tensor) else value)
    if slot.scalar:
        first = _number(group, p, number, torch.float64 if slot.exact else number_dtype())
    else:
        first = _array(p, number, slot.axis)
    if group.get("differentiable") and isinstance(value, Tensor) and value.requires_grad:
        slope = (value - value.detach()).to(first.dtype)  # 0, through which a slope flows
        first = first + (slope * (1 + 1j) if first.is_complex() else slope)
    return first


def _number(
    group: Mapping[str, Any], p: Tensor, value: float, dtype: torch.dtype | None = None
) -> Tensor:
    """One number of state, of the kind and on the device that torch chooses."""
    on_device = group.get("capturable") or group.get("fused")
    device = p.device if on_device else "cpu"
    return torch.full((), value, dtype=dtype or number_dtype(), device=device)


def number_dtype() -> torch.dtype:
    """The kind of number that torch counts steps in."""
    return torch.float64 if torch.get_default_dtype() == torch.float64 else torch.float32


def _array(p: Tensor, value: float, axis: int | None) -> Tensor:
    """An array of state; both parts of a complex number are the value."""
    if axis is not None:
        shape = list(p.shape)
        shape[axis] = 1
        return torch.full(shape, value, dtype=p.dtype, device=p.device)
    new = torch.zeros_like(p, memory_format=torch.preserve_format, requires_grad=False)
    (torch.view_as_real(new) if p.is_complex() else new).fill_(value)
    return new


def make_buckets(
    owner: str,
    rule: Rule,
    members: Sequence[tuple[int, Mapping[str, Any], Tensor, Tensor]],
    states: Mapping[Tensor, dict[str, Any]],
) -> list[tuple[list[int], Bucket]]:
    """Sort tensors into buckets.

    Args:
        owner: the optimizer's name, for errors.
        rule: its rule.
        members: for every tensor with a gradient, the number of its group, the group, the tensor
            and the gradient.
        states: the optimizer's state; missing entries are made.

    Returns:
        each bucket with the positions of its tensors in ``members``.
    """
    sorted_members: dict[tuple[Any, ...], list[tuple[Any, ...]]] = {}
    for position, (number, group, p, g) in enumerate(members):
        stored = kinds_of(owner, rule, group, p)
        compact = tuple((n, k) for n, k in stored.items() if k in CODECS)
        # Lists of tensors are all of one dtype, so state in another is as compact state to them.
        apart = tuple(stored if p.dtype.itemsize == 2 else dict(compact))
        engine = _engine(owner, rule, group, p, g, compact=apart)
        present = rule.present(group, p.ndim)
        state = states[p] if present or rule.counts_steps or stored else {}
        new = make_state(owner, rule, group, p, state, stored)
        counted = ("step",) if counts(rule, stored) and not rule.plain_step else ()
        kinds = tuple(state[n].dtype for n in (*present, *counted))
        clips, shape = clips_inside(group), p.shape if rule.matrix else ()
        flags = rule.flag_values(group)
        key = (engine, present, flags, clips, compact, p.device, p.dtype, kinds, shape)
        sorted_members.setdefault(key, []).append((position, number, p, g.is_sparse, state, new))
    buckets = []
    for (engine, present, flags, clips, compact, *_), found in sorted_members.items():
        at, groups, params, sparse, states_of, made = zip(*found, strict=True)
        bound = Members(params, sparse, states_of, groups, made, clips, compact)
        buckets.append((list(at), ENGINES[engine](rule, present, flags, bound)))
    return buckets
