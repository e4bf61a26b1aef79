"""Which checkpoints of a run are on the disk: the last, the best, and some before the last."""

from __future__ import annotations

import copy
import os
import shutil
import warnings
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self

import torch

from ..errors import CheckpointError
from ..files import staged
from . import checkpoint, shards

__all__ = ["Keeper", "newest_sound", "older"]

Which = Literal["last", "best"]

FREE_SHARE = 0.5  # of the free memory that the copy for writing in the background may take


class Keeper:
    """Writes ``last.pt`` and ``best.pt``; what ``last.pt`` was stays as ``step-N.pt`` for a while.

    Args:
        folder: where they lie; it exists.
        keep: how many of the newest states to keep, the last one among them.
        background: copy the state and write it in a thread, while training goes on. The copy takes
            as much memory as the state; there is never more than one, a save waits for the one
            before. Where less than twice as much is free, the file is written at once, with a
            warning.
        last_step: of the ``last.pt`` that is there; ``None``: there is none, or it is not sound.

    An error of a write in the background is raised by the next call, or at the end of the block.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     with Keeper(Path(folder), keep=2) as keeper:
    ...         for step in (5, 10, 15):
    ...             keeper.save("last", {"step": step}, step)
    ...     sorted(path.name for path in Path(folder).iterdir())
    ['last.pt', 'step-00000010.pt']
    """

    def __init__(
        self,
        folder: Path,
        *,
        keep: int = 1,
        background: bool = False,
        last_step: int | None = None,
    ) -> None:
        self._folder = folder
        self._keep = keep
        self._last_step = last_step
        self._thread = ThreadPoolExecutor(1, "checkpoint") if background else None
        self._writing: Future[None] | None = None

    def save(self, which: Which, state: dict[str, Any], step: int) -> None:
        """Write the state after so many steps; the caller may change its tensors afterwards.

        Raises:
            CheckpointError: it cannot be written; what was there before is kept.
        """
        self.wait()
        if self._thread is None or not _room_for(state):
            self._write(which, state, step)
        else:
            checkpoint.refuse_strange(state)
            self._writing = self._thread.submit(self._write, which, _copied(state), step)

    def wait(self) -> None:
        """Return when nothing is being written any more.

        Raises:
            CheckpointError: the last write failed.
        """
        writing, self._writing = self._writing, None
        if writing is not None:
            writing.result()

    def _write(self, which: Which, state: dict[str, Any], step: int) -> None:
        path = self._folder / f"{which}.pt"
        try:
            if which == "last" and self._keep > 1 and self._last_step is not None:
                _keep_as(path, self._folder / f"step-{self._last_step:08}.pt")
            checkpoint.save(state, path)
            if which == "last":
                self._last_step = step
                for old in older(self._folder)[self._keep - 1 :]:
                    old.unlink()
        except OSError as error:
            raise checkpoint.unwritable(path, error) from error
        if any(self._folder.glob(f"{shards.PREFIX}*")):
            self._prune()

    def _prune(self) -> None:
        """Remove the shards that no checkpoint names."""
        used = set()
        for file in self._folder.glob("*.pt"):
            try:
                named = checkpoint.load(file).get("shards")
            except CheckpointError:  # nobody knows which are its own, so all are left
                return
            used.add(named["folder"] if named else None)
        shards.prune(self._folder, used)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Finish writing; a failure of it does not hide the error that ends the block."""
        try:
            self.wait()
        except CheckpointError:
            if error is None:
                raise
        finally:
            if self._thread is not None:
                self._thread.shutdown()


def older(folder: Path) -> list[Path]:
    """The checkpoints before the last one, newest first."""
    return sorted(folder.glob("step-*.pt"), key=lambda p: p.stat().st_mtime_ns, reverse=True)


def newest_sound(folder: Path) -> Path | None:
    """The newest checkpoint beside ``last.pt`` whose checksum agrees."""
    for path in (*older(folder), folder / "best.pt"):
        try:
            checkpoint.version(path)
        except CheckpointError:
            continue
        return path
    return None


def _keep_as(path: Path, name: Path) -> None:
    """A second name for a file that is about to be replaced; a copy where there are no links."""
    if name.exists():
        if name.samefile(path):  # a kill came between this and the replacement
            return
        name.unlink()
    try:
        os.link(path, name)
    except OSError:
        with path.open("rb") as source, staged(name) as target:
            shutil.copyfileobj(source, target)


def _room_for(state: dict[str, Any]) -> bool:
    """Whether a copy of the state fits into memory without crowding out the training."""
    needed, free = _size(state), _free_memory()
    if free is None or needed <= FREE_SHARE * free:
        return True
    warnings.warn(
        f"A copy of the checkpoint takes {needed / 2**20:,.0f} MiB and {free / 2**20:,.0f} MiB of "
        "memory are free, so it is written while training waits. Leave background writing out.",
        stacklevel=4,
    )
    return False


def _copied(value: Any) -> Any:
    """Plain data with tensors of its own, on the CPU."""
    if isinstance(value, torch.Tensor):
        return value.detach().to("cpu", copy=True)
    if isinstance(value, dict):
        own = copy.copy(value)  # a model's state has an attribute as well
        own.update({k: _copied(v) for k, v in value.items()})
        return own
    return type(value)(map(_copied, value)) if type(value) in (list, tuple) else value


def _size(value: Any) -> int:
    """Bytes of the tensors in plain data."""
    if isinstance(value, torch.Tensor):
        return value.nbytes
    if isinstance(value, dict):
        value = tuple(value.values())
    return sum(map(_size, value)) if isinstance(value, (list, tuple)) else 0


def _free_memory() -> int | None:
    """Bytes of memory that are free for use, where the system tells."""
    try:
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
    except OSError:
        return None
    kilobytes = next((int(line.split()[1]) for line in lines if "MemAvailable" in line), None)
    return None if kilobytes is None else 1024 * kilobytes
