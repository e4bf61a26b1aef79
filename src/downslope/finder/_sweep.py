"""The loop of a range test: training steps at given learning rates, and everything put back."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.amp.grad_scaler import GradScaler
from torch.optim import Optimizer

from ..errors import InputError, InputTypeError
from ._curve import Average, decay, diverged, memory, read
from ._range_test import RangeTest
from ._snapshot import restored

__all__ = ["LossFunction", "Sweep"]

LossFunction = Callable[[Any, Any], Tensor]


@dataclass(frozen=True)
class Sweep:
    """A range test that is ready to run; the fields are arguments of :func:`find_lr`."""

    lrs: list[float]
    steps: int
    clip_norm: float | None
    autocast: torch.dtype | None
    scaler: GradScaler | None
    progress: bool
    on_step: Callable[[dict[str, Any]], None] | None

    def run(
        self,
        model: nn.Module,
        loss_fn: LossFunction,
        loader: Iterable[Any],
        optimizer: Optimizer,
    ) -> RangeTest:
        """Train at each learning rate until the last or until the loss diverges."""
        losses: list[float] = []
        smoothed: list[float] = []
        diverged_at: float | None = None
        settled = memory(len(self.lrs))
        average = Average(decay(settled))
        modules = [m for m in (model, loss_fn) if isinstance(m, nn.Module)]
        with (
            restored(modules, optimizer, _generators(loader)) as parameters,
            self._reporter() as report,
            closing(_endless(loader)) as data,
        ):
            scaler = (
                GradScaler(enabled=False) if self.scaler is None else copy.deepcopy(self.scaler)
            )
            device = parameters[0].device
            set_lr = _lr_setter(optimizer)
            model.train()
            for lr in self.lrs:
                set_lr(lr)
                inputs, targets = (_to(part, device) for part in next(data))
                with torch.autocast(device.type, self.autocast, self.autocast is not None):
                    loss = loss_fn(model(inputs), targets)
                value = _number(loss)
                report(lr, value)
                if not math.isfinite(value):
                    diverged_at = lr
                    break
                losses.append(value)
                smoothed.append(average.add(value))
                if diverged(smoothed, settled):
                    diverged_at = lr
                    break
                _step(loss, parameters, optimizer, scaler, self.clip_norm)
        name = type(optimizer).__name__.lower()
        lrs = self.lrs[: len(losses)]
        answer = read(name, lrs, losses, smoothed, diverged_at, settled, self.steps)
        return RangeTest(
            optimizer=name,
            lrs=tuple(lrs),
            losses=tuple(losses),
            smoothed=tuple(smoothed),
            diverged_at=diverged_at,
            **vars(answer),
        )

    @contextmanager
    def _reporter(self) -> Iterator[Callable[[float, float], None]]:
        """A function that tells the caller and the progress bar how an iteration went."""
        count = 0
        with _bar(len(self.lrs), show=self.progress) as show:

            def report(lr: float, loss: float) -> None:
                nonlocal count
                count += 1
                show(lr, loss)
                if self.on_step is not None:
                    event = {"iteration": count, "iterations": len(self.lrs), "lr": lr}
                    self.on_step({"event": "find_lr", **event, "loss": loss})

            yield report


def _step(
    loss: Tensor,
    parameters: list[Tensor],
    optimizer: Optimizer,
    scaler: GradScaler,
    clip_norm: float | None,
) -> None:
    """One training step, its gradients scaled back before they are clipped."""
    for p in parameters:
        p.grad = None
    scaler.scale(loss).backward()  # type: ignore[no-untyped-call]  # torch's
    if clip_norm is not None:
        scaler.unscale_(optimizer)
        nn.utils.clip_grad_norm_(parameters, clip_norm)
    scaler.step(optimizer)
    scaler.update()


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


def _to(part: Any, device: torch.device) -> Any:
    return part.to(device) if isinstance(part, Tensor) else part


def _number(loss: Any) -> float:
    if not isinstance(loss, Tensor) or loss.numel() != 1:
        shape = f"a tensor of shape {tuple(loss.shape)}" if isinstance(loss, Tensor) else repr(loss)
        raise InputError(f"find_lr: loss_fn must return one number as a tensor, got {shape}")
    return float(loss.detach())


@contextmanager
def _bar(iterations: int, *, show: bool) -> Iterator[Callable[[float, float], None]]:
    """A progress bar on the terminal's error stream; silent where there is none."""
    if not show:
        yield lambda lr, loss: None
        return
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
    )

    console = Console(stderr=True)
    columns = (
        TextColumn("range test"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        TextColumn("lr {task.fields[lr]:.1e}  loss {task.fields[loss]:.4g}"),
    )
    with Progress(*columns, console=console, disable=not console.is_terminal) as bar:
        task = bar.add_task("", total=iterations, lr=0.0, loss=math.nan)

        def update(lr: float, loss: float) -> None:
            bar.update(task, advance=1, lr=lr, loss=loss)

        yield update
