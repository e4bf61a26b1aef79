"""A trained model as files that other programs read: weights, a program, and what they need."""

from __future__ import annotations

import io
import json
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ..engines.layout import dtype_name
from ..errors import InputError, MissingExtraError
from ..files import write_atomically
from ..tasks import batches
from .environment import environment
from .run import Run, Which

__all__ = ["Exported", "export"]

ROWS = 2  # of the example; with 1 the compiler would take the batch for constant


@dataclass(frozen=True)
class Exported:
    """The files of an export.

    Args:
        weights: the model's parameters and buffers, safetensors.
        program: the forward pass with its weights, for ``torch.export.load``.
        about: JSON: the input's shape and type, the preparation, where it all comes from.
    """

    weights: Path
    program: Path
    about: Path


def export(
    run: Run | str | Path, out: str | Path | None = None, *, checkpoint: Which = "best"
) -> Exported:
    """Write a run's model for use without the run, its task, or Downslope.

    The program takes any number of rows. It gives the model's outputs in evaluation mode to the
    bit, which is verified before anything is written.

    Args:
        run: the run, or its directory.
        out: a directory; ``None`` is ``export`` in the run's.
        checkpoint: the one with the best metric, or the newest.

    Raises:
        InputError: no run, a place that cannot be written to, or a model that ``torch.export``
            cannot express.
        CheckpointError: the checkpoint is missing or damaged.
        MissingExtraError: safetensors is not installed.

    >>> import tempfile
    >>> from downslope import Recipe, fit, load_task
    >>> folder = tempfile.TemporaryDirectory()
    >>> run = fit(load_task("digits"), Recipe(lr=3e-3, epochs=1), f"{folder.name}/run")
    >>> program = torch.export.load(export(run).program).module()
    >>> images = torch.rand(7, 1, 8, 8)
    >>> program(images).equal(run.model()(images))
    True
    >>> folder.cleanup()
    """
    try:
        from safetensors.torch import save
    except ImportError:
        raise MissingExtraError("safetensors", "data", "Exporting a model") from None
    run = run if isinstance(run, Run) else Run.load(run)
    folder = run.path / "export" if out is None else Path(out)
    if folder.exists() and not folder.is_dir():
        raise InputError(f"{str(folder)!r} is a file. Give a directory to export into.")
    model, example = run.model(checkpoint), _example(run, checkpoint)
    program = _program(run, model, example)
    weights = {name: t.detach().clone().contiguous() for name, t in model.state_dict().items()}
    files = Exported(folder / "model.safetensors", folder / "model.pt2", folder / "model.json")
    about = json.dumps(_about(run, checkpoint, example), indent=2) + "\n"
    folder.mkdir(parents=True, exist_ok=True)
    write_atomically(files.weights, save(weights))
    write_atomically(files.program, program)
    write_atomically(files.about, about)
    return files


def _example(run: Run, checkpoint: Which) -> Tensor:
    """Some inputs: the preparation's, or the first rows of the task's data."""
    prepared = run.prepared(checkpoint)
    if prepared is not None:
        return prepared.example(ROWS)
    data = batches(run.task().validation, ROWS)
    return next(iter(data))[0]


@torch.no_grad()
def _program(run: Run, model: nn.Module, example: Tensor) -> bytes:
    """The exported program, found to give the model's outputs."""
    try:
        batch = torch.export.Dim("batch")
        with warnings.catch_warnings():  # of what torch's own recurrent modules do with their lists
            warnings.filterwarnings("ignore", "The tensor attributes .* were assigned", UserWarning)
            program = torch.export.export(model, (example,), dynamic_shapes=({0: batch},))
    except Exception as error:  # of as many kinds as there are reasons
        reason = str(error).strip().split("\n")[0]
        raise InputError(
            f"torch.export cannot express the model of {run.task_name!r}: {type(error).__name__}: "
            f"{reason} Its weights are in {str(run.files.best)!r}; run.model() loads them."
        ) from error
    more = torch.cat([example, example, example])
    if not program.module()(more).equal(model(more)):
        raise InputError(
            f"The exported program of {run.task_name!r} gives other outputs than its model, which "
            "must not depend on chance or on how many rows there are in evaluation mode."
        )
    buffer = io.BytesIO()
    torch.export.save(program, buffer)
    return buffer.getvalue()


def _about(run: Run, checkpoint: Which, example: Tensor) -> dict[str, Any]:
    prepared = run.prepared(checkpoint)
    return {
        "task": run.task_name,
        "checkpoint": checkpoint,
        "metric": {run.metric_name: run.best_metric} if checkpoint == "best" else None,
        "input": {
            "shape": [None, *example.shape[1:]],
            "dtype": dtype_name(example.dtype),
        },
        "preparation": None if prepared is None else prepared.to_dict(),
        "packages": environment(torch.device("cpu"))["packages"],
    }
