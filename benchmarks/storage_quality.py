"""What ``storage="int8"`` costs in quality: validation losses beside those with float32 state.

Three tasks, four optimizers, five seeds, each run once with float32 state and once with int8 state
from the same weights and batches. The claim is that the mean over seeds with int8 lies within the
range of the seeds with float32.

    python -m benchmarks.storage_quality    # about a quarter of an hour on one core
"""

from __future__ import annotations

import argparse
import pydoc_data.topics
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from sklearn import datasets
from torch import Tensor, nn
from torch.nn import functional as F

import downslope.optim

from .machine import describe

RESULTS = Path(__file__).parent / "results" / "storage_quality.md"
SEEDS = range(5)
OPTIMIZERS: dict[str, Callable[..., torch.optim.Optimizer]] = {
    "SGD, momentum": lambda p, **k: downslope.optim.SGD(p, 0.05, momentum=0.9, **k),
    "AdamW": lambda p, **k: downslope.optim.AdamW(p, 2e-3, **k),
    "Lion": lambda p, **k: downslope.optim.Lion(p, 3e-4, **k),
    "RMSprop": lambda p, **k: downslope.optim.RMSprop(p, 5e-4, **k),
}


@dataclass(frozen=True)
class Task:
    """A model, batches of training data by step, and the loss on the rest."""

    model: Callable[[], nn.Module]
    loss: Callable[[nn.Module, Tensor, Tensor], Tensor]
    train: tuple[Tensor, Tensor]
    validation: tuple[Tensor, Tensor]
    steps: int
    batch: int


def _split(x: Tensor, y: Tensor) -> tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor]]:
    order = torch.randperm(len(x), generator=torch.Generator().manual_seed(0))
    train, rest = order[: len(x) * 3 // 4], order[len(x) * 3 // 4 :]
    return (x[train], y[train]), (x[rest], y[rest])


def _classify(model: nn.Module, x: Tensor, y: Tensor) -> Tensor:
    return F.cross_entropy(model(x).flatten(0, -2), y.flatten())


def digits() -> Task:
    x, y = datasets.load_digits(return_X_y=True)
    images = torch.from_numpy(x / 16.0).float().view(-1, 1, 8, 8)
    train, rest = _split(images, torch.from_numpy(y))

    def model() -> nn.Module:
        return nn.Sequential(
            nn.Conv2d(1, 32, 3, padding=1), nn.ReLU(),
            nn.Conv2d(32, 64, 3, padding=1, stride=2), nn.ReLU(),
            nn.Flatten(), nn.Linear(1024, 64), nn.ReLU(), nn.Linear(64, 10),
        )  # fmt: skip

    return Task(model, _classify, train, rest, 300, 64)


def table() -> Task:
    x, y = datasets.load_diabetes(return_X_y=True)
    inputs = torch.from_numpy(x * len(x) ** 0.5).float()
    target = torch.from_numpy((y - y.mean()) / y.std()).float()[:, None]
    train, rest = _split(inputs, target)

    def model() -> nn.Module:
        layers = [nn.Linear(10, 128), nn.ReLU(), nn.Linear(128, 128), nn.ReLU(), nn.Linear(128, 1)]
        return nn.Sequential(*layers)

    return Task(model, lambda m, a, b: F.mse_loss(m(a), b), train, rest, 150, 64)


class Transformer(nn.Module):
    """Two causal layers over bytes."""

    def __init__(self, width: int = 64, context: int = 64) -> None:
        super().__init__()
        self.bytes, self.places = nn.Embedding(256, width), nn.Embedding(context, width)
        layer = nn.TransformerEncoderLayer(width, 4, 4 * width, 0.0, batch_first=True)
        self.layers = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        self.out = nn.Linear(width, 256)

    def forward(self, x: Tensor) -> Tensor:
        mask = nn.Transformer.generate_square_subsequent_mask(x.shape[1])
        seen = self.bytes(x) + self.places.weight[: x.shape[1]]
        return self.out(self.layers(seen, mask=mask, is_causal=True))


def text() -> Task:
    """Python's reference, which comes with Python."""
    words = "\n".join(pydoc_data.topics.topics.values()).encode()
    data = torch.from_numpy(np.frombuffer(words, np.uint8).copy()).long()
    pieces = data[: len(data) // 65 * 65].view(-1, 65)
    x, y = pieces[:, :-1], pieces[:, 1:]
    cut = len(x) * 9 // 10
    return Task(Transformer, _classify, (x[:cut], y[:cut]), (x[cut:][:256], y[cut:][:256]), 300, 16)


TASKS = {"digits, CNN": digits, "text, Transformer": text, "table, MLP": table}


def final_loss(task: Task, optimizer: str, seed: int, storage: str | None) -> float:
    """The validation loss after training, averaged over the last steps' weights."""
    torch.manual_seed(seed)
    model = task.model()
    chosen = OPTIMIZERS[optimizer](model.parameters(), storage=storage)
    make = torch.Generator().manual_seed(seed)
    x, y = task.train
    for step in range(task.steps):
        rate = min(1.0, (step + 1) / 20) * (1 - step / task.steps)
        for group in chosen.param_groups:
            group["lr"] = group.setdefault("initial_lr", group["lr"]) * rate
        rows = torch.randint(len(x), (task.batch,), generator=make)
        chosen.zero_grad()
        task.loss(model, x[rows], y[rows]).backward()
        chosen.step()
    model.eval()
    with torch.no_grad():
        return float(task.loss(model, *task.validation))


def rows(tasks: list[str]) -> Iterator[str]:
    for name in tasks:
        task = TASKS[name]()
        for optimizer in OPTIMIZERS:
            losses = {
                storage: np.array([final_loss(task, optimizer, s, storage) for s in SEEDS])
                for storage in ("float32", "int8")
            }
            full, compact = losses["float32"], losses["int8"]
            inside = full.min() <= compact.mean() <= full.max() or compact.mean() < full.min()
            yield (
                f"| {name} | {optimizer} "
                f"| {full.mean():.4f} | {full.min():.4f} to {full.max():.4f} "
                f"| {compact.mean():.4f} | {compact.min():.4f} to {compact.max():.4f} "
                f"| {(compact - full).mean():+.4f} | {'yes' if inside else 'no'} |"
            )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--task", action="append", choices=[*TASKS])
    torch.set_num_threads(1)
    about = describe()
    head = [
        "# Final validation loss with int8 state beside float32 state",
        "",
        f"{about['processor']}, torch {about['torch']}, one thread; {len(SEEDS)} seeds each, "
        "the same batches with both.",
        "",
        "| task | optimizer | float32 | its seeds | int8 | its seeds | mean difference | within |",
        "|---|---|---|---|---|---|---|---|",
    ]
    lines = []
    for row in rows(parser.parse_args().task or [*TASKS]):
        lines.append(row)
        print(row, flush=True)
    RESULTS.write_text("\n".join([*head, *lines]) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
