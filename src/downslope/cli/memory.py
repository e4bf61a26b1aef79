"""``downslope memory``: the bytes that training a model with an optimizer takes."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..errors import InputError
from .app import Debug
from .model import TASK, TASK_OPTIONS, named_model
from .options import assignments, with_options

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["command"]

_UNITS = {"": 1, "k": 10**3, "m": 10**6, "b": 10**9}
_DTYPES = ("float32", "bfloat16", "float16")


def _memory(
    spec: Annotated[
        str,
        typer.Argument(
            help=f"a count of parameters such as 124M, {TASK} (which may give a model too)",
            metavar="MODEL",
        ),
    ],
    optimizer: Annotated[
        str, typer.Option(help="optimizer, such as sgd", metavar="NAME")
    ] = "adamw",
    storage: Annotated[
        list[str] | None,
        typer.Option(
            help="how state is kept: float32, bfloat16 or int8, or SLOT=FORMAT once a slot",
            metavar="FORMAT",
        ),
    ] = None,
    dtype: Annotated[
        str | None, typer.Option(help=f"of the weights: {', '.join(_DTYPES)}", metavar="DTYPE")
    ] = None,
    release: Annotated[
        bool, typer.Option("--release", help="gradients are freed one by one (release_gradients)")
    ] = False,
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", help="another argument, such as momentum=0.9", metavar="NAME=VALUE"),
    ] = None,
    debug: Debug = False,
    *,
    given: dict[str, Any],
) -> None:
    """Tell the bytes a parameter that training takes: weights, gradients, state."""
    import torch

    from .. import optim

    if dtype not in (None, *_DTYPES):
        raise InputError(f"--dtype must be one of {', '.join(_DTYPES)}, got {dtype!r}")
    chosen = optim.get(optimizer)
    arguments: dict[str, Any] = assignments(settings or [])
    if storage:
        arguments["storage"] = _storage(storage)
    kinds = [(p, getattr(torch, dtype) if dtype else p.dtype) for p in _parameters(spec, given)]
    # On the device "meta" a tensor has a size and no memory.
    params = [
        torch.empty_like(p, dtype=kind, device="meta", requires_grad=True) for p, kind in kinds
    ]
    built = chosen(params, **arguments)
    if release:
        built.release_gradients()
    typer.echo(_shown(type(built).__name__, built.memory()))


command = with_options(_memory, TASK_OPTIONS)


def _parameters(spec: str, given: dict[str, Any]) -> list[Tensor]:
    """The parameters of a model, or one matrix of so many elements."""
    import torch

    count = re.fullmatch(r"(\d+(?:\.\d+)?)([kmb]?)", spec.lower())
    if count and not Path(spec).exists():
        elements = round(float(count[1]) * _UNITS[count[2]])
        return [torch.empty(1, elements, device="meta")]
    return [p for p in named_model(spec, **given).parameters() if p.requires_grad]


def _storage(words: list[str]) -> str | dict[str, str]:
    if len(words) == 1 and "=" not in words[0]:
        return words[0]
    pairs = [word.partition("=") for word in words]
    if not all(sign for _, sign, _ in pairs):
        raise InputError(
            f"--storage takes one word, or SLOT=FORMAT for each slot, got {' '.join(words)!r}"
        )
    return {slot: word for slot, _, word in pairs}


def _shown(name: str, memory: Any) -> str:
    """The prediction alone: nothing was trained."""
    lines = str(memory).splitlines()
    return "\n".join([name, *(line[:29] for line in lines)])
