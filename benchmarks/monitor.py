"""What watching a training loop costs: ``python -m benchmarks.monitor``.

A loop by hand with our AdamW, with and without a :class:`downslope.Monitor`, in turn in one process
on one thread; ratios are taken within a turn, then their median. Two models of the same making
differ by half a per cent, by where they lie in memory: so there are several pairs, in which each is
the watched one in half of the turns, and the ratio is the geometric mean of all the medians. The
model of six tensors is an MLP 64-128-128-10, the CNN that of the digits; both on batches of 64
rows.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from downslope import Monitor, optim
from downslope.tasks.digits import convolutional_network

GOALS = {"default": 1.02, "every step": 1.15}
WARM_STEPS, STEPS = 600, 200
PAIRS = 4


def mlp() -> nn.Module:
    layers = (nn.Linear(64, 128), nn.ReLU(), nn.Linear(128, 128), nn.ReLU(), nn.Linear(128, 10))
    return nn.Sequential(*layers)


class Side:
    """A model in training, watched or not."""

    def __init__(self, make: type[nn.Module], inputs: Tensor) -> None:
        torch.manual_seed(0)
        self.model, self.x, self.y = make(), inputs, torch.randint(0, 10, (len(inputs),))
        self.optimizer = optim.AdamW(self.model.parameters(), lr=1e-3)
        self.monitor: Monitor | None = None

    def watch(self, folder: str, every: int) -> None:
        self.monitor = Monitor(self.model, self.optimizer, folder, every=every or None)

    def leave(self) -> None:
        assert self.monitor is not None
        self.monitor.close()
        self.monitor = None

    def seconds(self, steps: int) -> float:
        model, optimizer, monitor, x, y = (
            *(self.model, self.optimizer, self.monitor, self.x, self.y),
        )
        begun = time.perf_counter()
        for _ in range(steps):
            loss = F.cross_entropy(model(x), y)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            if monitor is not None:
                monitor.step(loss)
        return (time.perf_counter() - begun) / steps


def measured(make: type[nn.Module], x: Tensor, every: int, turns: int) -> tuple[float, ...]:
    """Seconds a step alone and watched, and their ratio."""
    found, kept = [], []
    for _ in range(PAIRS):
        sides = Side(make, x), Side(make, x)
        kept.append(sides)  # so that the next pair lies elsewhere
        for alone, watched in (sides, sides[::-1]):
            with tempfile.TemporaryDirectory() as folder:
                watched.watch(folder, every)
                for side in sides:
                    side.seconds(WARM_STEPS)
                turn = range(turns // (2 * PAIRS) + 1)
                pairs = [(alone.seconds(STEPS), watched.seconds(STEPS)) for _ in turn]
                watched.leave()
            ratio = statistics.median(b / a for a, b in pairs)
            found.append((*(statistics.median(t) for t in zip(*pairs, strict=True)), ratio))
    return tuple(statistics.geometric_mean(column) for column in zip(*found, strict=True))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--turns", type=int, default=41)
    given = parser.parse_args()
    torch.set_num_threads(1)
    print("| model | looks | alone, us | watched, us | ratio | goal |\n|---|---|---|---|---|---|")
    for name, make, x in (
        ("MLP", mlp, torch.randn(64, 64)),
        ("CNN", convolutional_network, torch.randn(64, 1, 8, 8)),
    ):
        for looks, every in (("default", 0), ("every step", 1)):
            *seconds, ratio = measured(make, x, every, given.turns)
            alone, watched = (1e6 * t for t in seconds)
            goal = GOALS[looks]
            print(f"| {name} | {looks} | {alone:.1f} | {watched:.1f} | {ratio:.3f} | {goal} |")


if __name__ == "__main__":
    main()
