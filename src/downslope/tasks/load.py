"""How a name becomes a task."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import islice
from pathlib import Path

from ..errors import InputError, is_whole, unknown
from .arrays.file import ARRAY_SUFFIXES
from .functions import FORM, is_function
from .images.file import IMAGE_SUFFIXES
from .own import own_task
from .tables.file import STREAM_BYTES, TABLE_SUFFIXES
from .tables.options import TableOptions
from .task import Task

__all__ = ["check_options", "load_task"]

LOOKED_AT = 1000  # files of a folder, to tell images from text

#: Kind of source -> the options that it takes, beside the seed.
OPTIONS: dict[str, tuple[str, ...]] = {
    "digits": (),
    "function": ("folder",),
    "table": ("target", "missing", "categorical", "dates", "ignore", "na", "stream"),
    "images": ("image_size", "augment"),
    "text": ("model",),
    "arrays": ("target",),
}


def load_task(
    spec: str,
    *,
    target: str | None = None,
    seed: int = 0,
    image_size: int | None = None,
    augment: str | None = None,
    model: str | None = None,
    missing: str | None = None,
    categorical: Sequence[str] | None = None,
    dates: Sequence[str] | None = None,
    ignore: Sequence[str] | None = None,
    na: Sequence[str] | None = None,
    stream: bool | None = None,
    folder: str | None = None,
    on_progress: Callable[[str, float], None] | None = None,
) -> Task:
    """The task named by ``spec``.

    Args:
        spec: ``"digits"`` (scikit-learn's bundled handwritten digits); the path of a table (CSV,
            TSV or Parquet), of a folder with a folder of images for each class, of a text or a
            folder of texts, of a file of arrays (``.npy``, ``.npz``, ``.safetensors``); or
            ``"package.module:function"``, a function of your own that returns a :class:`Task`.
        target: the column to predict, needed for a table; of arrays the one that holds the
            targets, or a column's number where there is one array alone.
        seed: of the split into a training part and a validation part of a fifth; given to a
            function that takes it.
        image_size: side in pixels that images are brought to; their own, at most 64, by default.
        augment: ``"shift"`` moves training images by up to an eighth, ``"flip"`` mirrors half of
            them too; by default they stay as they are.
        model: of text, ``"gru"``, as by default, or ``"transformer"``.
        missing: of a table, what becomes of empty cells: ``"refuse"``, as by default, or
            ``"impute"``: the training part's median, and an input that says so.
        categorical: columns of a table whose numbers are names; the target, for classes.
        dates: columns of a table that hold dates, which become numbers.
        ignore: columns of a table that are not looked at.
        na: texts in a table that stand for an empty cell.
        stream: whether a table is read in memory that does not grow with it: its rows are kept as
            numbers in the user's cache folder; by default, above 256 MiB.
        folder: where a function's module is looked for first; the current directory by default.
        on_progress: told what takes long (a large table's conversion), and how much of it is done.

    Raises:
        InputError: an unknown name or file, an option that this kind of data does not have, or data
            that cannot be trained on; the message names the place. A function that is missing or
            fails, or a task of which the parts do not fit together.
        MissingExtraError: ``downslope[data]`` is not installed.

    >>> task = load_task("digits")
    >>> len(task.train), len(task.validation), task.metric.name
    (1437, 360, 'accuracy')
    """
    if not is_whole(seed, 0, 2**32 - 1):
        raise InputError(
            f"load_task: seed must be a whole number from 0 to 2**32 - 1, got {seed!r}."
        )
    path, kind = Path(spec), _kind(spec, with_target=target is not None)
    columns = {"categorical": categorical, "dates": dates, "ignore": ignore, "na": na}
    of_table = {"target": target, "missing": missing, "stream": stream, **columns}
    of_others = {"image_size": image_size, "augment": augment, "model": model, "folder": folder}
    check_options(spec, kind, {**of_table, **of_others})
    if kind == "digits":
        from .digits import digits

        return digits(seed)
    if kind == "function":
        return own_task(spec, seed=seed, folder=folder)
    if kind == "images":
        from .images.folder import image_folder

        return image_folder(path, seed, image_size=image_size, augment=augment)
    if kind == "text":
        from .text.text import text

        return text(path, seed, model=model)
    if kind == "arrays":
        from .arrays.arrays import arrays

        return arrays(path, target, seed)
    table_options = TableOptions.of(missing, **columns)
    if stream or (stream is None and path.is_file() and path.stat().st_size > STREAM_BYTES):
        from .tables.stream import streamed_table

        return streamed_table(path, target, seed, table_options, on_progress)
    from .tables.table import table

    return table(path, target, seed, table_options)


def check_options(spec: str, kind: str, options: Mapping[str, object]) -> None:
    """Refuse what was given and this kind of source does not take.

    Args:
        spec: what was named.
        kind: of source: a key of :data:`OPTIONS`.
        options: of :func:`load_task`; ``None``: not given.

    Raises:
        InputError: one that is for others.
    """
    for name, value in options.items():
        if value is not None and name not in OPTIONS[kind]:
            takes = [other for other, names in OPTIONS.items() if name in names]
            raise InputError(
                f"The task {spec!r} takes no {name}, got {value!r}: that is for "
                f"{' and '.join(takes)}."
            )


def _kind(spec: str, *, with_target: bool) -> str:
    """Which kind of source a name stands for: a key of :data:`OPTIONS`."""
    path = Path(spec)
    suffix = path.suffix.lower()
    if spec == "digits":
        return "digits"
    if is_function(spec):
        return "function"
    if path.is_dir():
        return "images" if _mostly_images(path) else "text"
    if suffix in ARRAY_SUFFIXES:
        return "arrays"
    if suffix in TABLE_SUFFIXES or (path.exists() and with_target):
        return "table"
    if suffix in IMAGE_SUFFIXES:
        raise InputError(
            f"{spec!r} is an image. Give the folder that has a folder of images for each class."
        )
    if path.is_file() and suffix == ".py":
        raise InputError(
            f"{spec!r} is a Python file. Name the function in it that returns a task: "
            f"{path.stem}:FUNCTION. To train on it as text, give a copy that ends in .txt."
        )
    if path.exists():
        return "text"
    if path.with_suffix(".py").is_file():
        raise InputError(
            f"Unknown task {spec!r}. The file {str(path.with_suffix('.py'))!r} is here: name the "
            f"function in it that returns a task, {path.stem}:FUNCTION."
        )
    raise unknown("task", spec, ["digits", "FILE", "FOLDER", FORM])


def _mostly_images(folder: Path) -> bool:
    """Whether images are more than half of the first files below a folder."""
    files = (p for p in folder.rglob("*") if p.is_file() and not p.name.startswith("."))
    images = [p.suffix.lower() in IMAGE_SUFFIXES for p in islice(files, LOOKED_AT)]
    return sum(images) > len(images) / 2
