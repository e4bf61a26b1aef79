"""What watching a training loop costs: ``python -m benchmarks.monitor``.

A loop by hand with our AdamW, with and without a :class:`downslope.Monitor`, in turn in one process
on one thread; ratios are taken within a turn, then their median. The model of six tensors is an MLP
64-128-128-10, the CNN that of the digits; both on batches of 64 rows.
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


def mlp() -> nn.Module:
    layers = (nn.Linear(64, 128), nn.ReLU(), nn.Linear(128, 128), nn.ReLU(), nn.Linear(128, 10))
    return nn.Sequential(*layers)


class Side:
    """A model in training, watched or not."""

    def __init__(self, make: type[nn.Module], inputs: Tensor, folder: str = "", every: int = 0):
        torch.manual_seed(0)
        self.model, self.x, self.y = make(), inputs, torch.randint(0, 10, (len(inputs),))
        self.optimizer = optim.AdamW(self.model.parameters(), lr=1e-3)
        self.monitor = None
        if folder:
            self.monitor = Monitor(self.model, self.optimizer, folder, every=every or None)

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
            with tempfile.TemporaryDirectory() as folder:
                sides = Side(make, x), Side(make, x, folder, every)
                for side in sides:
                    side.seconds(WARM_STEPS)
                turns = [[side.seconds(STEPS) for side in sides] for _ in range(given.turns)]
                sides[1].monitor.close()
            ratio = statistics.median(b / a for a, b in turns)
            alone, watched = (statistics.median(t) * 1e6 for t in zip(*turns, strict=True))
            goal = GOALS[looks]
            print(f"| {name} | {looks} | {alone:.1f} | {watched:.1f} | {ratio:.3f} | {goal} |")


if __name__ == "__main__":
    main()
