"""Predictions of a trained run for a file: read, predicted and written batch by batch."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray

from ..errors import InputError, MissingExtraError
from ..files import LEFTOVER, staged
from .precision import Precision
from .recipe import usable_device
from .run import Run, Which

if TYPE_CHECKING:
    import polars as pl

__all__ = ["OUT_SUFFIXES", "check_out", "predict", "write_predictions"]

OUT_SUFFIXES = (".csv", ".parquet")  #: what predictions are written as

Columns = dict[str, NDArray[Any]]


def predict(
    run: Run | str | Path,
    file: str | Path,
    *,
    checkpoint: Which = "best",
    device: str | None = None,
) -> Columns:
    r"""What a run's model says about the rows of a file, in their order.

    The weights are those that the run was judged by: averaged, where it keeps an average. Neither
    the training data nor its file is needed.

    Args:
        run: the run, or its directory.
        file: of the kind that the run was trained on. A table needs the columns of the training
            data, in any order; others, the target's among them, are not looked at.
        checkpoint: the one with the best metric, or the newest.
        device: where the model runs; ``None`` takes the CPU.

    Returns:
        named columns with a value for each row: ``predicted_TARGET``, and for classes
        ``probability_CLASS`` for each.

    Raises:
        InputError: the directory is no run's, the run cannot predict for files, or a cell of the
            file cannot be used; the message names the place.
        CheckpointError: the checkpoint is missing or damaged.

    >>> import tempfile
    >>> from downslope import Recipe, fit, load_task, predict
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     table = Path(folder, "lengths.csv")
    ...     rows = [f"{cm},{'SL'[cm > 49]}" for cm in range(99)]
    ...     _ = table.write_text("\n".join(["cm,size", *rows]))
    ...     task = load_task(str(table), target="size")
    ...     run = fit(task, Recipe(lr=0.2, epochs=9), f"{folder}/run")
    ...     _ = table.write_text("cm\n12\n90\n")
    ...     predicted = predict(run, table)
    >>> predicted["predicted_size"].tolist(), sorted(predicted)
    (['S', 'L'], ['predicted_size', 'probability_L', 'probability_S'])
    """
    parts = [columns for columns, _ in _predictions(run, file, checkpoint, device)]
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def write_predictions(
    run: Run | str | Path,
    file: str | Path,
    out: str | Path,
    *,
    checkpoint: Which = "best",
    device: str | None = None,
    on_share: Callable[[float], None] | None = None,
) -> int:
    r"""As :func:`predict`, into a CSV or Parquet file; a few batches are in memory at a time.

    Args:
        run: as in :func:`predict`.
        file: as in :func:`predict`.
        out: its suffix says the format. It appears when it is complete, or not at all.
        checkpoint: as in :func:`predict`.
        device: as in :func:`predict`.
        on_share: told after every batch how much of the file is done, from 0 to 1.

    Returns:
        the number of rows.

    Raises:
        InputError: as :func:`predict`, or ``out`` cannot be written to.
        CheckpointError: as :func:`predict`.
        MissingExtraError: polars is not installed.

    >>> import tempfile
    >>> from downslope import Recipe, fit, load_task, write_predictions
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     table = Path(folder, "lengths.csv")
    ...     rows = [f"{cm},{'SL'[cm > 49]}" for cm in range(99)]
    ...     _ = table.write_text("\n".join(["cm,size", *rows]))
    ...     task = load_task(str(table), target="size")
    ...     run = fit(task, Recipe(lr=0.2, epochs=9), f"{folder}/run")
    ...     write_predictions(run, table, f"{folder}/predicted.parquet")
    99
    """
    try:
        import polars as pl
    except ImportError:
        raise MissingExtraError("polars", "data", "Writing predictions") from None
    file, out = Path(file), Path(out)
    check_out(out, file)
    rows = 0

    def frames() -> Iterator[pl.DataFrame]:
        nonlocal rows
        for columns, share in _predictions(run, file, checkpoint, device):
            frame = pl.DataFrame(columns)
            rows += frame.height
            yield frame
            if on_share is not None:
                on_share(share)

    with _writing(out) as write:
        for frame in frames():
            write(frame)
    return rows


def check_out(out: Path, file: Path) -> None:
    """Refuse a place for the predictions that cannot be written, before anything is done.

    Raises:
        InputError: another suffix, no such folder, a folder, or the very file that is read.
    """
    if out.suffix.lower() not in OUT_SUFFIXES:
        raise InputError(
            f"Predictions are written as {' or '.join(OUT_SUFFIXES)}, got {str(out)!r}. Give the "
            "file one of these suffixes."
        )
    if not out.parent.is_dir():
        raise InputError(f"There is no folder {str(out.parent)!r} to write {out.name!r} into.")
    if out.is_dir():
        raise InputError(f"{str(out)!r} is a directory. Give the name of a file.")
    if file.exists() and out.exists() and out.samefile(file):
        raise InputError(f"{str(out)!r} is the file to predict for. Give another name.")


@torch.inference_mode()
def _predictions(
    run: Run | str | Path, file: str | Path, checkpoint: Which, device: str | None
) -> Iterator[tuple[Columns, float]]:
    """The answers for each batch, and the share of the file that is done; at least one row."""
    run = run if isinstance(run, Run) else Run.load(run)
    preparation = run.preparation(checkpoint)
    place = usable_device("predict", device or "cpu")
    model = run.model(checkpoint).to(place)
    recipe = run.recipe
    # In other arithmetic than the run was judged in, its metric would not come out again.
    trained_on = torch.device(recipe.device).type
    precision = Precision(recipe.precision if place.type == trained_on else "fp32", place)
    empty = True
    for batch in preparation.read(Path(file), recipe.evaluation_batch_size):
        if not len(batch.inputs):
            continue
        empty = False
        with precision.autocast():
            outputs = model(batch.inputs.to(place))
        keys = {name: np.asarray(values) for name, values in batch.keys.items()}
        yield {**keys, **preparation.answers(outputs.float().cpu(), batch.inputs)}, batch.share
    if empty:
        raise InputError(f"{str(file)!r} has no rows to predict for.")


@contextlib.contextmanager
def _writing(out: Path) -> Iterator[Callable[[pl.DataFrame], None]]:
    """What takes the frames of a file that appears when the block ends without an error."""
    import polars as pl

    schema: dict[str, Any] = {}
    with contextlib.ExitStack() as stack:
        parquet = out.suffix.lower() == ".parquet"
        lines: IO[bytes]
        if parquet:  # whose writer wants one query: the rows wait beside it, as text
            lines = stack.enter_context(
                tempfile.NamedTemporaryFile(dir=out.parent, prefix=f".{out.name}.", suffix=LEFTOVER)
            )
        else:
            lines = stack.enter_context(staged(out))

        def write(frame: pl.DataFrame) -> None:
            frame.write_csv(lines, include_header=not schema)
            schema.update(frame.schema)

        yield write
        if parquet:
            lines.flush()
            with staged(out) as file:
                pl.scan_csv(lines.name, schema=schema, glob=False).sink_parquet(file)
