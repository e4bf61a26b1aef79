"""Times, bytes and launches of optimizers' steps on a GPU, for ``benchmarks.gpu``."""

from __future__ import annotations

import itertools
import statistics
import time
from collections.abc import Callable, Mapping
from typing import Any

import torch

import downslope.optim
from benchmarks.optimizers import Subject, Workload, make_optimizer, parameters
from benchmarks.rivals import on_cuda
from downslope.engines.gpu.arrays import ELEMENTS
from downslope.engines.storage import CODECS

__all__ = [
    "WARM_UP",
    "Clock",
    "bandwidth",
    "bytes_moved",
    "device_times",
    "host_times",
    "launches",
    "measure",
    "rate",
]

#: Steps before any is timed: kernels are compiled, the clocks go up.
WARM_UP = 5

Clock = Callable[[Callable[[], object], int], list[float]]


def device_times(act: Callable[[], object], times: int) -> list[float]:
    """Seconds that each of some calls keeps the device busy, by its own events."""
    events = [torch.cuda.Event(enable_timing=True) for _ in range(times + 1)]
    events[0].record()
    for event in events[1:]:
        act()
        event.record()
    torch.cuda.synchronize()
    return [a.elapsed_time(b) / 1e3 for a, b in itertools.pairwise(events)]


def host_times(act: Callable[[], object], times: int) -> list[float]:
    """Seconds until each of some calls returns, whatever the device still has to do."""
    found = []
    for _ in range(times):
        begun = time.perf_counter()
        act()
        found.append(time.perf_counter() - begun)
    torch.cuda.synchronize()
    return found


def bandwidth(
    device: torch.device, clock: Clock, megabytes: int = 1024, samples: int = 20
) -> dict[str, float]:
    """Bytes a second of torch's ``b = a`` and ``a = a + 3 b``, arrays far above any cache."""
    a = torch.ones(megabytes * 2**20 // 4, device=device)
    b = torch.ones_like(a)
    acts: dict[str, tuple[int, Callable[[], object]]] = {
        "copy": (2, lambda: b.copy_(a)),
        "update": (3, lambda: a.add_(b, alpha=3)),
    }
    clock(acts["update"][1], WARM_UP)
    return {n: arrays * a.nbytes / min(clock(act, samples)) for n, (arrays, act) in acts.items()}


def launches(step: Callable[[], object]) -> dict[str, int]:
    """What one call starts on the device: kernels, and copies or fills of memory."""
    from torch.profiler import DeviceType, ProfilerActivity, profile

    with profile(activities=[ProfilerActivity.CUDA, ProfilerActivity.CPU]) as found:
        step()
        torch.cuda.synchronize()
    names = [e.name for e in found.events() if e.device_type == DeviceType.CUDA]
    memory = sum(name.startswith(("Memcpy", "Memset")) for name in names)
    return {"kernels": len(names) - memory, "copies": memory}


def torch_step(
    subject: Subject, workload: Workload, device: torch.device
) -> tuple[str, Callable[[], object]] | None:
    """The step of torch's class of that name, fused where it can be; None where torch has none."""
    cls = getattr(torch.optim, subject.name, None)
    if cls is None:
        return None
    twin = make_optimizer(torch.optim, subject, workload, device)
    mode = "fused" if "fused" in twin.defaults else "foreach"
    for group in twin.param_groups:
        group[mode] = True
    params = [p for group in twin.param_groups for p in group["params"]]
    limit = subject.kwargs.get("clip_norm")

    def step() -> None:
        if limit is not None:
            torch.nn.utils.clip_grad_norm_(params, limit)
        twin.step()

    return mode, step


def measure(
    subject: Subject, workload: Workload, turns: int, device: torch.device, clock: Clock
) -> dict[str, Any]:
    """Seconds a step of ours, then of torch's: one after the other, so that both fit.

    Args:
        subject: the optimizer.
        workload: what it steps.
        turns: how many steps are timed; the median counts.
        device: where.
        clock: how.
    """
    ours = make_optimizer(downslope.optim, subject, workload, device)
    median = _median(ours.step, turns, clock)
    engines = sorted({type(b).__name__ for _, b in ours._buckets.placed})
    size = bytes_moved(ours)
    del ours
    mode, step = torch_step(subject, workload, device) or (None, None)
    theirs = _median(step, turns, clock) if step else None
    del step
    others = {}
    for name, make in (on_cuda(subject.name) if "storage" in subject.kwargs else {}).items():
        others[name] = _median(make(parameters(workload, device)).step, turns, clock)
    return {
        "optimizer": subject.title,
        "workload": workload.title,
        "engines": engines,
        "ours_s": median,
        "torch_s": theirs,
        "torch_mode": mode,
        "ratio": median / theirs if theirs else None,
        "rivals_s": others,
        "bytes": size,
    }


def bytes_moved(optimizer: Any) -> int:
    """What a step that was taken read and wrote of arrays, each once a pass; and for the norm."""
    moved = 0.0
    for _, bucket in optimizer._buckets.placed:
        program, norm = bucket._program, bucket._meter is not None
        each = {n: _bytes(kind) for n, kind in zip(program.arrays, bucket._kinds, strict=True)}
        streams = [n for s in program.passes for n in (*s.reads, *(name for name, _ in s.writes))]
        streams += ["g"] * norm
        moved += sum(each[n] for n in streams) * sum(bucket._lengths)
    return round(moved)


def _bytes(kind: str) -> float:
    """Of one number, scales of compact ones included."""
    if kind in CODECS:
        return sum(plane.dtype.itemsize / plane.block for plane in CODECS[kind].planes)
    return ELEMENTS[kind].bytes


def _median(step: Callable[[], object], turns: int, clock: Clock) -> float:
    clock(step, WARM_UP)
    return statistics.median(clock(step, turns))


def rate(row: Mapping[str, Any], speed: float) -> dict[str, float]:
    """A row's share of the memory's speed, and its time over that of its bytes alone."""
    return {
        "bandwidth": row["bytes"] / row["ours_s"] / speed,
        "of_bytes": row["ours_s"] * speed / row["bytes"],
    }
