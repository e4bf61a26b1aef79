"""A run's directory: what it holds, and how it is read back."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import torch

from ..errors import CheckpointError, InputError
from ..files import LEFTOVER
from ..monitor import read_records
from ..optim import ScheduleFree
from ..tasks import Preparation, Task, load_task, restored
from . import checkpoint, shards
from .recipe import Recipe

if TYPE_CHECKING:
    from ..finder import RangeTest

__all__ = ["Run", "RunFiles", "read_settings"]

Which = Literal["best", "last"]


@dataclass(frozen=True)
class RunFiles:
    """The paths inside a run's directory, each named once."""

    path: Path

    @property
    def recipe(self) -> Path:
        """The resolved recipe, TOML."""
        return self.path / "recipe.toml"

    @property
    def task(self) -> Path:
        """The arguments that make the task again, and a fingerprint of its data."""
        return self.path / "task.json"

    @property
    def environment(self) -> Path:
        """Versions and machine, for the report."""
        return self.path / "environment.json"

    @property
    def find_lr(self) -> Path:
        """The range test, where one was made."""
        return self.path / "find_lr.json"

    @property
    def records(self) -> Path:
        """What was measured, one JSON object a line."""
        return self.path / "records.jsonl"

    @property
    def checkpoints(self) -> Path:
        """The folder of all checkpoints."""
        return self.path / "checkpoints"

    @property
    def last(self) -> Path:
        """The newest checkpoint."""
        return self.checkpoints / "last.pt"

    @property
    def best(self) -> Path:
        """The checkpoint with the best metric."""
        return self.checkpoints / "best.pt"

    @property
    def report(self) -> Path:
        """The report, once it is written."""
        return self.path / "report.html"

    def only_settings(self) -> bool:
        """Whether the directory holds at most what is written before the first checkpoint."""
        settings = {self.recipe, self.task, self.environment, self.find_lr, self.records}
        found = {path for path in self.path.rglob("*") if path.suffix != LEFTOVER}
        return found <= {*settings, self.checkpoints}


@dataclass(frozen=True)
class Run:
    """The outcome of a training run, read from its directory.

    Args:
        path: the run's directory.
        recipe: the recipe with every choice filled in.
        task_name: name of the task.
        metric_name: name of the metric.
        higher_is_better: whether a larger metric is the better one.
        best_metric: best validation metric so far; ``None`` before the first validation.
        best_step: optimizer steps done when it was measured.
        lr: highest learning rate of the schedule.
        seconds: time spent training, over all resumptions.
        reason: why it ended; ``None`` where it was killed or is still going on.
    """

    path: Path
    recipe: Recipe
    task_name: str
    metric_name: str
    higher_is_better: bool
    best_metric: float | None
    best_step: int | None
    lr: float
    seconds: float
    reason: Literal["finished", "interrupted", "time limit", "early stop", "diverged"] | None

    @classmethod
    def load(cls, path: str | Path) -> Run:
        """Read a run's directory; also that of a run which was killed.

        Raises:
            InputError: the directory is missing or is not a run's.
        """
        files = RunFiles(Path(path))
        if not files.recipe.is_file() or not files.records.is_file():
            raise InputError(
                f"{str(path)!r} is not the directory of a run: it has no {files.recipe.name} and "
                f"{files.records.name}. Give a directory that `downslope train` or fit() made."
            )
        records = read_records(files.records)
        start = next((r for r in reversed(records) if r["event"] == "start"), None)
        if start is None:
            raise InputError(f"{str(files.records)!r} holds no start record: nothing was trained.")
        better = [r for r in records if r["event"] == "validation" and r["best"]]
        best = better[-1] if better else {}
        return cls(
            path=files.path,
            recipe=Recipe.from_toml(files.recipe),
            task_name=start["task"],
            metric_name=start["metric"],
            higher_is_better=start["higher_is_better"],
            best_metric=best.get("metric"),
            best_step=best.get("step"),
            lr=start["lr"],
            seconds=next((r["seconds"] for r in reversed(records) if "seconds" in r), 0.0),
            reason=records[-1].get("reason"),
        )

    def __fspath__(self) -> str:
        """The directory, so that a run is taken where a path is."""
        return str(self.path)

    @property
    def over(self) -> bool:
        """Whether it was trained to its end: not stopped, killed or diverged."""
        return self.reason in ("finished", "early stop")

    @property
    def files(self) -> RunFiles:
        """The paths inside the directory."""
        return RunFiles(self.path)

    def records(self) -> list[dict[str, Any]]:
        """What was measured, in order."""
        return read_records(self.files.records)

    def range_test(self) -> RangeTest | None:
        """The range test that chose the learning rate; ``None`` where the recipe gave it."""
        if not self.files.find_lr.is_file():
            return None
        from ..finder import RangeTest

        return RangeTest.from_dict(read_settings(self.files.find_lr))

    def task(self, on_progress: Callable[[str, float], None] | None = None) -> Task:
        """Build the task of this run again, from its data source.

        Args:
            on_progress: as in :func:`~downslope.load_task`.

        Raises:
            InputError: the task was built in Python, so its source is not known here.
        """
        source = read_settings(self.files.task, "source")["source"]
        if not source:
            raise InputError(
                f"The task {self.task_name!r} was built in Python, so only you can build it again: "
                "give it to run.model(task=...), or to fit(task, run_dir=..., resume=True)."
            )
        return load_task(**source, on_progress=on_progress)

    def model(self, which: Which = "best", *, task: Task | None = None) -> torch.nn.Module:
        """The trained model, on the CPU and in evaluation mode, with the weights it is judged by.

        Those are the averaged ones where the run keeps an average, with ``ema`` or by a
        Schedule-Free optimizer.

        Args:
            which: the checkpoint with the best metric, or the newest one.
            task: needed where the task was built in Python and has no preparation.

        Raises:
            InputError: the task is needed.
            CheckpointError: the checkpoint is missing or damaged, or does not fit the task.
        """
        state = self._state(which)
        if task is not None:
            model = task.model()
        elif "preparation" in state:
            model = restored(state["preparation"]).model()
        else:
            model = self.task().model()
        try:
            if "shards" in state:
                shards.load_model(state["shards"], self.files.checkpoints, model)
            else:
                self._take_weights(state, model)
        except RuntimeError as error:
            raise CheckpointError(
                f"{str(self._file(which))!r} does not fit the model of this task: "
                f"{' '.join(str(error).split())}"
            ) from None
        return model.eval()

    def preparation(self, which: Which = "best") -> Preparation:
        """How files become this model's inputs, and its outputs answers.

        Raises:
            InputError: the task had none.
            CheckpointError: as :meth:`model`.
        """
        found = self.prepared(which)
        if found is None:
            raise InputError(
                f"The task {self.task_name!r} does not say how a file becomes its inputs, so there "
                "is nothing to predict for. Give the Task a preparation, or use run.model()."
            )
        return found

    def prepared(self, which: Which = "best") -> Preparation | None:
        """As :meth:`preparation`; ``None`` where the task had none."""
        state = self._state(which)
        return restored(state["preparation"]) if "preparation" in state else None

    def _file(self, which: Which) -> Path:
        """The path of a checkpoint."""
        if which not in ("best", "last"):
            raise InputError(f"checkpoint must be 'best' or 'last', got {which!r}.")
        return {"best": self.files.best, "last": self.files.last}[which]

    def _state(self, which: Which) -> dict[str, Any]:
        state: dict[str, Any] = checkpoint.load(self._file(which))
        return state

    def _take_weights(self, state: dict[str, Any], model: torch.nn.Module) -> None:
        """Give a model the weights to evaluate; a checkpoint may hold those to train."""
        model.load_state_dict(state["model"])
        if any(group.get("train_mode") for group in state["optimizer"]["param_groups"]):
            optimizer = self.recipe.build_optimizer(model.parameters())
            optimizer.load_state_dict(state["optimizer"])
            if isinstance(optimizer, ScheduleFree):
                optimizer.eval()
        model.load_state_dict(state.get("average") or {}, strict=False)


def read_settings(path: Path, *keys: str) -> dict[str, Any]:
    """What is in one of a run's JSON files.

    Args:
        path: the file.
        keys: that it must have.

    Raises:
        InputError: it is missing or damaged.
    """
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        for key in keys:
            found[key]
    except OSError as error:
        reason = error.strerror or str(error)
    except (ValueError, TypeError) as error:
        reason = f"not JSON as it was written: {error}"
    except KeyError as error:
        reason = f"{error} is missing"
    else:
        settings: dict[str, Any] = found
        return settings
    raise InputError(
        f"{str(path)!r} cannot be read: {reason}. Put it back from a copy; run.model() needs the "
        "checkpoints alone."
    )
