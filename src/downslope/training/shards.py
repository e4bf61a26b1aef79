"""Checkpoints of sharded models: each process writes its own share.

The shards are ``torch.distributed.checkpoint``'s, in a folder of their own, so any number of
processes reads them. The checkpoint file, written when they are complete, names the folder and
holds the size and the checksum of each file in it: it is as whole, or as damaged, as they are.
"""

from __future__ import annotations

import secrets
import shutil
import warnings
import zlib
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch import Tensor, nn
from torch.optim import Optimizer

from ..errors import CheckpointError
from ..files import flush_folder

if TYPE_CHECKING:
    from .processes import Processes

__all__ = ["load", "load_model", "prune", "save", "take_whole", "tensors"]

PREFIX = "shards-"
_BLOCK = 1 << 20


def tensors(
    model: nn.Module, optimizer: Optimizer, average: Mapping[str, Tensor] | None
) -> dict[str, Any]:
    """What is written in shards, by the names of the parameters."""
    from torch.distributed.checkpoint.state_dict import get_optimizer_state_dict

    found: dict[str, Any] = {"model": model.state_dict()}
    if optimizer.state:  # or torch would step with gradients of zero to make some, and count it
        found["optimizer"] = get_optimizer_state_dict(model, optimizer)
    return found if average is None else {**found, "average": dict(average)}


def save(state: dict[str, Any], folder: Path, processes: Processes) -> dict[str, Any]:
    """Write shards into a new folder inside ``folder``; returns what :func:`load` is to be given.

    All processes call it together.
    """
    from torch.distributed.checkpoint.state_dict_saver import save as write

    name = processes.by_first(lambda: f"{PREFIX}{secrets.token_hex(6)}")
    write(state, checkpoint_id=folder / name)

    def described() -> dict[str, Any]:
        flush_folder(folder / name)
        files = sorted((folder / name).iterdir())
        return {"folder": name, "files": {f.name: [f.stat().st_size, _crc(f)] for f in files}}

    return processes.by_first(described)


def load(
    shards: dict[str, Any],
    folder: Path,
    model: nn.Module,
    optimizer: Optimizer,
    average: Mapping[str, Tensor] | None,
    processes: Processes,
) -> dict[str, Tensor] | None:
    """Read shards into a model, sharded as it may be, and its optimizer; returns the average.

    Raises:
        CheckpointError: a shard is missing or damaged.
    """
    from torch.distributed.checkpoint.state_dict import (
        get_optimizer_state_dict,
        set_optimizer_state_dict,
    )

    path = folder / shards["folder"]
    processes.by_first(lambda: verify(shards, folder))
    state: dict[str, Any] = {"model": model.state_dict()}
    parts = {name.partition(".")[0] for name in _names(path)}
    if "optimizer" in parts:
        state["optimizer"] = get_optimizer_state_dict(model, optimizer)
    if average is not None and "average" in parts:
        state["average"] = dict(average)
    _read(state, path)
    model.load_state_dict(state["model"])
    if "optimizer" in state:
        set_optimizer_state_dict(model, optimizer, state["optimizer"])
    return state.get("average")


def load_model(shards: dict[str, Any], folder: Path, model: nn.Module) -> None:
    """Read the weights alone into a whole model: the averaged ones, where there are such.

    Raises:
        CheckpointError: a shard is missing or damaged.
    """
    verify(shards, folder)
    path = folder / shards["folder"]
    known = _names(path)
    state: dict[str, Any] = {"model": model.state_dict()}
    averaged = [n for n, _ in model.named_parameters() if f"average.{n}" in known]
    state["average"] = {n: state["model"][n].clone() for n in averaged}
    _read(state, path)
    model.load_state_dict({**state["model"], **state["average"]})


def take_whole(
    saved: dict[str, Any], model: nn.Module, optimizer: Optimizer
) -> dict[str, Tensor] | None:
    """Take up the state of one file into a sharded model; returns the average."""
    from torch.distributed.checkpoint.state_dict import (
        StateDictOptions,
        set_model_state_dict,
        set_optimizer_state_dict,
    )

    whole = StateDictOptions(full_state_dict=True)
    set_model_state_dict(model, saved["model"], options=whole)
    if saved["optimizer"]["state"]:
        named = _by_name(saved["optimizer"], [name for name, _ in model.named_parameters()])
        set_optimizer_state_dict(model, optimizer, named, options=whole)
    average = saved.get("average")
    if average is None:
        return None
    from torch.distributed.tensor import distribute_tensor

    parameters = dict(model.named_parameters())
    return {
        name: distribute_tensor(t, parameters[name].device_mesh, parameters[name].placements)  # type: ignore[attr-defined]  # of a DTensor
        for name, t in average.items()
    }


def _by_name(saved: dict[str, Any], names: Sequence[str]) -> dict[str, Any]:
    """An optimizer's state dict with the parameters' names in place of their numbers."""
    return {
        "state": {names[k]: state for k, state in saved["state"].items()},
        "param_groups": [
            {**group, "params": [names[k] for k in group["params"]]}
            for group in saved["param_groups"]
        ],
    }


def verify(shards: dict[str, Any], folder: Path) -> None:
    """Raise where a shard is not what was written."""
    for name, (size, crc) in shards["files"].items():
        path = folder / shards["folder"] / name
        try:
            sound = path.stat().st_size == size and _crc(path) == crc
        except OSError as error:
            raise CheckpointError(
                f"Shard {str(path)!r} cannot be read: {error.strerror}."
            ) from None
        if not sound:
            raise CheckpointError(f"Shard {str(path)!r} is damaged: its checksum is wrong.")


def prune(folder: Path, used: Collection[str | None]) -> None:
    """Remove the folders of shards that no checkpoint names any more."""
    for path in folder.glob(f"{PREFIX}*"):
        if path.name not in used:
            shutil.rmtree(path)


def _names(path: Path) -> Collection[str]:
    """What a folder of shards holds."""
    from torch.distributed.checkpoint.filesystem import FileSystemReader

    names: Collection[str] = FileSystemReader(path).read_metadata().state_dict_metadata
    return names


def _read(state: dict[str, Any], path: Path) -> None:
    """Fill tensors, whole or sharded, from a folder of shards."""
    from torch.distributed.checkpoint.state_dict_loader import load as read

    with warnings.catch_warnings():
        # One process alone reads all of it, and that is what it is for.
        warnings.filterwarnings("ignore", message="torch.distributed is disabled")
        read(state, checkpoint_id=path)


def _crc(path: Path) -> int:
    crc = 0
    with path.open("rb") as file:
        while block := file.read(_BLOCK):
            crc = zlib.crc32(block, crc)
    return crc
