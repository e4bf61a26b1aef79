"""What the training loop costs beside loops written by hand: ``python -m benchmarks.loop``.

An MLP 64-128-10 on batches of 64 rows, AdamW, the norm clipped at 1. ``fit`` writes a record for
each step; the others keep the losses in a list. All take turns in one process, on one thread; the
figures are medians over the turns, and ratios are taken within a turn.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from benchmarks.machine import describe
from benchmarks.optimizers import RESULTS
from downslope import Metric, Recipe, Task, fit, optim
from downslope.tasks import accuracy

STEPS, BATCH, LR, CLIP = 2000, 64, 1e-3, 1.0
GOALS = {"by hand": 1.05, "torch": 0.6, "torch, fused": 0.8}

Batches = Iterable[tuple[Tensor, Tensor]]
Step = Callable[[nn.Module, torch.optim.Optimizer, Tensor, Tensor], Tensor]


def data() -> TensorDataset:
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(STEPS * BATCH, 64, generator=generator)
    return TensorDataset(x, torch.randint(0, 10, (len(x),), generator=generator))


def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(64, 128), nn.ReLU(), nn.Linear(128, 10))


def shuffled(rows: TensorDataset) -> Batches:
    """Batches by one indexing call a tensor, as a careful author writes it."""
    x, y = rows.tensors
    order = torch.randperm(len(x))
    return ((x[rows], y[rows]) for rows in order.split(BATCH))  # type: ignore[no-untyped-call]  # torch's


def loaded(rows: TensorDataset) -> Batches:
    """Batches by torch's loader, as the tutorials have it."""
    return DataLoader(rows, batch_size=BATCH, shuffle=True)


def own_step(model: nn.Module, optimizer: Any, x: Tensor, y: Tensor) -> Tensor:
    """The optimizer clips."""
    optimizer.zero_grad()
    loss = F.cross_entropy(model(x), y)
    loss.backward()
    optimizer.step()
    return loss


def usual_step(model: nn.Module, optimizer: Any, x: Tensor, y: Tensor) -> Tensor:
    """The recipe of every tutorial."""
    optimizer.zero_grad()
    loss = F.cross_entropy(model(x), y)
    loss.backward()
    nn.utils.clip_grad_norm_(model.parameters(), CLIP)
    optimizer.step()
    return loss


def by_hand(
    rows: TensorDataset, make: Callable[..., Any], step: Step, read: Callable[..., Batches]
) -> float:
    """Seconds a step of a loop that is written out."""
    model = network()
    return timed(model, make(model.parameters(), lr=LR), step, read(rows))


def timed(model: nn.Module, optimizer: Any, step: Step, batches: Batches) -> float:
    losses = []
    begun = 0.0
    for count, (x, y) in enumerate(batches):
        losses.append(step(model, optimizer, x, y).item())
        if count == 0:
            begun = time.perf_counter()
    return (time.perf_counter() - begun) / (len(losses) - 1)


def by_fit(rows: TensorDataset) -> float:
    """Seconds a step of ``downslope.fit``, from its first step's record to its last."""
    few = TensorDataset(*rows[:BATCH])
    metric = Metric("accuracy", accuracy, higher_is_better=True)
    task = Task("mlp", network, F.cross_entropy, rows, few, metric, BATCH, 1, "classification")
    recipe = Recipe(lr=LR, schedule="constant", clip_norm=CLIP)
    times = []

    def note(event: dict[str, Any]) -> None:
        if event["event"] == "train" and event["step"] in (1, STEPS):
            times.append(time.perf_counter())

    with tempfile.TemporaryDirectory() as folder:
        fit(task, recipe, Path(folder) / "run", on_event=[note])
    return (times[1] - times[0]) / (STEPS - 1)


def library_step(backward: Callable[[Tensor], None], clip: Callable[[], None]) -> Step:
    """The usual step, with a library's own calls where it has some."""

    def step(model: nn.Module, optimizer: Any, x: Tensor, y: Tensor) -> Tensor:
        optimizer.zero_grad()
        loss = F.cross_entropy(model(x), y)
        backward(loss)
        clip()
        optimizer.step()
        return loss

    return step


def by_fabric(rows: TensorDataset) -> float:
    from lightning.fabric import Fabric

    fabric = Fabric(accelerator="cpu", devices=1)
    model = network()
    model, optimizer = fabric.setup(model, torch.optim.AdamW(model.parameters(), lr=LR))

    def clip() -> None:
        fabric.clip_gradients(model, optimizer, max_norm=CLIP)

    return timed(model, optimizer, library_step(fabric.backward, clip), shuffled(rows))


def by_accelerate(rows: TensorDataset) -> float:
    from accelerate import Accelerator

    accelerator = Accelerator(cpu=True)
    model = network()
    model, optimizer = accelerator.prepare(model, torch.optim.AdamW(model.parameters(), lr=LR))

    def clip() -> None:
        accelerator.clip_grad_norm_(model.parameters(), CLIP)

    return timed(model, optimizer, library_step(accelerator.backward, clip), shuffled(rows))


def sides(rows: TensorDataset) -> dict[str, Callable[[], float]]:
    """The loops by name; those of libraries where they are installed."""
    ours = partial(optim.AdamW, clip_norm=CLIP)
    fused = partial(torch.optim.AdamW, fused=True)
    found: dict[str, Callable[[], float]] = {
        "fit": partial(by_fit, rows),
        "by hand": partial(by_hand, rows, ours, own_step, shuffled),
        "torch": partial(by_hand, rows, torch.optim.AdamW, usual_step, shuffled),
        "torch, fused": partial(by_hand, rows, fused, usual_step, shuffled),
        "torch, loader": partial(by_hand, rows, torch.optim.AdamW, usual_step, loaded),
    }
    for name, side in (("Fabric", by_fabric), ("Accelerate", by_accelerate)):
        try:
            side(rows)
        except ImportError:
            print(f"{name} is not installed")
        else:
            found[name] = partial(side, rows)
    return found


def main() -> None:
    """Measure, print the table, write the file where asked."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--turns", type=int, default=25, help="measurements of each side")
    parser.add_argument("--write", action="store_true", help="keep the figures in results/")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    loops = sides(data())
    for loop in loops.values():
        loop()
    turns = [{name: loop() for name, loop in loops.items()} for _ in range(arguments.turns)]
    table = {
        name: {
            "us_a_step": round(1e6 * statistics.median(t[name] for t in turns), 1),
            "fit_over_it": round(statistics.median(t["fit"] / t[name] for t in turns), 3),
            "goal": GOALS.get(name),
        }
        for name in loops
    }
    result = {"machine": describe(), "turns": arguments.turns, "loops": table}
    print(json.dumps(result, indent=1))
    if arguments.write:
        (RESULTS / "loop.json").write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
