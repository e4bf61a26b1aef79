"""The processes that train one model together, as torchrun started them; one is the usual case.

Each has its share of every step's rows, and what is measured is a sum over all of them. The first
one alone writes files. Whether to stop or to save is agreed upon with the loss, so that all of
them do it after the same step.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator
from typing import Any, Literal, TypeVar

import numpy as np
import torch
import torch.distributed as dist
from torch import nn
from torch.distributed.rendezvous import rendezvous

from ..errors import DownslopeError, InputError

__all__ = ["ALONE", "PeerLostError", "Processes", "blocks", "joined"]

Strategy = Literal["ddp", "fsdp"]
Result = TypeVar("Result")


class PeerLostError(DownslopeError, RuntimeError):
    """Another process of the job has ended, so that this one cannot go on."""


class Processes:
    """This process among those of its job.

    Args:
        strategy: how the model is shared: ``"ddp"``, every process has all of it; ``"fsdp"``, each
            has a share of every weight and of its optimizer state; ``None``: there is one process.

    >>> ALONE.first, ALONE.count, ALONE.total([1.5, 0.0])
    (True, 1, [1.5, 0.0])
    """

    def __init__(self, strategy: Strategy | None = None) -> None:
        self.strategy = strategy
        self.rank = 0 if strategy is None else dist.get_rank()
        self.count = 1 if strategy is None else dist.get_world_size()

    @property
    def first(self) -> bool:
        """Whether this is the one that writes."""
        return self.rank == 0

    @property
    def sharded(self) -> bool:
        """Whether each process has only a share of the model."""
        return self.strategy == "fsdp"

    def device(self, name: str) -> torch.device:
        """The device of that name; where there is one for each process, this one's."""
        device = torch.device(name)
        if self.strategy is not None and device.type == "cuda":
            device = torch.device("cuda", int(os.environ["LOCAL_RANK"]))
            torch.cuda.set_device(device)
        return device

    def seed(self, seed: int, taken: int) -> int:
        """Of what only this process draws, from the run's seed and the steps taken."""
        return np.random.SeedSequence((seed, self.rank, taken)).generate_state(1).item()

    def share(self, model: nn.Module) -> nn.Module:
        """What is called in the model's place for steps; the model keeps its parameters' names.

        Under ``"fsdp"`` the :func:`blocks` are gathered one by one, and what is left with the model
        itself.
        """
        if self.strategy == "ddp":
            return nn.parallel.DistributedDataParallel(model)
        if self.strategy == "fsdp":
            from torch.distributed.fsdp import fully_shard

            for block in list(blocks(model)):
                fully_shard(block)
            fully_shard(model)
        return model

    def sum_gradients(self, model: nn.Module, *, now: bool) -> None:
        """Say whether the next backward pass sums gradients over processes or keeps its own."""
        if isinstance(model, nn.parallel.DistributedDataParallel):
            model.require_backward_grad_sync = now
        elif self.sharded:
            model.set_requires_gradient_sync(now)  # type: ignore[operator]  # fully_shard added it

    def level(self, model: nn.Module) -> None:
        """Give everybody the first process's buffers, such as a batch norm's statistics."""
        if self.count > 1:
            for buffer in model.buffers():
                dist.broadcast(buffer, src=0)

    def total(self, values: list[float]) -> list[float]:
        """The sums of some numbers over all processes."""
        if self.count == 1:
            return values
        numbers = torch.tensor(values, dtype=torch.float64, device=_device())
        dist.all_reduce(numbers)
        summed: list[float] = numbers.tolist()
        return summed

    def gathered(self, mine: Any) -> list[Any]:
        """Everybody's plain data in the order of the processes; empty for all but the first."""
        if self.count == 1:
            return [mine]
        found: list[Any] | None = [None] * self.count if self.first else None
        dist.gather_object(mine, found)
        return found or []

    def by_first(self, make: Callable[[], Result]) -> Result:
        """What the first process makes, for all of them; its error is raised by all of them."""
        if self.count == 1:
            return make()
        told: list[Any] = [None, None]
        if self.first:
            try:
                told[0] = make()
            except DownslopeError as error:
                told[1] = error
        dist.broadcast_object_list(told, src=0)
        if told[1] is not None:
            raise told[1]
        made: Result = told[0]
        return made


#: The only process of its job.
ALONE = Processes()


@contextlib.contextmanager
def joined(strategy: Strategy | None) -> Iterator[Processes]:
    """While entered, this process is in touch with the others that torchrun started.

    Raises:
        InputError: there are others but no strategy, or a strategy and no torchrun.
        PeerLostError: in place of the backend's error when another process is gone.
    """
    started = int(os.environ.get("WORLD_SIZE", "1"))
    if strategy is None:
        if started > 1:
            raise InputError(
                f"torchrun started {started} processes, but the recipe has no strategy: each "
                "would train a model of its own. Give --strategy ddp or --strategy fsdp."
            )
        yield ALONE
        return
    if "WORLD_SIZE" not in os.environ and not dist.is_initialized():
        raise InputError(
            f"The strategy {strategy!r} shares a model among processes, but only this one was "
            "started. Start it with: torchrun --nproc-per-node N -m downslope train ..."
        )
    mine = not dist.is_initialized()
    try:
        if mine:
            _meet()
        yield Processes(strategy)
    except RuntimeError as error:
        if isinstance(error, DownslopeError) or not _lost(error):
            raise
        raise PeerLostError(
            "Another process of this job has ended, so this one ends too; what it said comes "
            "before. The last checkpoint is kept: start the same job with --auto-resume."
        ) from error
    if mine:  # and no error came: this would wait for those that are gone
        dist.barrier()
        dist.destroy_process_group()


def _meet() -> None:
    """Get in touch, by the addresses that torchrun set in the environment."""
    backend = "nccl" if torch.cuda.is_available() else "gloo"
    restarts = os.environ.get("TORCHELASTIC_RESTART_COUNT", "0")
    if restarts == "0" or os.environ.get("GROUP_WORLD_SIZE") != "1":
        dist.init_process_group(backend)
        return
    # On a single machine torchrun keeps its store when it starts the processes again, and in it the
    # addresses of those that are gone. (On many machines each counts restarts for itself.)
    store, rank, count = next(rendezvous("env://"))
    store = dist.PrefixStore(f"restart-{restarts}", store)  # type: ignore[attr-defined]  # documented, not exported
    dist.init_process_group(backend, store=store, rank=rank, world_size=count)


def _lost(error: RuntimeError) -> bool:
    """Whether an error of the backend says that a peer is gone."""
    words = (
        "Connection closed by peer",
        "Connection reset by peer",
        "Broken pipe",
        "ncclRemoteError",
    )
    return any(word in str(error) for word in words)


def _device() -> torch.device:
    """Where numbers are summed over processes."""
    return torch.device("cuda" if dist.get_backend() == "nccl" else "cpu")


def blocks(model: nn.Module) -> Iterator[nn.Module]:
    """The outermost members of lists and sequences of modules, those that have parameters.

    >>> layer = nn.Sequential(nn.Linear(2, 2), nn.ReLU())
    >>> [type(block).__name__ for block in blocks(nn.Sequential(layer, nn.Linear(2, 1), nn.ReLU()))]
    ['Sequential', 'Linear']
    """
    listed = isinstance(model, (nn.ModuleList, nn.Sequential))
    for child in model.children():
        if not listed:
            yield from blocks(child)
        elif any(True for _ in child.parameters()):
            yield child
