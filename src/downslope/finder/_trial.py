"""Trial training: steps at given learning rates, and everything put back after them."""

from __future__ import annotations

import copy
import itertools
import math
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import AbstractContextManager, closing
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.amp.grad_scaler import GradScaler
from torch.nn.parallel import DistributedDataParallel
from torch.optim import Optimizer

from .. import optim
from ..errors import InputError, InputTypeError
from ..randomness import randomness_restored
from ._pool import HELD, Pool, divided
from ._races import Race, Run
from ._snapshot import restored

__all__ = ["LossFunction", "Trial"]

# Few rows held out say little about the rare one that is unlike the others, which is what a run
# pays for that is far too sure of itself. So they are judged as if so many more had been found
# whose targets are another row's (Laplace's rule of succession has 1 of n + 2).
OTHERS = 2.0
DIVERGED, RECENT = 4.0, 5  # so many times the first loss, in the mean of so many, ends a race

LossFunction = Callable[[Any, Any], Tensor]


@dataclass(frozen=True)
class Trial:
    """What is trained in a trial, and how; the fields are arguments of :func:`find_lr`."""

    model: nn.Module
    loss_fn: LossFunction
    loader: Iterable[Any]
    optimizer: Optimizer
    clip_norm: float | None = None
    autocast: torch.dtype | None = None
    scaler: GradScaler | None = None
    accumulation: int = 1

    def losses(self, lrs: Iterable[float]) -> Generator[float, None, None]:
        """Take a step at each learning rate, from where the model stands now.

        Everything is put back, to the bit, when the generator ends or is closed, so the next trial
        begins where this one did, with the same batches and the same random numbers.

        Yields:
            the training loss of each step, before it is taken; the step after one that is not
            finite is never taken.
        """
        with self._restored() as parameters, closing(_endless(self.loader)) as data:
            device, scaler = parameters[0].device, self._scaler()
            set_lr = _lr_setter(self.optimizer)
            self.model.train()
            for lr in lrs:
                set_lr(lr)
                for p in parameters:
                    p.grad = None
                value = self._backward(data, scaler, device)
                yield value
                if not math.isfinite(value):
                    return
                self._update(parameters, scaler)

    def pool(self, steps: int) -> Pool:
        """Batches for races of so many steps: the loader's first pass, or as much as is needed.

        A quarter of them, at most :data:`HELD`, is held out. Where the loader has few, a quarter
        of the rows of each is; where they cannot be told apart, the loss is the training loss.
        """
        with randomness_restored(_generators(self.loader)), closing(_endless(self.loader)) as data:
            wanted = min(steps * self.accumulation + HELD, self._length or math.inf)
            found = [next(data) for _ in range(int(wanted))]
        return divided(found, self._length)

    def run(self, pool: Pool) -> Run:
        """What is known before anything is trained."""
        trained = [p for group in self.optimizer.param_groups for p in group["params"]]
        weights = sum(p.numel() for p in trained)
        return Run(
            pool.classes,
            pool.labels,
            weights / pool.targets if pool.targets else None,
            sum(p.dim() > 1 for p in trained),
        )

    def lengths(self, pool: Pool) -> tuple[float, float]:
        """The norm of the weights, and that of a step at a learning rate of 1.

        Momentum is counted as it will be after many steps, weight decay not at all. Weights that
        are all 0 count as 1; a step that is none (there is no gradient, or the scaler left it out)
        is 0.
        """
        with self._restored() as parameters:
            before = [p.detach().clone() for p in parameters]
            _lr_setter(self.optimizer)(1.0)
            for group in self.optimizer.param_groups:  # which would count as a step
                group.update((key, 0.0) for key in ("weight_decay",) if key in group)
            self.model.train()
            for p in parameters:
                p.grad = None
            scaler = self._scaler()
            self._backward(itertools.cycle(pool.train), scaler, parameters[0].device)
            self._update(parameters, scaler)
            weights = _norm(before)
            step = _norm([p.detach() - old for p, old in zip(parameters, before, strict=True)])
        group = max(self.optimizer.param_groups, key=lambda group: float(group["lr"]))
        if isinstance(self.optimizer, (torch.optim.SGD, optim.SGD)):
            step *= (1 - group["dampening"]) / (1 - group["momentum"])
        return weights or 1.0, step if math.isfinite(step) else 0.0

    def judged(self, pool: Pool) -> tuple[float, ...]:
        """The losses on the held-out batches as the model stands, put back after it."""
        with self._restored() as parameters:
            self.model.train()
            return self._held_out(pool, parameters[0].device)

    def race(
        self,
        lr: float,
        pool: Pool,
        steps: int,
        first: tuple[float, ...],
        report: Callable[[float, float], None],
    ) -> Race:
        """Train so many steps at one learning rate, from where the model stands now.

        Args:
            lr: the learning rate.
            pool: what is trained on, in its order, and what is held out.
            steps: how many, fewer where it diverges: where the mean of the last five losses is
                four times the first.
            first: the losses on the held-out batches before any step.
            report: told the learning rate and the loss of each step.
        """
        with self._restored() as parameters:
            device, scaler = parameters[0].device, self._scaler()
            data = itertools.cycle(pool.train)
            _lr_setter(self.optimizer)(lr)
            self.model.train()
            recent: deque[float] = deque(maxlen=RECENT)
            before = sum(first) / len(first)
            for step in range(1, steps + 1):
                for p in parameters:
                    p.grad = None
                loss = self._backward(data, scaler, device)
                report(lr, loss)
                recent.append(loss)
                before = max(before, loss) if step == 1 else before  # either may be a lucky batch
                limit = before + (DIVERGED - 1) * abs(before)
                if not sum(recent) / len(recent) <= limit:
                    return Race(lr, (), step)
                self._update(parameters, scaler)
            held, trained = self._held_out(pool, device), sum(recent) / len(recent)
            return Race(lr, held, steps + pool.evaluation, trained)

    @torch.no_grad()
    def _held_out(self, pool: Pool, device: torch.device) -> tuple[float, ...]:
        """In training mode: running statistics of a few steps would say nothing."""
        rows = pool.labels
        share = OTHERS / (rows + OTHERS)
        found = []
        for batch in pool.held:
            inputs, targets = (_to(part, device) for part in batch)
            with torch.autocast(device.type, self.autocast, self.autocast is not None):
                outputs = self.model(inputs)
                loss = _number(self.loss_fn(outputs, targets))
                if rows and len(targets) > 1:
                    others = targets.roll(len(targets) // 2, 0)
                    loss += share * (_number(self.loss_fn(outputs, others)) - loss)
            found.append(_over_processes(self.model, loss, device))
        return tuple(found)

    def _restored(self) -> AbstractContextManager[list[Tensor]]:
        modules = [m for m in (self.model, self.loss_fn) if isinstance(m, nn.Module)]
        return restored(modules, self.optimizer, _generators(self.loader))

    def _scaler(self) -> GradScaler:
        """A copy of the user's, or one that does nothing."""
        return GradScaler(enabled=False) if self.scaler is None else copy.deepcopy(self.scaler)

    @property
    def _length(self) -> int | None:
        """Batches in a pass over the data; None where the loader does not say."""
        try:
            return len(self.loader)  # type: ignore[arg-type]  # if it has one
        except TypeError:
            return None

    def _backward(
        self, data: Iterator[tuple[Any, Any]], scaler: GradScaler, device: torch.device
    ) -> float:
        """The gradients of as many batches as make a step, and the mean of their losses."""
        total = 0.0
        for _ in range(self.accumulation):
            inputs, targets = (_to(part, device) for part in next(data))
            with torch.autocast(device.type, self.autocast, self.autocast is not None):
                loss = self.loss_fn(self.model(inputs), targets)
            total += _number(loss)
            scaler.scale(loss / self.accumulation).backward()  # type: ignore[no-untyped-call]  # torch's
        return _over_processes(self.model, total / self.accumulation, device)

    def _update(self, parameters: list[Tensor], scaler: GradScaler) -> None:
        """Step with gradients that are scaled back before they are clipped."""
        if self.clip_norm is not None:
            scaler.unscale_(self.optimizer)
            nn.utils.clip_grad_norm_(parameters, self.clip_norm)
        scaler.step(self.optimizer)
        scaler.update()


def _over_processes(model: nn.Module, value: float, device: torch.device) -> float:
    """The mean over the processes of a distributed model, so that all decide alike."""
    if not isinstance(model, DistributedDataParallel):
        return value
    mean = torch.tensor(value, dtype=torch.float64, device=device)
    torch.distributed.all_reduce(mean, group=model.process_group)
    return float(mean) / torch.distributed.get_world_size(model.process_group)


def _lr_setter(optimizer: Optimizer) -> Callable[[float], None]:
    """A function that sets the groups' learning rates, keeping the ratios that they have now."""
    groups = optimizer.param_groups
    found = [float(group["lr"]) for group in groups]
    largest = max(found)
    shares = [lr / largest if largest > 0 else 1.0 for lr in found]
    before: list[float] = []

    def set_lr(lr: float) -> None:
        for old, group in zip(before, groups, strict=False):
            if float(group["lr"]) != old:
                raise InputError(
                    f"find_lr: the optimizer set its own lr from {old:g} to {float(group['lr']):g} "
                    "in a step; build it with a number as lr, and give it a schedule afterwards"
                )
        for share, group in zip(shares, groups, strict=True):
            if isinstance(group["lr"], Tensor):
                group["lr"].fill_(lr * share)
            else:
                group["lr"] = lr * share
        before[:] = [float(group["lr"]) for group in groups]

    return set_lr


def _endless(loader: Iterable[Any]) -> Generator[tuple[Any, Any], None, None]:
    """The loader's batches, from the beginning again when it ends."""
    count = 0
    while True:
        before = count
        for batch in loader:
            count += 1
            if not isinstance(batch, (tuple, list)) or len(batch) != 2:
                raise InputTypeError(
                    f"find_lr: the loader must give (inputs, targets), got {type(batch).__name__}"
                    + (f" of {len(batch)}" if isinstance(batch, (tuple, list)) else "")
                )
            yield batch[0], batch[1]
        if count == before:
            raise InputError(
                "find_lr: the loader is empty"
                if not count
                else f"find_lr: the loader ended after {count} batches and gives none when read "
                "again; pass a DataLoader or a list, not an iterator, or fewer iterations"
            )


def _generators(loader: Any) -> list[torch.Generator]:
    """The random generators that a DataLoader and its samplers own."""
    sampler = getattr(loader, "sampler", None)
    inner = getattr(getattr(loader, "batch_sampler", None), "sampler", None)
    found = (getattr(owner, "generator", None) for owner in (loader, sampler, inner))
    return list({id(g): g for g in found if isinstance(g, torch.Generator)}.values())


def _norm(tensors: list[Tensor]) -> float:
    return math.sqrt(sum(float(t.abs().double().square().sum()) for t in tensors))


def _to(part: Any, device: torch.device) -> Any:
    return part.to(device) if isinstance(part, Tensor) else part


def _number(loss: Any) -> float:
    if not isinstance(loss, Tensor) or loss.numel() != 1:
        shape = f"a tensor of shape {tuple(loss.shape)}" if isinstance(loss, Tensor) else repr(loss)
        raise InputError(f"find_lr: loss_fn must return one number as a tensor, got {shape}")
    return float(loss.detach())
