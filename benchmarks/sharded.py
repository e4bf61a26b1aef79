"""400 small DTensors under FSDP2 in two processes: ``python -m benchmarks.sharded``.

Ours and torch's fused AdamW step the same parameters in turn, each process on one thread; the
figure is rank 0's median over the turns.
"""

from __future__ import annotations

import argparse
import json
import os
import socket
import statistics
import subprocess
import sys

import torch
import torch.distributed as dist
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard

import downslope.optim
from benchmarks.machine import describe, seconds
from benchmarks.optimizers import RESULTS

LAYERS, WIDTH, STEPS, WARM_UP = 200, 16, 3, 3  # a weight and a bias each: 400 tensors


def work(turns: int) -> None:
    """One of the two processes."""
    torch.set_num_threads(1)
    dist.init_process_group("gloo")
    mesh = init_device_mesh("cpu", (2,))
    model = torch.nn.Sequential(*(torch.nn.Linear(WIDTH, WIDTH) for _ in range(LAYERS)))
    fully_shard(model, mesh=mesh)
    model(torch.randn(4, WIDTH)).square().mean().backward()
    params = list(model.parameters())
    sides = {
        "ours": downslope.optim.AdamW(params).step,
        "torch": torch.optim.AdamW(params, fused=True).step,
    }
    for step in sides.values():
        seconds(step, WARM_UP)
    rows = []
    for _ in range(turns):
        dist.barrier()
        rows.append({name: seconds(step, STEPS) for name, step in sides.items()})
    if dist.get_rank() == 0:
        median = {f"{name}_s": statistics.median(r[name] for r in rows) for name in sides}
        ratio = statistics.median(r["ours"] / r["torch"] for r in rows)
        result = {"machine": describe(), "tensors": len(params), "turns": turns, "processes": 2}
        result.update(median, ratio=ratio, goal=0.2)
        print(json.dumps(result, indent=1))
    dist.destroy_process_group()


def main() -> None:
    """Run the two processes, print the figure, write the file."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--turns", type=int, default=15, help="measurements of each side")
    options = parser.parse_args()
    if "RANK" in os.environ:
        work(options.turns)
        return
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        port = str(s.getsockname()[1])
    common = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "WORLD_SIZE": "2"}
    processes = [
        subprocess.Popen(
            [sys.executable, "-m", "benchmarks.sharded", *sys.argv[1:]],
            env={**os.environ, **common, "RANK": str(rank), "OMP_NUM_THREADS": "1"},
            stdout=subprocess.PIPE,
            text=True,
        )
        for rank in range(2)
    ]
    said = [process.communicate()[0] for process in processes]
    if any(process.returncode for process in processes):
        raise SystemExit("the measurement failed")
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "sharded.json").write_text(said[0], encoding="utf-8")
    print(said[0], end="")


if __name__ == "__main__":
    main()
