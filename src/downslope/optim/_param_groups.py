"""A model's parameters in groups: without weight decay where it does harm, slower at the bottom."""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from numbers import Real
from typing import Any, NamedTuple

from torch import Tensor, nn

from ..errors import InputError, InputTypeError, is_whole, unknown
from ..schedules import Schedule

__all__ = ["NO_DECAY", "ParamGroups", "param_groups"]

Value = float | Tensor | Schedule

_NORM = re.compile(r"Norm(\dd)?$")
_EMBEDDING = re.compile(r"Embedding(Bag)?$")
_BIAS = re.compile(r"(^|_)bias(_|$)")
_EMBEDDED = re.compile(r"(embed(ding)?s?|_token)$")


class _Place(NamedTuple):
    """One of the places where a parameter is found in a model."""

    name: str
    module: nn.Module
    p: Tensor

    @property
    def own_name(self) -> str:
        return self.name.rpartition(".")[2]

    def is_a(self, kind: re.Pattern[str]) -> bool:
        """Whether its module is of a class of such a name, or derived from one."""
        return any(kind.search(cls.__name__) for cls in type(self.module).__mro__)


_KINDS: Mapping[str, Callable[[_Place], bool]] = {
    "biases": lambda place: bool(_BIAS.search(place.own_name)),
    "norms": lambda place: place.is_a(_NORM),
    "embeddings": lambda place: place.is_a(_EMBEDDING) or bool(_EMBEDDED.search(place.own_name)),
    "vectors": lambda place: place.p.ndim < 2,
}

#: The kinds of parameters that are not decayed unless something else is asked for.
NO_DECAY = tuple(_KINDS)


class ParamGroups(list[dict[str, Any]]):
    """Parameter groups, printed as a table.

    >>> import torch
    >>> ParamGroups([{"name": "weights", "params": [torch.zeros(3, 2)], "weight_decay": 0.1}])
    name     weight_decay  tensors  elements
    weights  0.1                 1         6
    """

    def __repr__(self) -> str:
        keys = [k for k in ("name", "lr", "weight_decay") if any(k in g for g in self)]
        rows = [[*keys, "tensors", "elements"]]
        for group in self:
            # torch's constructor puts the parameters alone in the place of the pairs.
            held = [p[1] if isinstance(p, tuple) else p for p in group["params"]]
            sizes = [f"{len(held):,}", f"{sum(p.numel() for p in held):,}"]
            rows.append([*(_shown(group.get(k, "the optimizer's")) for k in keys), *sizes])
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        texts = len(keys)
        lines = (
            "  ".join(
                cell.ljust(width) if k < texts else cell.rjust(width)
                for k, (cell, width) in enumerate(zip(row, widths, strict=True))
            )
            for row in rows
        )
        return "\n".join(lines)


def _shown(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def param_groups(
    model: nn.Module,
    *,
    weight_decay: Value | None = None,
    lr: Value | None = None,
    no_decay: Iterable[str] = NO_DECAY,
    layer_decay: float | None = None,
    depth: Callable[[str], int] | None = None,
) -> ParamGroups:
    """A model's trainable parameters in groups, for any optimizer here or in torch.

    Weight decay pulls weights towards zero. A bias, the gain of a normalization, a vector or an
    embedding is no weight of a sum over inputs, and is usually left alone. With ``layer_decay``
    each layer's learning rate is a fixed share of that of the layer above (ELECTRA, arXiv
    2003.10555; BEiT, arXiv 2106.08254), for fine-tuning::

        lr * layer_decay ** (depth_max - depth)

    Every group has a ``name``, and its parameters have theirs. A parameter that is found in several
    places (tied weights) comes once; it is not decayed if it would not be in one of them, and its
    depth is the least. Frozen parameters (``requires_grad=False``) are left out.

    Args:
        model: the model.
        weight_decay: of the groups that are decayed: a number, a one-element tensor or a schedule.
            None: what the optimizer is given.
        lr: of all groups, before ``layer_decay``: the same kinds. None: what the optimizer is
            given.
        no_decay: what is not decayed: ``"biases"``, ``"norms"`` (classes whose name ends in
            ``Norm``, ``Norm2d``...: torch's own, ``LlamaRMSNorm``...), ``"embeddings"`` (classes
            whose name ends in ``Embedding``; parameters such as ``pos_embed`` and ``cls_token``),
            ``"vectors"`` (fewer than two dimensions), and patterns of parameters' names such as
            ``"head.*"``.
        layer_decay: above 0 and at most 1. It needs ``lr``.
        depth: the depth of a parameter by its name, counted from 0 at the input. If not given,
            each element of a ``ModuleList`` or ``Sequential`` is a layer, in order; so is what
            comes before, between and after them. Of containers inside one another the outermost
            counts, but one that holds a longer one is looked through.

    Returns:
        a list of dictionaries with the keys ``name``, ``params`` (pairs of name and parameter), and
        ``weight_decay`` and ``lr`` where they are known; printed, a table.

    Raises:
        InputTypeError: ``model`` is no module.
        InputError: nothing is trainable; a word or pattern that fits nothing; ``layer_decay`` out
            of range or without ``lr``.

    >>> import torch
    >>> from downslope import optim
    >>> model = torch.nn.Sequential(
    ...     torch.nn.Linear(4, 8), torch.nn.LayerNorm(8), torch.nn.Linear(8, 2)
    ... )
    >>> optim.param_groups(model, weight_decay=0.1)
    name      weight_decay  tensors  elements
    decay     0.1                 2        48
    no decay  0                   4        26
    >>> groups = optim.param_groups(model, lr=1e-3, layer_decay=0.5)
    >>> groups
    name               lr       weight_decay     tensors  elements
    layer 0, decay     0.00025  the optimizer's        1        32
    layer 0, no decay  0.00025  0                      1         8
    layer 1, no decay  0.0005   0                      2        16
    layer 2, decay     0.001    the optimizer's        1        16
    layer 2, no decay  0.001    0                      1         2
    >>> optimizer = optim.AdamW(groups, weight_decay=0.05)
    """
    if not isinstance(model, nn.Module):
        raise InputTypeError(
            f"param_groups: model must be a torch.nn.Module, got {type(model).__name__}. It is the "
            "model's modules that tell a norm's gain from a weight"
        )
    places = list(_places(model))
    spared = _spared(places, [no_decay] if isinstance(no_decay, str) else no_decay)
    _check_layers(lr, layer_decay, depth)
    depths = {} if layer_decay is None else _depths(model, places, depth)
    homes: dict[Tensor, list[str]] = {}
    for place in places:
        if place.p.requires_grad:
            homes.setdefault(place.p, []).append(place.name)
    if not homes:
        raise InputError(
            "param_groups: the model has no trainable parameter. Set requires_grad=True on what "
            "is to be trained"
        )
    found: dict[tuple[int, bool], list[tuple[str, Tensor]]] = {}
    for p, names in homes.items():
        layer = min(depths.get(name, 0) for name in names)
        found.setdefault((layer, not spared.isdisjoint(names)), []).append((names[0], p))
    top = max(depths.values(), default=0)
    groups = ParamGroups()
    for (layer, free), params in sorted(found.items(), key=lambda item: item[0]):
        words = "no decay" if free else "decay"
        name = f"layer {layer}, {words}" if depths else words
        group: dict[str, Any] = {"name": name, "params": params}
        if free or weight_decay is not None:
            group["weight_decay"] = 0.0 if free else weight_decay
        if lr is not None:
            group["lr"] = lr if layer_decay is None else lr * layer_decay ** (top - layer)
        groups.append(group)
    return groups


def _places(model: nn.Module) -> Iterator[_Place]:
    """Every place of every parameter, in the order in which torch lists them."""
    for path, module in model.named_modules(remove_duplicate=False):
        for name, p in module.named_parameters(path, recurse=False, remove_duplicate=False):
            yield _Place(name, module, p)


def _spared(places: Iterable[_Place], words: Iterable[str]) -> set[str]:
    """The names of the parameters that kinds and patterns fit."""
    found: set[str] = set()
    for word in words:
        if word in _KINDS:
            found.update(place.name for place in places if _KINDS[word](place))
            continue
        fitting = {place.name for place in places if fnmatch.fnmatchcase(place.name, word)}
        if not fitting and re.search(r"[.*?\[]", word):
            raise InputError(
                f"param_groups: no parameter's name fits no_decay's pattern {word!r}. Print "
                "model.named_parameters() to see the names"
            )
        if not fitting:
            raise unknown("kind of parameter or name in no_decay", word, _KINDS)
        found |= fitting
    return found


def _check_layers(
    lr: Value | None, layer_decay: float | None, depth: Callable[[str], int] | None
) -> None:
    """Raise if learning rates cannot be scaled by layers as asked for."""
    if layer_decay is None:
        if depth is not None:
            raise InputError("param_groups: depth is used by layer_decay, which was not given")
        return
    number = isinstance(layer_decay, Real) and not isinstance(layer_decay, bool)
    if not number or not 0 < layer_decay <= 1:
        raise InputError(
            f"param_groups: layer_decay must be a number > 0 and <= 1, got {layer_decay!r}"
        )
    if lr is None:
        raise InputError(
            "param_groups: layer_decay scales lr, which was not given. Give the learning rate of "
            "the last layer"
        )
    if isinstance(lr, bool) or not isinstance(lr, Real | Tensor | Schedule):
        raise InputTypeError(
            "param_groups: lr must be a number, a one-element tensor or a schedule, got "
            f"{lr!r} of type {type(lr).__name__}"
        )


def _depths(
    model: nn.Module, places: Iterable[_Place], depth: Callable[[str], int] | None
) -> dict[str, int]:
    """The depth of every parameter, frozen ones too, by its name."""
    found: dict[str, int] = {}
    if depth is not None:
        for place in places:
            value = found[place.name] = depth(place.name)
            if not is_whole(value, 0):
                raise InputError(
                    f"param_groups: depth({place.name!r}) must be a whole number >= 0, got "
                    f"{value!r}"
                )
        return found
    known: dict[str, int] = {}
    outside: str | None = None
    for place in places:
        layer = _layer(model, place.name)
        # What lies outside of all containers is one layer up to the next element of one.
        outside = (outside or place.name) if layer is None else None
        found[place.name] = known.setdefault(layer or outside or "", len(known))
    return found


def _layer(model: nn.Module, name: str) -> str | None:
    """The path of the element of a container in which a parameter lies; None outside."""
    module, parts = model, name.split(".")[:-1]
    for k, part in enumerate(parts):
        if _ordered(module) and not _holds_longer(module):
            return ".".join(parts[: k + 1])
        module = module.get_submodule(part)
    return None


def _ordered(module: nn.Module) -> bool:
    return isinstance(module, nn.ModuleList | nn.Sequential)


def _holds_longer(container: nn.Module) -> bool:
    inner = (m for m in container.modules() if m is not container and _ordered(m))
    return any(_length(m) > _length(container) for m in inner)


def _length(container: nn.Module) -> int:
    """How many elements have parameters."""
    return sum(next(child.parameters(), None) is not None for child in container.children())
