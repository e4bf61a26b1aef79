"""Our optimizers beside torch's best mode: ``make bench`` or ``python -m benchmarks.optimizers``.

Both step in one process, in turn, on tensors of the same shapes; the figure is the median over at
least 15 turns. Torch's best mode is the fastest of its for-loop, its foreach and, where it has one,
its fused implementation, found in a few turns before. A process a thread count, because OpenMP
reads its own when it starts.

Beside them steps torch's fused AdamW, the fastest code there is for this machine's memory: "of
bytes" is our time over the time in which it would move the bytes of our formula. Rivals that are
installed (rivals.py) take part where they have the rule.

A step must read every array of the formula once and write every array that changes once: AdamW
reads p, g, exp_avg, exp_avg_sq and writes all but g, 7 x 4 bytes an element. Those bytes over our
fastest step, over the fastest copy, triad or update in the same run (machine.py), is the share of
the machine's memory bandwidth. (Small tensors stay in caches, where it says nothing; it is left
out.)
"""

from __future__ import annotations

import argparse
import ctypes
import json
import os
import statistics
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

import downslope.optim
from benchmarks import rivals
from benchmarks.machine import bandwidth, describe, seconds
from downslope.engines.trace import trace

__all__ = [
    "RESULTS",
    "SUBJECTS",
    "WORKLOADS",
    "Subject",
    "Workload",
    "gpt2",
    "make_optimizer",
    "parameters",
]

RESULTS = Path(__file__).parent / "results"
#: Our time over that in which torch's fused AdamW would move the same bytes, at most.
BYTES_GOAL = 1.1
_CPU = torch.device("cpu")
WARM_UP = 3
PILOT = 3


@dataclass(frozen=True)
class Workload:
    """Shapes to step, and how many steps make one measurement."""

    title: str
    shapes: tuple[tuple[int, ...], ...]
    steps: int
    groups: bool = False  # every tensor in a group of its own
    from_memory: bool = False  # too large for any cache
    dtype: torch.dtype = torch.float32

    @property
    def elements(self) -> int:
        """Numbers in all tensors."""
        return sum(torch.Size(s).numel() for s in self.shapes)


def gpt2(width: int = 768, layers: int = 12, words: int = 50257) -> tuple[tuple[int, ...], ...]:
    """The shapes of GPT-2 small's parameters."""
    block: list[tuple[int, ...]] = [(width,), (width,)]
    for rows, columns in ((3 * width, width), (width, width)):
        block += [(rows, columns), (rows,)]
    block += [(width,), (width,), (4 * width, width), (4 * width,), (width, 4 * width), (width,)]
    return ((words, width), (1024, width), *(block * layers), (width,), (width,))


def _resnet50(classes: int = 1000) -> tuple[tuple[int, ...], ...]:
    """The shapes of ResNet-50's parameters: 161 tensors, 25.6M numbers."""
    shapes: list[tuple[int, ...]] = [(64, 3, 7, 7), (64,), (64,)]
    inputs = 64
    for width, blocks in ((64, 3), (128, 4), (256, 6), (512, 3)):
        for block in range(blocks):
            convolutions = [(width, inputs, 1, 1), (width, width, 3, 3), (4 * width, width, 1, 1)]
            if not block:
                convolutions.append((4 * width, inputs, 1, 1))
            for shape in convolutions:
                shapes += [shape, shape[:1], shape[:1]]  # and its batch norm
            inputs = 4 * width
    return (*shapes, (classes, inputs), (classes,))


def _detector(width: int = 256, layers: int = 38) -> tuple[tuple[int, ...], ...]:
    """465 tensors of a detection transformer's sizes, 33M numbers."""
    block: list[tuple[int, ...]] = [(3 * width, width), (3 * width,), (width, width), (width,)]
    block += [(width,), (width,), (4 * width, width), (4 * width,)]
    block += [(width, 4 * width), (width,), (width,), (width,)]
    return (
        *(block * layers),
        (300, width),
        (width, 768, 4, 4),
        *([(91, width), (91,)] * 3),
        (width,),
    )


WORKLOADS = {
    "gpt2": Workload("GPT-2 small, 124M", gpt2(), steps=1, from_memory=True),
    "resnet50": Workload("ResNet-50, 25.6M", _resnet50(), steps=1, from_memory=True),
    "detector": Workload(
        "465 groups of one tensor, 33M", _detector(), steps=1, groups=True, from_memory=True
    ),
    "tiny": Workload("1000 tensors of 32", ((32,),) * 1000, steps=5),
    "groups": Workload("1000 groups of one tensor of 32", ((32,),) * 1000, steps=5, groups=True),
    "mlp": Workload(
        "MLP, 6 tensors", ((128, 64), (128,), (128, 128), (128,), (10, 128), (10,)), steps=100
    ),
}


@dataclass(frozen=True)
class Subject:
    """An optimizer with its arguments, and the ratio to torch's time that it should stay under.

    A goal is one number, or one for each number of threads.
    """

    name: str
    kwargs: dict[str, Any]
    goals: dict[str, float | dict[int, float]] = field(default_factory=dict)

    def goal(self, workload: str) -> float | None:
        """The goal at this process's number of threads."""
        goal = self.goals.get(workload)
        return goal.get(torch.get_num_threads()) if isinstance(goal, dict) else goal

    @property
    def title(self) -> str:
        """As it would be called."""
        return f"{self.name}({', '.join(f'{k}={v}' for k, v in self.kwargs.items())})"


_SPECIAL = (
    Subject("SGD", {}),
    Subject("SGD", {"momentum": 0.9}),
    Subject("RMSprop", {}, {"gpt2": 0.35}),
    Subject("AdamW", {}, {"gpt2": 1.02, "tiny": {1: 0.22, 2: 0.18}, "groups": 0.07, "mlp": 0.6}),
    Subject("AdamW", {"clip_norm": 1.0}, {"gpt2": 0.75}),
)
_ALL = map(downslope.optim.get, downslope.optim.names())
_OTHERS = (cls.__name__ for cls in _ALL if not cls.rule.needs)
SUBJECTS = (
    *_SPECIAL,
    *(Subject(name, {}) for name in _OTHERS if name not in {s.name for s in _SPECIAL}),
)

_MODES: dict[str, dict[str, bool]] = {
    "for-loop": {"foreach": False, "fused": False},
    "foreach": {"foreach": True, "fused": False},
    "fused": {"foreach": False, "fused": True},
}


def parameters(workload: Workload, device: torch.device) -> list[torch.Tensor]:
    """Parameters with gradients."""
    make = torch.Generator(device).manual_seed(0)
    params = []
    for shape in workload.shapes:
        p, g = (torch.randn(shape, generator=make, device=device) for _ in range(2))
        params.append(torch.nn.Parameter(p.mul_(0.02).to(workload.dtype)))
        params[-1].grad = g.mul_(1e-3).to(workload.dtype)
    return params


def make_optimizer(
    module: Any, subject: Subject, workload: Workload, device: torch.device = _CPU
) -> torch.optim.Optimizer:
    """An optimizer of ours, or torch's of that name, with parameters that have gradients."""
    params = parameters(workload, device)
    groups = [{"params": [p]} for p in params] if workload.groups else params
    ours = module is downslope.optim
    kwargs = {k: v for k, v in subject.kwargs.items() if ours or k not in ("clip_norm", "storage")}
    return getattr(module, subject.name)(groups, **kwargs)


def _torch_modes(
    twin: torch.optim.Optimizer, clip_norm: float | None
) -> dict[str, Callable[[], object]]:
    """Each of torch's implementations, stepping the same parameters and state, clipped before."""
    params = [p for group in twin.param_groups for p in group["params"]]

    def step_in(flags: dict[str, bool]) -> Callable[[], object]:
        def step() -> None:
            for group in twin.param_groups:
                group.update(flags)
            if clip_norm is not None:
                torch.nn.utils.clip_grad_norm_(params, clip_norm)
            twin.step()

        return step

    fused = "fused" in twin.defaults
    return {
        name: step_in({k: v for k, v in flags.items() if fused or k != "fused"})
        for name, flags in _MODES.items()
        if fused or name != "fused"
    }


def measure(
    subject: Subject, workload: Workload, turns: int, reference: Callable[[], object]
) -> dict[str, Any]:
    """Seconds a step of ours, of torch's best mode, of installed rivals and of a reference.

    Args:
        subject: the optimizer.
        workload: what it steps.
        turns: how many measurements of each, alternating.
        reference: the step of torch's fused AdamW.
    """
    ours = make_optimizer(downslope.optim, subject, workload)
    sides: dict[str, Callable[[], object]] = {"ours": ours.step, "reference": reference}
    clip_norm = subject.kwargs.get("clip_norm")
    for name, make in rivals.installed(subject.name).items() if clip_norm is None else ():
        sides[name] = make(parameters(workload, _CPU)).step
    pilot: dict[str, float] = {}
    if hasattr(torch.optim, subject.name):
        modes = _torch_modes(make_optimizer(torch.optim, subject, workload), clip_norm)
        pilot = {
            mode: min(seconds(step, workload.steps) for _ in range(PILOT + 1))
            for mode, step in modes.items()
        }
        sides["torch"] = modes[min(pilot, key=pilot.__getitem__)]
    for step in sides.values():
        seconds(step, WARM_UP)
    rows = [{s: seconds(step, workload.steps) for s, step in sides.items()} for _ in range(turns)]
    median = {s: statistics.median(row[s] for row in rows) for s in sides}
    streams = traffic(ours)
    others = {n: t for n, t in median.items() if n not in ("ours", "torch", "reference")}
    return {
        "optimizer": subject.title,
        "ours_s": median["ours"],
        "ours_fastest_s": min(row["ours"] for row in rows),
        "torch_s": median.get("torch"),
        "torch_mode": min(pilot, key=pilot.__getitem__) if pilot else None,
        "torch_modes_s": pilot,
        "ratio": statistics.median(r["ours"] / r["torch"] for r in rows) if pilot else None,
        "reference_s": median["reference"],
        "to_reference": statistics.median(r["ours"] / r["reference"] for r in rows),
        "of_bytes": statistics.median(
            r["ours"] / r["reference"] * ADAMW_STREAMS / streams for r in rows
        ),
        "rivals_s": others,
        "bytes": streams * workload.elements * 4,
        "turns": turns,
    }


#: Arrays that AdamW reads or writes: p, g, exp_avg, exp_avg_sq; all but g again.
ADAMW_STREAMS = 7


def traffic(optimizer: torch.optim.Optimizer) -> int:
    """How many arrays a step reads and writes."""
    group, rule = optimizer.param_groups[0], type(optimizer).rule
    read_for_the_norm = int(group.get("clip_norm") is not None)
    return trace(rule, rule.present(group), rule.flag_values(group)).streams + read_for_the_norm


def _give_back() -> None:
    """Let the system have the memory of what was measured: glibc keeps gigabytes in pieces."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)


def work(options: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """Measure at one thread count, in this process."""
    torch.set_num_threads(options.worker)
    megabytes = 64 if options.quick else 256
    yield {"bandwidth": bandwidth(megabytes)}
    for name in options.workloads:
        workload = WORKLOADS[name]
        reference = make_optimizer(torch.optim, Subject("AdamW", {"fused": True}), workload).step
        for subject in SUBJECTS:
            if options.only and options.only not in subject.title:
                continue
            row = measure(subject, workload, options.turns, reference)
            yield {"workload": name, "goal": subject.goal(name), **row}
            _give_back()
    yield {"bandwidth": bandwidth(megabytes)}


def _run_worker(options: argparse.Namespace, threads: int) -> Iterator[dict[str, Any]]:
    """The same in a fresh process; yields its rows as they come."""
    command = [
        sys.executable,
        "-m",
        "benchmarks.optimizers",
        *sys.argv[1:],
        "--worker",
        str(threads),
    ]
    environment = {**os.environ, "OMP_NUM_THREADS": str(threads)}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as process:
        assert process.stdout is not None
        yield from map(json.loads, process.stdout)
    if process.returncode:
        raise SystemExit(f"the measurement at {threads} threads failed")


@contextmanager
def _neighbour(wanted: bool) -> Iterator[None]:
    """A process that keeps one core busy meanwhile."""
    if not wanted:
        yield
        return
    process = subprocess.Popen([sys.executable, "-c", "while True: pass"])
    try:
        yield
    finally:
        process.kill()
        process.wait()


def table(rows: Sequence[dict[str, Any]], speed: float, title: str) -> Table:
    """The rows of one thread count and workload."""
    shown = Table("optimizer", title=title, title_justify="left")
    headings = ["ours, ms", "torch, ms", "torch's best", "ours / torch", "goal", "/ AdamW"]
    large = WORKLOADS[rows[0]["workload"]].from_memory
    for heading in headings + ["of bytes", "GB", "bandwidth"] * large:
        shown.add_column(heading, justify="right")
    for row in rows:
        goal, ratio = row["goal"], row["ratio"]
        colour = "" if goal is None else "[green]" if ratio <= goal else "[red]"
        cells = [
            row["optimizer"],
            f"{row['ours_s'] * 1e3:.3f}",
            f"{row['torch_s'] * 1e3:.3f}" if row["torch_s"] else "",
            row["torch_mode"] or "",
            f"{colour}{ratio:.2f}" if ratio else "",
            f"{goal:.2f}" if goal else "",
            f"{row['to_reference']:.2f}",
        ]
        if large:
            cells += [
                f"{'[green]' if row['of_bytes'] <= BYTES_GOAL else '[red]'}{row['of_bytes']:.2f}",
                f"{row['bytes'] / 1e9:.2f}",
                f"{row['bytes'] / row['ours_fastest_s'] / speed:.0%}",
            ]
        shown.add_row(*cells)
        for rival, time in row["rivals_s"].items():
            ratio = row["ours_s"] / time
            shown.add_row(f"  {rival}", "", f"{time * 1e3:.3f}", "", f"{ratio:.2f}")
    return shown


def main() -> None:
    """Measure at every thread count, print the tables, write the file."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="a smoke run: few turns, small model")
    parser.add_argument("--workloads", nargs="+", choices=WORKLOADS, default=list(WORKLOADS))
    parser.add_argument("--only", default="", help="only optimizers whose call contains this")
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--turns", type=int, default=15, help="measurements of each side")
    parser.add_argument("--name", default="optimizers", help="of the file of results")
    parser.add_argument("--busy", action="store_true", help="with a neighbour that takes a core")
    parser.add_argument("--worker", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.quick:
        options.turns = 3
        small = gpt2(width=96, layers=2, words=5000)
        WORKLOADS["gpt2"] = Workload("GPT-2, far smaller", small, steps=1)
        WORKLOADS.update({n: replace(w, steps=1) for n, w in WORKLOADS.items()})
    if options.worker:
        for row in work(options):
            print(json.dumps(row), flush=True)
        return

    console = Console() if sys.stdout.isatty() else Console(width=120)
    result: dict[str, Any] = {"machine": describe(), "threads": {}}
    for threads in options.threads:
        rows: list[dict[str, Any]] = []
        total = 2 + len(options.workloads) * len(SUBJECTS)
        with _neighbour(options.busy), Progress(console=console, transient=True) as progress:
            task = progress.add_task(f"{threads} threads", total=total)
            for row in _run_worker(options, threads):
                rows.append(row)
                progress.advance(task)
        speeds = [row["bandwidth"] for row in (rows.pop(0), rows.pop())]
        speed = {kind: max(s[kind] for s in speeds) for kind in speeds[0]}
        result["threads"][threads] = {"bandwidth_bytes_per_s": speed, "rows": rows}
        figures = ", ".join(f"{name} {value / 1e9:.1f} GB/s" for name, value in speed.items())
        console.print(f"torch threads: {threads}; memory: {figures}", highlight=False)
        for name in options.workloads:
            mine = [row for row in rows if row["workload"] == name]
            if not mine:
                continue
            console.print(table(mine, max(speed.values()), WORKLOADS[name].title))
    console.print(", ".join(f"{key} {value}" for key, value in result["machine"].items()))
    if options.quick:
        return  # its figures are no result
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"{options.name}{'-busy' * options.busy}.json"
    path.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    console.print(f"-> {path}", soft_wrap=True)


if __name__ == "__main__":
    main()
