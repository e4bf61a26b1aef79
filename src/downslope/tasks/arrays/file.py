"""Arrays from NumPy's and safetensors' files."""

from __future__ import annotations

import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...errors import InputError, MissingExtraError, unknown

__all__ = ["ARRAY_SUFFIXES", "find_inputs", "find_pair", "numbers", "read_arrays"]

ARRAY_SUFFIXES = (".npy", ".npz", ".safetensors")
#: Names that arrays of inputs and of targets usually have, in small letters.
INPUTS = ("x", "inputs", "input", "data", "features", "images")
TARGETS = ("y", "targets", "target", "labels", "label")

Array = NDArray[Any]


def read_arrays(path: Path) -> dict[str, Array]:
    """The arrays of a file by their names; the one of a ``.npy`` file has the name ``""``.

    Raises:
        InputError: no such file, a damaged one, or one that holds objects instead of numbers.
        MissingExtraError: safetensors is not installed.
    """
    try:
        if path.suffix.lower() == ".safetensors":
            return _safetensors(path)
        found = np.load(path, allow_pickle=False)
        if isinstance(found, np.ndarray):
            return {"": found}
        with found:
            return {name: found[name] for name in found.files}
    except FileNotFoundError:
        raise InputError(f"{str(path)!r} does not exist.") from None
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        reason = " ".join(str(error).split())
        raise InputError(
            f"{str(path)!r} cannot be read as arrays: {reason}. Write it with numpy.save, "
            "numpy.savez or safetensors, without Python objects."
        ) from None


def find_pair(path: Path, arrays: Mapping[str, Array], target: str | None) -> tuple[str, str]:
    """The names of the inputs and of the targets.

    Targets are what ``target`` says, or the one array of a usual name; inputs the one other array
    with as many rows, or the one of a usual name among them.

    Raises:
        InputError: they cannot be told from the others; the message lists the arrays.
    """
    if target is not None and target not in arrays:
        raise unknown(f"array of {path.name}", target, arrays)
    usual = [name for name in arrays if name.lower() in TARGETS]
    if target is None and len(usual) != 1:
        raise InputError(
            f"{str(path)!r}: which array is the target? Name it (--target NAME, or target=...). "
            f"{_listed(arrays)}"
        )
    target = usual[0] if target is None else target
    return find_inputs(path, arrays, target), target


def find_inputs(path: Path, arrays: Mapping[str, Array], target: str | None) -> str:
    """The name of the inputs, beside targets or alone.

    Raises:
        InputError: they cannot be told from the others.
    """
    rows = None if target is None or target not in arrays else len(np.atleast_1d(arrays[target]))
    others = [
        name
        for name, array in arrays.items()
        if name != target and array.ndim and rows in (None, len(array))
    ]
    usual = [name for name in others if name.lower() in INPUTS]
    chosen = others if len(others) == 1 else usual
    if len(chosen) != 1:
        beside = "" if target is None else f" beside the target {target!r}"
        raise InputError(
            f"{str(path)!r}: which array holds the inputs{beside}? Call it 'x' or 'inputs', with a "
            f"row for each target. {_listed(arrays)}"
        )
    return chosen[0]


def numbers(path: Path, name: str, array: Array) -> NDArray[np.float64]:
    """An array of finite numbers as float64.

    Raises:
        InputError: it holds something else; the message names the first place.
    """
    where = f"{str(path)!r}" + (f", array {name!r}" if name else "")
    if array.dtype.kind not in "fiub":
        raise InputError(f"{where}: numbers are wanted, got the type {array.dtype}.")
    values = array.astype(np.float64)
    bad = ~np.isfinite(values)
    if bad.any():
        first = [int(i) for i in np.unravel_index(int(bad.argmax()), values.shape)]
        raise InputError(
            f"{where}: no finite number, got {values[tuple(first)]} at {first} "
            f"({int(bad.sum())} such in all). Remove these rows, or fill in numbers."
        )
    return values


def _safetensors(path: Path) -> dict[str, Array]:
    try:
        from safetensors import SafetensorError
        from safetensors.torch import load_file
    except ImportError:
        raise MissingExtraError("safetensors", "data", "Reading safetensors") from None
    try:
        tensors = load_file(path)
    except SafetensorError as error:
        raise ValueError(error) from None
    small = {
        name: t.float() if t.dtype.itemsize < 4 and t.is_floating_point() else t
        for name, t in tensors.items()
    }
    return {name: tensor.numpy() for name, tensor in small.items()}


def _listed(arrays: Mapping[str, Array]) -> str:
    """The arrays of a file, for an error."""
    each = (f"{name!r} {tuple(array.shape)}" for name, array in arrays.items())
    return f"Arrays: {', '.join(each)}."
