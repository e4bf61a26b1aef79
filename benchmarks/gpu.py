"""The Triton engine on a GPU, checked and timed: ``make bench-gpu``, ``python -m benchmarks.gpu``.

First the engine's tests run on the device, with every program of every rule (``DOWNSLOPE_GPU=1``,
see tests/engines/on_device.py): against the oracles, off 16-byte boundaries, in CUDA graphs, under
a ``GradScaler`` that nobody waits for. Then it is timed, by the device's own events:

- the fastest copy and update of torch, in the same process: what the memory can do;
- AdamW on a billion float32 numbers, beside torch's fused AdamW;
- every rule with a kernel, beside torch's best where torch has it. A step reads every array of its
  formula once a pass and writes every array that changes once; those bytes over the fastest copy or
  update are the time below which no step can be, and "of bytes" is our time over that one;
- compact state (``storage=``), beside FlashOptim where it is installed;
- a thousand tensors of 32, where the host's work is all there is: by the host's clock;
- what a step launches, counted by torch's profiler.

Without a CUDA device it says so and exits with 2; a failed check makes the exit status 1.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import xml.etree.ElementTree as ET
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from rich.console import Console
from rich.table import Table

import downslope.optim
from benchmarks.device import (
    WARM_UP,
    bandwidth,
    device_times,
    host_times,
    launches,
    measure,
    rate,
)
from benchmarks.optimizers import (
    RESULTS,
    SUBJECTS,
    WORKLOADS,
    Subject,
    Workload,
    gpt2,
    make_optimizer,
)

__all__ = ["COMPACT", "ELEMENTWISE", "billion", "checks", "main", "table"]

ROOT = Path(__file__).parent.parent
_PARTS = ("", "_counting", "_storage", "_device")
CHECKS = tuple(f"tests/engines/test_gpu{part}.py" for part in _PARTS)

#: Bytes of all arrays for the largest workload: parameter, gradient and two slots in float32.
_ADAMW_BYTES = 16

#: Those that have a kernel.
ELEMENTWISE = tuple(s for s in SUBJECTS if not downslope.optim.get(s.name).rule.matrix)

#: Of every format and kind of slot.
COMPACT = (
    Subject("AdamW", {"storage": "int8"}),
    Subject("AdamW", {"storage": "bfloat16"}),
    Subject("Lion", {"storage": "int8"}),
    Subject("SGD", {"momentum": 0.9, "storage": "int8"}),
)


def billion(memory: int) -> Workload:
    """A language model of a billion parameters, or of as many as so many bytes hold."""
    for width, layers in ((1792, 24), (1280, 16), (768, 12), (96, 2)):
        shapes = gpt2(width=width, layers=layers)
        found = Workload("", shapes, steps=1, from_memory=True)
        if found.elements * _ADAMW_BYTES < 0.8 * memory:
            break
    title = f"GPT-2, {found.elements / 1e6:,.0f}M"
    return Workload(title, shapes, steps=1, from_memory=True)


def checks(targets: Sequence[str], environment: Mapping[str, str]) -> dict[str, Any]:
    """Run tests; how many passed, and which failed.

    Args:
        targets: files, or tests.
        environment: variables beside those of this process.
    """
    with TemporaryDirectory() as folder:
        report = Path(folder) / "report.xml"
        command = [sys.executable, "-m", "pytest", "-n", "0", "-q", f"--junitxml={report}"]
        done = subprocess.run(
            [*command, *targets], cwd=ROOT, env={**os.environ, **environment}, check=False
        )
        cases = list(ET.parse(report).iter("testcase")) if report.exists() else []
    bad = [c for c in cases if c.find("failure") is not None or c.find("error") is not None]
    skipped = sum(c.find("skipped") is not None for c in cases)
    failed = [f"{c.get('classname')}::{c.get('name')}" for c in bad]
    if done.returncode and not failed:
        failed = [f"pytest ended with {done.returncode}"]
    return {"passed": len(cases) - len(bad) - skipped, "skipped": skipped, "failed": failed}


def describe() -> dict[str, Any]:
    """The device and the versions; no names of hosts or users."""
    import triton

    found = torch.cuda.get_device_properties(0)
    return {
        "device": found.name,
        "capability": f"{found.major}.{found.minor}",
        "multiprocessors": found.multi_processor_count,
        "memory_gb": round(found.total_memory / 1e9),
        "cuda": torch.version.cuda,
        "hip": torch.version.hip,
        "torch": torch.__version__,
        "triton": triton.__version__,
    }


def table(rows: Sequence[Mapping[str, Any]], title: str) -> Table:
    """Rows of one kind of measurement."""
    shown = Table("optimizer", title=title, title_justify="left")
    for heading in ("ours, ms", "torch, ms", "torch's", "ours / torch", "of bytes", "bandwidth"):
        shown.add_column(heading, justify="right")
    for row in rows:
        shown.add_row(
            f"{row['optimizer']}{', bfloat16' * row['workload'].endswith('bfloat16')}",
            f"{row['ours_s'] * 1e3:.3f}",
            f"{row['torch_s'] * 1e3:.3f}" if row["torch_s"] else "",
            row["torch_mode"] or "",
            f"{row['ratio']:.2f}" if row["ratio"] else "",
            f"{row['of_bytes']:.2f}" if "of_bytes" in row else "",
            f"{row['bandwidth']:.0%}" if "bandwidth" in row else "",
        )
        for rival, seconds in row["rivals_s"].items():
            ratio = f"{row['ours_s'] / seconds:.2f}"
            shown.add_row(f"  {rival}", "", f"{seconds * 1e3:.3f}", "", ratio, "", "")
    return shown


def _timings(quick: bool) -> Iterator[tuple[str, dict[str, Any]]]:
    """Every measurement, by its kind."""
    device = torch.device("cuda", 0)
    turns = 5 if quick else 30
    adamw = Subject("AdamW", {})
    speed = bandwidth(device, device_times, 256 if quick else 1024)
    yield "bandwidth_bytes_per_s", speed
    fastest = max(speed.values())

    def timed(kind: str, subject: Subject, workload: Workload) -> tuple[str, dict[str, Any]]:
        row = measure(subject, workload, turns, device, device_times)
        torch.cuda.empty_cache()
        return kind, {**row, **rate(row, fastest)}

    memory = torch.cuda.mem_get_info()[0]
    yield timed("large", adamw, billion(memory if not quick else memory // 16))
    for subject in ELEMENTWISE:
        yield timed("rules", subject, WORKLOADS["gpt2"])
    for dtype in (torch.float32, torch.bfloat16):
        large = replace(
            WORKLOADS["gpt2"], dtype=dtype, title=f"{WORKLOADS['gpt2'].title}, {str(dtype)[6:]}"
        )
        for subject in COMPACT:
            yield timed("compact", subject, large)
    for name in ("tiny", "groups"):
        yield "host", measure(adamw, WORKLOADS[name], 10 * turns, device, host_times)
    for subject in (adamw, Subject("AdamW", {"clip_norm": 1.0}), Subject("LAMB", {})):
        optimizer = make_optimizer(downslope.optim, subject, WORKLOADS["tiny"], device)
        for _ in range(WARM_UP):
            optimizer.step()
        yield "launches", {"optimizer": subject.title, **launches(optimizer.step)}


def main(arguments: Sequence[str] | None = None) -> int:
    """Check, measure, print the tables, write the file."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="a smoke run: few turns, no file")
    parser.add_argument("--no-checks", action="store_true", help="only the timings")
    options = parser.parse_args(arguments)
    if not torch.cuda.is_available():
        print(
            f"benchmarks.gpu needs a CUDA device, and torch {torch.__version__} sees none here. "
            "`make prove-gpu` checks the kernels without one",
            file=sys.stderr,
        )
        return 2
    console = Console() if sys.stdout.isatty() else Console(width=120)
    result: dict[str, Any] = {"machine": describe()}
    console.print(", ".join(f"{key} {value}" for key, value in result["machine"].items()))
    if not options.no_checks:
        every = {} if options.quick else {"DOWNSLOPE_EVERY_KERNEL": "1"}
        result["checks"] = checks(CHECKS, {"DOWNSLOPE_GPU": "1", **every})
        console.print(f"checks: {result['checks']}")
    for kind, row in _timings(options.quick):
        result.setdefault(kind, []).append(row)
        console.print(f"{kind}: {row}", highlight=False, soft_wrap=True)
    titles = {
        "large": "A billion parameters",
        "rules": WORKLOADS["gpt2"].title,
        "compact": "Compact state",
        "host": "On the host",
    }
    for kind, title in titles.items():
        console.print(table(result[kind], title))
    if not options.quick:  # whose figures are no result
        RESULTS.mkdir(exist_ok=True)
        path = RESULTS / "gpu.json"
        path.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
        console.print(f"-> {path}", soft_wrap=True)
    return 1 if result.get("checks", {}).get("failed") else 0


if __name__ == "__main__":
    raise SystemExit(main())
