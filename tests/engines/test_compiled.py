"""The compiled engine: compiled once, kept on disk, and the same without its compiler."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import torch

from ..optim.catalogue import CATALOGUE, Entry, each
from ..optim.harness import assert_same, build, detached, drive, gradients, leaves, zoo

#: Runs the cases of a file in a fresh process: trajectories, and how often Numba compiled.
RUN = """
import sys, torch, downslope.optim as optim
ends = []
for name, kwargs, start, rows in torch.load(sys.argv[1], weights_only=True):
    params = [t.clone().requires_grad_() for t in start]  # saved tensors may share memory
    optimizer = getattr(optim, name)(params, **kwargs)
    for row in rows:
        for p, g in zip(params, row):
            p.grad = g
        optimizer.step()
    ends.append([p.detach() for p in params])
kernels = [m for n, m in sys.modules.items() if n.startswith("downslope_kernel_")]
stats = [getattr(m.run0, "stats", None) for m in kernels]
misses = sum(sum(s.cache_misses.values()) for s in stats if s)
hits = sum(sum(s.cache_hits.values()) for s in stats if s)
torch.save({"ends": ends, "misses": misses, "hits": hits, "kernels": len(kernels)}, sys.argv[2])
"""


def in_a_process(folder: Path, cases: list[Any], **environment: str) -> dict[str, Any]:
    """Run the cases in another process."""
    torch.save(cases, folder / "cases.pt")
    command = [sys.executable, "-W", "error", "-c", RUN, folder / "cases.pt", folder / "ends.pt"]
    subprocess.run(command, check=True, timeout=120, env={**os.environ, **environment})
    return torch.load(folder / "ends.pt", weights_only=True)


def small_cases() -> list[Any]:
    """Every variant, few elements, two steps: small enough for plain Python."""
    cases = []
    for dtype in (torch.float32, torch.float64):
        small = tuple(t for t in zoo(dtype) if t.numel() < 50)
        for entry in CATALOGUE:
            if entry.sparse_only:  # it has no kernel
                continue
            start = tuple(t for t in small if entry.takes(t))
            rows = [list(row) for row in gradients(start, 2)]
            cases += [(entry.name, dict(v.kwargs), list(start), rows) for v in entry.variants]
    return cases


def here(cases: list[Any]) -> list[list[torch.Tensor]]:
    """The same in this process, compiled."""
    entries = {entry.name: entry for entry in CATALOGUE}
    ends = []
    for name, kwargs, start, rows in cases:
        params = leaves(start)
        drive(build(entries[name].ours, params, kwargs), rows)
        ends.append(detached(params))
    return ends


def test_uncompiled_kernels_compute_the_same(tmp_path: Path) -> None:
    """With ``NUMBA_DISABLE_JIT=1`` the same generated source runs as plain Python, to rounding."""
    cases = small_cases()
    plain = in_a_process(tmp_path, cases, NUMBA_DISABLE_JIT="1")
    assert plain["kernels"] > 0
    assert plain["hits"] == plain["misses"] == 0
    for ours, theirs in zip(here(cases), plain["ends"], strict=True):
        assert_same(theirs, ours)


def test_second_process_compiles_nothing(tmp_path: Path) -> None:
    """A process finds on disk every kernel that an earlier one compiled."""
    cases = small_cases()[:40:8]
    here(cases)
    again = in_a_process(tmp_path, cases)
    assert again["misses"] == 0
    assert again["hits"] == again["kernels"] > 0


@each()
def test_no_second_compilation(entry: Entry) -> None:
    """Other values, sizes, groups and kinds of numbers find the kernel of the first step."""
    params = leaves(zoo())
    optimizer = build(entry.ours, params[:3])
    drive(optimizer, [row[:3] for row in gradients(zoo(), 1)])
    before = _signatures()
    optimizer.add_param_group({"params": params[3:], "weight_decay": 1})
    for lr in (1, 0.5, torch.tensor(0.25)):
        optimizer.param_groups[0]["lr"] = lr
        drive(optimizer, gradients(zoo(), 1))
    assert _signatures() == before


def _signatures() -> dict[str, int]:
    """How many versions Numba has compiled of each kernel in this process."""
    return {
        f"{name}.{function}": len(getattr(module, function).signatures)
        for name, module in sys.modules.items()
        if name.startswith("downslope_kernel_")
        for function, value in vars(module).items()
        if function.startswith("run") and hasattr(value, "signatures")  # Triton's have none
    }
