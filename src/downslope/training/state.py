"""Everything a run changes while it trains: what a checkpoint holds, and nothing else."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from time import perf_counter
from typing import Any

import torch

from ..errors import CheckpointError
from ..randomness import random_state, restore_random_state, seed_everything
from ..tasks import Task, batches, permutation, size
from .learning_rate import LearningRate
from .precision import Precision
from .recipe import Recipe

__all__ = ["Progress", "State", "Stopwatch"]

EVALUATION_ROWS = 4  # times the batch size: without gradients a larger batch fits


@dataclass
class Progress:
    """Where a run stands.

    Args:
        epoch: epochs finished.
        batch: batches done of the epoch at hand.
        step: optimizer steps done; fewer than batches where fp16 overflowed.
        loss_sum: of the epoch at hand, over its rows so far.
        rows: how many those are.
        best_metric: the best validation metric.
        best_step: steps done when it was measured.
        since_best: epochs since then.
    """

    epoch: int = 0
    batch: int = 0
    step: int = 0
    loss_sum: float = 0.0
    rows: int = 0
    best_metric: float | None = None
    best_step: int | None = None
    since_best: int = 0

    def next_epoch(self) -> None:
        """Begin a new epoch's count."""
        self.epoch += 1
        self.batch, self.loss_sum, self.rows = 0, 0.0, 0


class Stopwatch:
    """Seconds since the start of a run, those of earlier sessions included, and lap times.

    ``saved_at`` is the time of the newest checkpoint.
    """

    def __init__(self, seconds: float = 0.0) -> None:
        self._lap = perf_counter()
        self._zero = self._lap - seconds
        self.saved_at = seconds

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

    The global random generators are seeded first, so the weights depend on the recipe alone.
    """

    def __init__(self, task: Task, recipe: Recipe) -> None:
        if recipe.batch_size is None or recipe.epochs is None:
            raise ValueError("State: the recipe must be resolved for the task")
        seed_everything(recipe.seed)
        self._train = task.train
        self._seed = recipe.seed
        self._threshold = recipe.threshold
        self.batch_size = recipe.batch_size
        self.epochs = recipe.epochs
        self.device = torch.device(recipe.device)
        self.model = task.model().to(self.device)
        self.optimizer = recipe.build_optimizer(self.model.parameters())
        self.precision = Precision(recipe.precision, self.device)
        self.total_steps = recipe.total_steps(task)
        self.steps_per_epoch = self.total_steps // self.epochs
        self.lr = LearningRate(self.optimizer, recipe, self.total_steps)
        self.progress = Progress()
        self.watch = Stopwatch()

    @property
    def evaluation_batch_size(self) -> int:
        """Rows of a validation batch."""
        return EVALUATION_ROWS * self.batch_size

    def rest_of_epoch(self) -> torch.utils.data.DataLoader[tuple[torch.Tensor, ...]]:
        """The batches that the epoch at hand has left."""
        order = permutation(size(self._train), self._seed, self.progress.epoch)
        return batches(self._train, self.batch_size, order=order, skip=self.progress.batch)

    def state_dict(self, *, records_size: int) -> dict[str, Any]:
        """Plain data and tensors from which :meth:`take_up` goes on to the same bits."""
        return {
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "precision": self.precision.state_dict(),
            "lr": self.lr.state_dict(),
            "progress": asdict(self.progress),
            "seconds": self.watch.seconds,
            "random": random_state(),
            "records_size": records_size,
        }

    def take_up(self, saved: dict[str, Any], name: str) -> int:
        """Go on from what :meth:`state_dict` gave; returns how long the records were then.

        Args:
            saved: the state, as it was read.
            name: of the checkpoint, for the error.

        Raises:
            CheckpointError: it is of another task or recipe.
        """
        try:
            self.model.load_state_dict(saved["model"])
            self.optimizer.load_state_dict(saved["optimizer"])
            for group in self.optimizer.param_groups:  # the recipe's; older checkpoints have none
                group["clip_norm"] = self._threshold
            self.precision.load_state_dict(saved["precision"])
            self.lr.load_state_dict(saved["lr"])
            self.progress = Progress(**saved["progress"])
            self.watch = Stopwatch(saved["seconds"])
            restore_random_state(saved["random"])
            return int(saved["records_size"])
        except (KeyError, TypeError, ValueError, RuntimeError) as error:
            reason = " ".join(str(error).split())
            raise CheckpointError(
                f"Checkpoint {name!r} does not fit this task and recipe: {reason}. "
                "Resume with the task and the recipe that the run was started with."
            ) from error
