"""Everything a run changes while it trains: what a checkpoint holds, and nothing else."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from time import perf_counter
from typing import Any

from torch import Tensor

from ..errors import CheckpointError, InputError
from ..optim import ScheduleFree
from ..randomness import random_state, restore_random_state, seed_everything
from ..tasks import Task, size
from ..tasks import steps as steps_of
from . import shards
from .average import WeightAverage
from .learning_rate import LearningRate
from .precision import Precision
from .processes import ALONE, Processes
from .recipe import Recipe

__all__ = ["Progress", "State", "Stopwatch", "recipe_of"]


@dataclass
class Progress:
    """Where a run stands.

    Args:
        epoch: epochs finished.
        batch: steps taken of the epoch at hand, those included that fp16 skipped.
        step: optimizer steps done.
        loss_sum: of the epoch at hand, over its rows so far.
        rows: how many those are.
        best_metric: the best validation metric.
        best_step: steps done when it was measured.
        since_best: validations since then.
        validated_at: ``taken`` at the newest validation.
    """

    epoch: int = 0
    batch: int = 0
    step: int = 0
    loss_sum: float = 0.0
    rows: float = 0
    best_metric: float | None = None
    best_step: int | None = None
    since_best: int = 0
    validated_at: int | None = None

    def next_epoch(self) -> None:
        """Begin a new epoch's count."""
        self.epoch += 1
        self.batch, self.loss_sum, self.rows = 0, 0.0, 0


class Stopwatch:
    """Seconds since the start of a run, those of earlier sessions included, and lap times.

    ``saved_at`` is the time of the newest checkpoint, ``began`` that of this session's start.
    """

    def __init__(self, seconds: float = 0.0) -> None:
        self._lap = perf_counter()
        self._zero = self._lap - seconds
        self.began = self.saved_at = seconds

    @property
    def seconds(self) -> float:
        """Seconds since the start."""
        return perf_counter() - self._zero

    def lap(self) -> float:
        """Seconds since the last lap; begins a new one."""
        before, self._lap = self._lap, perf_counter()
        return self._lap - before


class State:
    """Model, optimizer, precision, schedule and progress of one run.

    Args:
        task: what is trained.
        recipe: resolved, with its learning rate.
        processes: those that share the steps.

    The global random generators are seeded first, so the weights depend on the recipe alone; what
    is drawn later (dropout) differs between processes.
    """

    def __init__(self, task: Task, recipe: Recipe, processes: Processes = ALONE) -> None:
        if recipe.batch_size is None or recipe.epochs is None:
            raise ValueError("State: the recipe must be resolved for the task")
        seed_everything(recipe.seed)
        self._train = task.train
        self._preparation = task.preparation
        self._recipe = recipe
        self.batch_size = recipe.batch_size
        self.evaluation_batch_size = recipe.evaluation_batch_size
        self.epochs = recipe.epochs
        self.processes = processes
        self.device = processes.device(recipe.device)
        if min(self.batch_size, size(task.train), size(task.validation)) < processes.count:
            raise InputError(
                f"{processes.count} processes cannot share steps of {self.batch_size} rows and "
                f"{size(task.validation)} rows to validate: each needs one at least."
            )
        self.model = task.model().to(self.device)
        self.stepped = processes.share(self.model)
        if not processes.first:
            seed_everything(processes.seed(recipe.seed, 0))
        self._trained = list(self.model.parameters())
        self.optimizer = recipe.build_optimizer(self.model.parameters())
        self.average = None if recipe.ema is None else WeightAverage(self.model, recipe.ema)
        self.precision = Precision(recipe.precision, self.device)
        self.total_steps = recipe.total_steps(task, processes.count)
        self.steps_per_epoch = recipe.steps_per_epoch(task, processes.count)
        self.lr = LearningRate(self.optimizer, recipe, self.total_steps)
        self.progress = Progress()
        self.watch = Stopwatch()
        if recipe.compile:
            self.model.compile()

    @property
    def taken(self) -> int:
        """Steps taken since the start, those included that fp16 skipped."""
        return self.progress.epoch * self.steps_per_epoch + self.progress.batch

    def rest_of_epoch(self) -> Iterator[list[tuple[Tensor, Tensor, float]]]:
        """The steps that the epoch at hand has left; of each its parts, and their shares."""
        return steps_of(
            self._train,
            self.batch_size,
            seed=self._recipe.seed,
            epoch=self.progress.epoch,
            skip=self.progress.batch,
            accumulate=self._recipe.accumulate,
            process=self.processes.rank,
            processes=self.processes.count,
            workers=self._recipe.workers,
        )

    def zero_grad(self) -> None:
        """Forget the gradients; an optimizer's own method costs a twentieth of a small step."""
        for p in self._trained:
            p.grad = None

    def train_mode(self) -> None:
        """Prepare for steps: dropout on, and the weights of a Schedule-Free optimizer to train."""
        self.model.train()
        if isinstance(self.optimizer, ScheduleFree):
            self.optimizer.train()

    @contextlib.contextmanager
    def evaluating(self) -> Iterator[None]:
        """While entered, the model is as it is judged: its averaged weights, no dropout."""
        self.processes.level(self.model)
        self.model.eval()
        if isinstance(self.optimizer, ScheduleFree):
            self.optimizer.eval()  # it stays so until training goes on: checkpoints hold these
        with contextlib.nullcontext() if self.average is None else self.average.in_model():
            yield

    def state_dict(self, *, records_size: int, folder: Path | None = None) -> dict[str, Any]:
        """Plain data and tensors from which :meth:`take_up` goes on to the same bits.

        All processes call it together; the first one's is to be kept.

        Args:
            records_size: how long the records are.
            folder: of the checkpoints, where the shards of a sharded model are written to.
        """
        prepared = self._preparation
        return {
            **self._weights(folder),
            **({} if prepared is None else {"preparation": prepared.to_dict()}),
            "precision": self.precision.state_dict(),
            "lr": self.lr.state_dict(),
            "progress": asdict(self.progress),
            "steps_per_epoch": self.steps_per_epoch,
            "seconds": self.watch.seconds,
            "random": self.processes.gathered(random_state()),
            "recipe": self._recipe.model_dump(),
            "records_size": records_size,
        }

    def _weights(self, folder: Path | None) -> dict[str, Any]:
        """Model, optimizer and average; of a sharded model where its shards lie."""
        average = None if self.average is None else self.average.state_dict()
        if self.processes.sharded:
            if folder is None:
                raise ValueError("State: the shards of a sharded model need a folder")
            tensors = shards.tensors(self.model, self.optimizer, average)
            return {"shards": shards.save(tensors, folder, self.processes)}
        return {
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "average": average,
        }

    def take_up(self, saved: dict[str, Any], name: str, folder: Path | None = None) -> int:
        """Go on from what :meth:`state_dict` gave; returns how long the records were then.

        Where the recipe is another one by now, its hyperparameters take the place of the saved.

        Args:
            saved: the state, as it was read.
            name: of the checkpoint, for the error.
            folder: of the checkpoints, where shards lie.

        Raises:
            CheckpointError: it is of another task or recipe.
        """
        # Older checkpoints hold no recipe, and no threshold of clipping.
        changed = ["clip_norm", *self._recipe.groups_differ(recipe_of(saved) or self._recipe)]
        steps = saved.get("steps_per_epoch", self.steps_per_epoch)
        if steps != self.steps_per_epoch:
            raise CheckpointError(
                f"Checkpoint {name!r} has {steps} steps an epoch, this recipe "
                f"{self.steps_per_epoch}: a last step too short for its parts joins the one "
                "before. Resume with as many parts as before."
            )
        try:
            fresh = [dict(group) for group in self.optimizer.param_groups]
            self._take_weights(saved, folder)
            for group, wanted in zip(self.optimizer.param_groups, fresh, strict=True):
                group.update({key: wanted[key] for key in changed})
            self.precision.load_state_dict(saved["precision"])
            self.lr.load_state_dict(saved["lr"])
            self.progress = Progress(**saved["progress"])
            self.watch = Stopwatch(saved["seconds"])
            self._take_randomness(saved["random"])
            return int(saved["records_size"])
        except (KeyError, TypeError, ValueError, RuntimeError) as error:
            reason = " ".join(str(error).split())
            raise CheckpointError(
                f"Checkpoint {name!r} does not fit this task and recipe: {reason}. "
                "Resume with the task and the recipe that the run was started with."
            ) from error

    def _take_weights(self, saved: dict[str, Any], folder: Path | None) -> None:
        """Model, optimizer and average, of one file or of shards, into a whole or a sharded one."""
        if "shards" in saved and folder is not None:
            average = None if self.average is None else self.average.state_dict()
            average = shards.load(
                saved["shards"], folder, self.model, self.optimizer, average, self.processes
            )
        elif self.processes.sharded:
            average = shards.take_whole(saved, self.model, self.optimizer)
        else:
            self.model.load_state_dict(saved["model"])
            self.optimizer.load_state_dict(saved["optimizer"])
            average = saved.get("average")
        if self.average is not None:
            self.average.load_state_dict(average or dict(self.model.named_parameters()))

    def _take_randomness(self, saved: dict[str, Any] | list[dict[str, Any]]) -> None:
        """Each process its own; one that was not there begins with a seed of its own."""
        states = saved if isinstance(saved, list) else [saved]  # before there were many
        if self.processes.rank < len(states):
            restore_random_state(states[self.processes.rank])
        else:
            seed_everything(self.processes.seed(self._recipe.seed, self.taken))


def recipe_of(saved: dict[str, Any]) -> Recipe | None:
    """The recipe by which a checkpoint was made; ``None``: it is too old to say."""
    return Recipe(**saved["recipe"]) if "recipe" in saved else None
