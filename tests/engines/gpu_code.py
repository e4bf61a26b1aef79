"""What the Triton engine's kernels become on a GPU: compiled for one, which takes none.

``python -m tests.engines.gpu_code`` prints a line of JSON for each kernel; with
``DOWNSLOPE_EVERY_KERNEL=1`` those of every rule's every program in every kind of number.
"""

from __future__ import annotations

import itertools
import json
import re
import subprocess
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import torch
import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

from downslope.engines.clip import squares_rule
from downslope.engines.gpu import kernel, units
from downslope.engines.gpu.arrays import ELEMENTS
from downslope.engines.program import Program
from downslope.engines.storage import CODECS
from downslope.engines.trace import trace, trace_sums
from downslope.optim._storage import kinds_of

from ..optim.harness import build
from .programs import EVERY, Case, cases, covering
from .rules import EVERYTHING, Lamb, trace_of

__all__ = ["Code"]

HOPPER = GPUTarget("cuda", 90, 32)
KINDS = ("float32", "bfloat16", "float16", "float64")


class Code(NamedTuple):
    """One pass of a program, compiled.

    Attributes:
        title: rule, slots, flags, kinds of number and pass.
        loads, stores: 128-bit accesses of data.
        least_loads, least_stores: how many there must be, if all full blocks are read in those.
        spills: bytes of local memory a thread.
        rough: instructions that round otherwise than IEEE arithmetic, where a formula divides or
            takes a root.
    """

    title: str
    loads: int
    stores: int
    least_loads: int
    least_stores: int
    spills: int
    rough: list[str]


def compiled(title: str, program: Program, elements: tuple[str, ...]) -> Iterator[Code]:
    """Every pass of a program. Slots that are numbers, and the step, are kept on the device."""
    kept = program.rule.numbers(program.present) + ("step",) * program.rule.counts_steps
    vectors = {f"at_{name}": "*fp32" for name in kernel.vectors(program, elements, kept)}
    signature = {**kernel.TABLES, **vectors, "tensors": "i32"}
    each = 16 // min(ELEMENTS[e].bytes for e in elements if e in ELEMENTS)
    bytes_of = dict(zip(program.arrays, map(element_bytes, elements), strict=True))

    def words(arrays: Iterable[str]) -> int:
        """Of 16 bytes, of a thread's elements of these arrays; it has fewer bytes of codes."""
        return sum(size * each // 16 for name in arrays for size in bytes_of[name])

    columns = kernel.columns(program.rule)
    functions = kernel.compiled(program, elements, columns, kept)
    for number, (step, function) in enumerate(zip(program.passes, functions, strict=True)):
        how = kernel.options(step, elements, nvidia=True)
        whole = f"{title}: {', '.join(dict.fromkeys(elements))}, pass {number}"
        least = words(step.reads), words(name for name, _ in step.writes)
        yield code_of(whole, function, signature, how, *least)


def element_bytes(kind: str) -> list[int]:
    """Of one number, or of its part of every plane."""
    if kind in CODECS:
        return [plane.dtype.itemsize for plane in CODECS[kind].planes if plane.block == 1]
    return [ELEMENTS[kind].bytes]


def code_of(
    title: str,
    function: Any,
    signature: dict[str, str],
    how: dict[str, Any],
    least_loads: int,
    least_stores: int,
) -> Code:
    """One kernel, compiled for an H100."""
    built = triton.compile(ASTSource(function, signature, {}), target=HOPPER, options=how)
    text = built.asm["ptx"]
    return Code(
        title,
        len(re.findall(r"ld\.global\.v(?:4\.b32|2\.b64)", text)),
        len(re.findall(r"st\.global\.v(?:4\.b32|2\.b64)", text)),
        least_loads,
        least_stores,
        local_bytes(built.asm["cubin"]) + len(re.findall(r"\.local", text)),
        re.findall(r"(?:div\.(?:full|approx)|sqrt\.approx)\S*", text),
    )


def local_bytes(binary: bytes) -> int:
    """The stack and local memory that a kernel uses a thread: what does not fit in registers."""
    with tempfile.NamedTemporaryFile(suffix=".cubin") as file:
        Path(file.name).write_bytes(binary)
        tool = triton.knobs.nvidia.cuobjdump.path
        command = [tool, "--dump-resource-usage", file.name]
        said = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return sum(map(int, re.findall(r"(?:STACK|LOCAL):(\d+)", said)))


def wanted() -> Iterator[tuple[str, Program, tuple[str, ...]]]:
    """Some programs in float32, AdamW in all kinds of number; or every program in all."""
    adamw = next(c for c in cases() if c.entry.name == "AdamW")
    for case in cases() if EVERY else (*covering()[:2], adamw):
        for kind in KINDS if EVERY or case is adamw else KINDS[:1]:
            yield case.title, case.program, (kind,) * len(case.program.arrays)
    yield "AdamW by units", _with_units(adamw.program), ("float32",) * len(adamw.program.arrays)
    yield "mixed AdamW", adamw.program, ("bfloat16", "bfloat16", "float32", "float32")
    formats = KINDS[: 3 if EVERY else 2], ("int8", "bfloat16", "float32")[: 3 if EVERY else 2]
    for case in cases() if EVERY else (adamw,):
        for kind, word in itertools.product(*formats):
            elements = compact(case, kind, word)
            if any(e in CODECS for e in elements):
                yield case.title, case.program, elements
    for kind in KINDS if EVERY else KINDS[:1]:
        yield "squares", trace_sums(squares_rule(("clip_value",))), (kind,)
    for rule in (EVERYTHING, Lamb.rule) if EVERY else ():
        program = trace_of(rule)
        yield rule.name, program, ("float32",) * len(program.arrays)


def compact(case: Case, kind: str, word: str) -> tuple[str, ...]:
    """How a program's arrays are kept by ``storage=word`` for parameters of one kind of number."""
    p = torch.zeros(64, 64, dtype=getattr(torch, kind), requires_grad=True)
    kwargs = case.variant.kwargs
    group = build(case.entry.ours, [p], kwargs, {"storage": word}).param_groups[0]
    kinds = kinds_of(case.title, case.program.rule, group, p)
    return tuple(kinds.get(name, kind) for name in case.program.arrays)


def _with_units(program: Program) -> Program:
    return trace(program.rule, program.present, program.flags, ("clip_agc",))


def main() -> None:
    """Print one line a kernel."""
    for title, program, elements in wanted():
        for code in compiled(title, program, elements):
            print(json.dumps(code._asdict()), flush=True)
    tables = {"x": "*fp64", "first": "*i64", "sums": "*fp64"}
    code = code_of("sums over units", units.over_tensors, tables, {}, 0, 0)
    print(json.dumps(code._asdict()), flush=True)


if __name__ == "__main__":
    main()
