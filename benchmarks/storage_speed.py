"""The time of AdamW's step with compact state beside torch's fused float32 AdamW, on the CPU.

python -m benchmarks.storage_speed    # on a quiet machine; 124M parameters, 1 and 2 threads
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Callable

import torch

import downslope.optim

from .machine import seconds


def optimizer(elements: int, make: Callable[..., torch.optim.Optimizer]) -> torch.optim.Optimizer:
    """Over one matrix with gradients, stepped twice: its state is made, its kernel compiled."""
    p = torch.nn.Parameter(torch.randn(elements // 1024, 1024) * 0.02)
    p.grad = torch.randn_like(p) * 1e-3
    made = make([p], lr=1e-3)
    made.step()
    made.step()
    return made


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--elements", type=float, default=124e6)
    parser.add_argument("--rounds", type=int, default=11)
    given = parser.parse_args()
    kinds: dict[str, Callable[..., torch.optim.Optimizer]] = {
        "torch": lambda p, **k: torch.optim.AdamW(p, fused=True, **k)
    }
    for storage in (None, "bfloat16", "int8"):
        kinds[str(storage)] = lambda p, storage=storage, **k: downslope.optim.AdamW(
            p, storage=storage, **k
        )
    made = {name: optimizer(int(given.elements), make) for name, make in kinds.items()}
    print(
        "| threads | storage | ns an element, least | ratio to torch, median |\n|---|---|---|---|"
    )
    for threads in (1, 2):
        torch.set_num_threads(threads)
        # In turn, so that whatever else the machine does disturbs all alike.
        rounds = [{n: seconds(o.step) for n, o in made.items()} for _ in range(given.rounds)]
        for name in kinds:
            least = min(r[name] for r in rounds) * 1e9 / given.elements
            ratio = statistics.median(r[name] / r["torch"] for r in rounds)
            print(f"| {threads} | {name} | {least:.3f} | {ratio:.2f} |")


if __name__ == "__main__":
    main()
