"""Which slots are kept in which format, and state that goes from one format to another."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor

from ..engines.layout import adopt, dtype_name
from ..engines.shards import distributed, is_sharded, local
from ..engines.storage import BLOCK, CODECS, SMALL, WEIGHT, close, empty_planes, open_planes
from ..errors import EngineError, InputError, InputTypeError
from ..rules import Rule, Slot

__all__ = [
    "FORMATS",
    "check_storage",
    "conform",
    "conform_weight",
    "counts",
    "keep",
    "kinds_of",
    "opened",
    "plain",
    "planes_of",
    "take_over",
]

#: What ``storage=`` may say, and what it is for one slot: a kind of number, or a codec.
FORMATS: Mapping[str, str] = {
    "float32": "float32",
    "bfloat16": "stochastic16",
    "int8": "signed8",
}
#: What it may say of 16-bit weights: the bits of the correction.
WEIGHTS: Mapping[str, int] = {"float24": 8, "float32": 16}
#: The key of what corrects a 16-bit weight.
CORRECTION = CODECS["bfloat16x8"].keys("p")[1]
_DTYPES = (torch.float32, torch.bfloat16, torch.float16)


def check_storage(owner: str, rule: Rule, storage: Any) -> None:
    """Raise if a group's ``storage`` cannot be understood.

    Raises:
        InputTypeError: it is neither a word nor a dict of words.
        InputError: a word or a slot is unknown, or the slot has nothing to compress.
    """
    if storage is None:
        return
    allowed = ", ".join(map(repr, FORMATS))
    if not isinstance(storage, (str, Mapping)):
        raise InputTypeError(
            f"{owner}: storage must be one of {allowed}, or a dict that gives one a slot, "
            f"got {storage!r} of type {type(storage).__name__}"
        )
    if rule.matrix:
        raise InputError(
            f"{owner}: storage= is for optimizers that treat every element alike; this one works "
            "on whole matrices. Leave it out"
        )
    slots = [s.name for s in _slots(rule)]
    words = {"": storage} if isinstance(storage, str) else storage
    for name, word in words.items():
        if name not in ("", WEIGHT, *slots):
            keeps = ", ".join(map(repr, (*slots, WEIGHT)))
            raise InputError(f"{owner}: storage names the slot {name!r}; it has {keeps}")
        known = WEIGHTS if name == WEIGHT else FORMATS
        if word not in known:
            allowed = ", ".join(map(repr, known))
            raise InputError(
                f"{owner}: storage must be one of {allowed}{' for the weight' * (name == WEIGHT)}, "
                f"got {word!r}"
            )


def _slots(rule: Rule) -> Iterator[Slot]:
    """The slots that have one number an element."""
    return (s for s in rule.slots if not s.scalar and s.axis is None)


def _words(rule: Rule, storage: str | Mapping[str, str]) -> Mapping[str, str]:
    """What is said of each slot. A word alone speaks of statistics, not of copies of weights."""
    if not isinstance(storage, str):
        return storage
    words = {s.name: "float32" if s.weights else storage for s in _slots(rule)}
    return {**words, WEIGHT: "float32" if storage == "float32" else "float24"}


def kinds_of(owner: str, rule: Rule, group: Mapping[str, Any], p: Tensor) -> dict[str, str]:
    """How the present slots of a parameter are kept, where the group says so.

    Returns:
        for each slot ``"float32"`` or the name of a codec; for a 16-bit parameter ``p`` that is
        corrected, a codec.
    """
    storage = group.get("storage")
    if storage is None:
        return {}
    check_storage(owner, rule, storage)  # it may have been set since
    if p.dtype not in _DTYPES:
        raise EngineError(
            f"{owner}: storage= keeps the state of float32, bfloat16 and float16 parameters, got "
            f"one of {p.dtype}. Put such parameters into a group with storage=None"
        )
    words, present = _words(rule, storage), rule.present(group, p.ndim)
    kinds = {
        s.name: _kind(s, words[s.name], p)
        for s in _slots(rule)
        if s.name in present and s.name in words
    }
    if WEIGHT in words and p.dtype.itemsize == 2:
        correction = WEIGHTS["float32" if p.numel() < SMALL else words[WEIGHT]]
        kinds["p"] = f"{dtype_name(p.dtype)}x{correction}"
    return kinds


def _kind(slot: Slot, word: str, p: Tensor) -> str:
    if p.numel() < SMALL:
        return "float32"
    kind = FORMATS[word]
    if kind == "signed8" and is_sharded(p) and not _whole_blocks(p):
        return "float32"
    return "positive8" if kind == "signed8" and slot.nonnegative else kind


def _whole_blocks(p: Any) -> bool:
    """Whether no block of a DTensor lies in two rows, so that scales are sharded as rows are."""
    by_rows = all(not q.is_shard() or q.is_shard(0) for q in p.placements)
    return by_rows and p.ndim > 1 and p.is_contiguous() and p[0].numel() % BLOCK == 0


def planes_of(rule: Rule, state: Mapping[str, Any]) -> set[str]:
    """The keys of a state that are there because it is compact; also a count of steps."""
    slots = [s.name for s in _slots(rule) if isinstance(state.get(s.name), Tensor)]
    held = {slot: codec for slot in slots if (codec := _held(state, slot))}
    keys = {key for slot, codec in held.items() for key in CODECS[codec].keys(slot)}
    keys |= {CORRECTION} & state.keys()
    rounded = keys or any(state[slot].dtype == torch.bfloat16 for slot in slots)
    return keys | ({"step"} if rounded else set())


def plain(rule: Rule, state: Mapping[str, Any]) -> dict[str, Any]:
    """A parameter's state with every compact slot in float32, as torch's optimizers keep it."""
    added = planes_of(rule, state)
    slots = {s.name for s in _slots(rule)}
    out = {}
    for key, value in state.items():
        if key in slots:
            numbers = opened(state, key)
            out[key] = numbers.float() if numbers.dtype == torch.bfloat16 else numbers
        elif key not in added or (key == "step" and rule.counts_steps):
            out[key] = value
    return out


def take_over(
    rule: Rule,
    kinds: Mapping[str, str],
    p: Tensor,
    state: dict[str, Any],
    saved: Mapping[str, Any],
) -> None:
    """Let loaded slots be kept as they are to be, from the numbers that were saved.

    Args:
        rule: the optimizer's.
        kinds: how slots are to be kept, see :func:`kinds_of`.
        p: the parameter.
        state: its state as torch loads it: everything in the parameter's dtype.
        saved: the state that was loaded.
    """
    for slot in rule.arrays(saved):
        codec = _held(saved, slot)
        if codec or slot in kinds:
            for key in CODECS[codec].keys(slot) if codec else (slot,):
                state[key] = saved[key].detach().to(p.device, copy=True)
            conform(state, slot, kinds.get(slot), p)
    if CORRECTION in saved:
        state[CORRECTION] = saved[CORRECTION].detach().to(p.device, copy=True)
    conform_weight(state, kinds.get("p"), p)
    if not counts(rule, kinds):
        state.pop("step", None)


def conform_weight(state: dict[str, Any], kind: str | None, p: Tensor) -> None:
    """Bring what corrects a 16-bit weight to the way in which it is to be kept.

    Args:
        state: the parameter's.
        kind: a codec; None: the weight is not corrected.
        p: the parameter.
    """
    found = state.pop(CORRECTION, None)
    if kind is None:
        return
    dtype, like = CODECS[kind].planes[1].dtype, torch.empty_like(p)
    if found is None:
        state[CORRECTION] = torch.zeros_like(p, dtype=dtype, requires_grad=False)
        return
    if found.dtype != dtype:
        wider = dtype == torch.int16
        found = found.to(dtype) * 2**8 if wider else found.div(2**8, rounding_mode="floor")
    state[CORRECTION] = adopt(found, like, dtype)


def counts(rule: Rule, kinds: Mapping[str, str]) -> bool:
    """Whether a tensor's steps are counted: by the rule, or to round at random."""
    return rule.counts_steps or any(k in CODECS and CODECS[k].random for k in kinds.values())


def _held(state: Mapping[str, Any], slot: str) -> str:
    """The codec of a slot in the state; of 16 bits, which look alike, none."""
    return next((c for c, codec in CODECS.items() if _is(state, slot, c)), "")


def _is(state: Mapping[str, Any], slot: str, kind: str) -> bool:
    planes = CODECS[kind].planes
    return len(planes) > 1 and all(
        slot + plane.suffix in state and state[slot + plane.suffix].dtype == plane.dtype
        for plane in planes
    )


def opened(state: Mapping[str, Any], slot: str) -> Tensor:
    """A slot's numbers, in whatever way they are kept."""
    codec = _held(state, slot)
    if not codec:
        value: Tensor = state[slot]
        return value
    planes = [state[key] for key in CODECS[codec].keys(slot)]
    numbers = open_planes(codec, [local(plane) for plane in planes])
    return distributed(numbers, planes[0]) if is_sharded(planes[0]) else numbers


def keep(state: dict[str, Any], slot: str, numbers: Tensor | None, kind: str, p: Tensor) -> None:
    """Put a slot's numbers into a state.

    Args:
        state: written to; the planes of another codec are taken away.
        slot: the slot's name.
        numbers: None: all zero.
        kind: ``"float32"``, another dtype's name, or a codec.
        p: the parameter, whose layout in memory the slot gets.
    """
    for key in {key for codec in CODECS.values() for key in codec.keys(slot)}:
        state.pop(key, None)
    if kind not in CODECS:
        dtype = getattr(torch, kind)
        state[slot] = (
            torch.zeros_like(p, dtype=dtype, requires_grad=False)
            if numbers is None
            else adopt(numbers, torch.empty_like(p), dtype)
        )
        return
    planes = empty_planes(kind, local(p))
    if numbers is not None:
        close(kind, local(numbers), planes)
    if is_sharded(p):
        shape = (p.shape[0], p.shape.numel() // p.shape[0] // BLOCK)
        rows = (t.view(-1, shape[1]) for t in planes[1:])
        planes = (distributed(planes[0], p), *(distributed(t, p, shape) for t in rows))
    state.update(zip(CODECS[kind].keys(slot), planes, strict=True))


def conform(state: dict[str, Any], slot: str, kind: str | None, p: Tensor) -> None:
    """Bring a slot that exists to the way in which it is to be kept.

    Args:
        state: as another group, or another optimizer, left it.
        slot: the slot's name.
        kind: see :func:`keep`; None: nothing is said of it, so anything but a codec will do.
        p: the parameter.
    """
    held = _held(state, slot)
    if kind is None:
        if held:
            keep(state, slot, opened(state, slot), dtype_name(p.dtype), p)
        return
    as_wanted = (
        held == kind
        if len(CODECS[kind].planes if kind in CODECS else ()) > 1
        else not held and state[slot].dtype == _dtype(kind)
    )
    laid_out = not held or state[slot].stride() == torch.empty_like(p).stride()
    if not (as_wanted and laid_out):
        keep(state, slot, opened(state, slot), kind, p)


def _dtype(kind: str) -> torch.dtype:
    dtype: torch.dtype = CODECS[kind].planes[0].dtype if kind in CODECS else getattr(torch, kind)
    return dtype
