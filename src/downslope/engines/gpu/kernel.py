"""A program printed as one Triton source file: every pass of a step is one launch.

A launch has one program a chunk of elements, of all tensors. A program evaluates the rule's
scalars in float64, then walks its chunk in blocks. Full blocks of tensors that lie on 16-byte
boundaries are read and written without masks, in 128-bit words; what is left of them, and tensors
that lie elsewhere, element by element. ``TABLES`` are its arguments; then comes one vector for each
scalar that is no hyperparameter (``at_step``...). Those that the device keeps (``kept``) are
written by the tensor's last program.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import triton

from ...rules import Rule
from ..cache import load
from ..clip import TREATMENT
from ..printing import INFIX, Dialect, title
from ..trace import Pass, Program
from . import interpreted, library

__all__ = [
    "CHUNK",
    "ELEMENTS",
    "TABLES",
    "Element",
    "columns",
    "compiled",
    "options",
    "source",
    "vectors",
]


@dataclass(frozen=True)
class Element:
    """How one kind of number lies in memory and how a kernel opens and closes it."""

    kind: str
    bytes: int
    math: str = "float32"
    open: str = "{}"
    close: str = "{}"


ELEMENTS = {
    "float32": Element("float32", 4),
    "float64": Element("float64", 8, math="float64"),
    "bfloat16": Element("bfloat16", 2, open="{}.to(tl.float32)", close="to_bfloat16({})"),
    "float16": Element("float16", 2, open="{}.to(tl.float32)", close="{}.to(tl.float16)"),
}

#: Warps a program.
WARPS = 4

#: Elements a chunk. Partial sums are a chunk's, so its length is part of a sum's bits.
CHUNK = 1 << 13

# Triton's own division is approximate, and it has no power.
_OPERATORS = {op: sign for op, sign in INFIX.items() if op not in ("div", "pow")}
_SCALARS = Dialect("double({})", _OPERATORS, plain=True)

#: What a kernel is given, in this order, and the kind of number it points to.
TABLES = {
    "A": "*i64",  # [arrays, tensors] addresses
    "N": "*i64",  # [tensors] elements
    "G": "*i32",  # [tensors] group
    "C": "*i32",  # [chunks] tensor
    "F": "*i32",  # [tensors + 1] the first chunk of every tensor
    "H": "*fp64",  # [groups, columns] the scalars that are one number a group
    "SCALE": "*fp32",  # [1] what gradients are divided by
    "SKIP": "*fp32",  # [1] not 0: nothing is to be changed
    "S": "*fp64",  # [chunks, totals] partial sums
    "W": "*fp64",  # [tensors, totals] sums over each tensor
    "U": "*fp64",  # [units] what is left of the unit's gradient, where units are clipped
    "V": "*i64",  # [2, tensors] the tensor's first unit; elements a unit
    "Z": "*fp64",  # [totals] sums over all tensors of the step, where the formula asked for those
    "TICKETS": "*i32",  # [tensors] how many programs of a tensor are done; 0 between launches
}


def columns(rule: Rule) -> tuple[str, ...]:
    """The scalars that are one number a group, in the order of the table ``H``."""
    return (*(h.name for h in rule.scalar_hypers), *TREATMENT)


def vectors(program: Program, kept: tuple[str, ...] = ()) -> tuple[str, ...]:
    """The scalars that are one number a tensor."""
    others = columns(program.rule)
    return tuple(dict.fromkeys([*(n for n in program.scalars if n not in others), *kept]))


def options(step: Pass, elements: tuple[str, ...], nvidia: bool) -> dict[str, Any]:
    """How a pass is compiled: products are fused with sums only where a formula says so.

    Args:
        step: the pass.
        elements: the kind of number of every array.
        nvidia: whether it is for a GPU of theirs. Their assembler keeps values in local memory
            where that makes room for one block more on a core, and has to be told how many
            registers it may use instead. With eight elements a thread, four or five blocks have
            more reads under way than it takes to keep memory busy.
    """
    each = 16 // min(ELEMENTS[e].bytes for e in elements)
    arrays = {*step.reads, *(name for name, _ in step.writes)}
    many = step.totals or len(arrays) > 4
    registers = {"maxnreg": 128 if many else 96} if nvidia and each == 8 else {}
    return {"num_warps": WARPS, "enable_fp_fusion": False, **registers}


def source(
    program: Program,
    elements: tuple[str, ...],
    columns: tuple[str, ...],
    kept: tuple[str, ...] = (),
) -> str:
    """The module that runs a program.

    Args:
        program: the traced rule.
        elements: the kind of number of every array.
        columns: of the table ``H``.
        kept: the scalars, one a tensor, that the device keeps: the step, which it counts,
            ``fresh``, which it clears, slots, which it replaces.
    """
    kinds = dict(zip(program.arrays, (ELEMENTS[e] for e in elements), strict=True))
    lines = [
        title(program, elements),
        "import triton",
        "import triton.language as tl",
        f"from {library.__name__} import *",
    ]
    for number in range(len(program.passes)):
        lines += ["", "", *_block_lines(program, number, kinds)]
        lines += ["", "", *_run_lines(program, number, kinds, columns, kept)]
    return "\n".join(lines) + "\n"


def _math(kinds: dict[str, Element]) -> str:
    return "float64" if any(kind.math == "float64" for kind in kinds.values()) else "float32"


def _used(step: Pass) -> list[str]:
    return list(dict.fromkeys([*step.reads, *(name for name, _ in step.writes)]))


def _block_lines(program: Program, number: int, kinds: dict[str, Element]) -> list[str]:
    """The function that does one block of elements and returns what it adds to the totals."""
    step = program.passes[number]
    math = _math(kinds)
    dialect = Dialect("single({})" if math == "float32" else "double({})", _OPERATORS, plain=True)
    places = {n: f"place({n}_at, tl.{kinds[n].kind}, full) + j" for n in _used(step)}
    read = {n: kinds[n].open.format(f"load({at}, mask, full)") for n, at in places.items()}
    write = {n: f"store({at}, {kinds[n].close}, mask, full)" for n, at in places.items()}
    names = [*(f"{n}_at" for n in places), *(n for n, _ in step.hoisted), "factor", *_unit(step)]
    at_unit = "units_at + (passed + j) // unit_size"
    lines = [
        "@inline",
        f"def block{number}({', '.join(names)}, j, mask, full: tl.constexpr):",
        *([f"unit = load({at_unit}, mask, full).to(tl.{math})"] if _unit(step) else []),
        *dialect.elements(step, read, write, "sum{} = counted({}, mask, full)"),
    ]
    if step.totals:
        lines += [f"return {', '.join(f'sum{k}' for k in range(len(step.totals)))}"]
    return [line if k < 2 else f"    {line}" for k, line in enumerate(lines)]


def _unit(step: Pass) -> tuple[str, ...]:
    """What a block needs to find each element's unit, if it does."""
    wanted = any("unit" in made.args for made in step.body)
    return ("units_at", "passed", "unit_size") if wanted else ()


def _unit_lines() -> list[str]:
    """The unit of a chunk's first element, and how many elements of it came before.

    In a chunk of a unit that is longer there are at most two units; the first looks as if it were
    as long as a chunk, so that places need 32 bits only.
    """
    return [
        "unit_length = tl.load(V + tensors + i)",
        "units_at = U + tl.load(V + i) + start // unit_length",
        f"size = tl.minimum(unit_length, {CHUNK})",
        "passed = (size - tl.minimum(unit_length - start % unit_length, size)).to(tl.int32)",
        "unit_size = size.to(tl.int32)",
    ]


def _run_lines(
    program: Program,
    number: int,
    kinds: dict[str, Element],
    columns: tuple[str, ...],
    kept: tuple[str, ...],
) -> list[str]:
    """The kernel of one pass."""
    step = program.passes[number]
    rows = {name: k for k, name in enumerate(program.arrays)}
    pointers = [*TABLES, *(f"at_{name}" for name in vectors(program, kept))]
    body = [
        "c = tl.program_id(0)",
        "i = tl.load(C + c)",
        "first = tl.load(F + i)",
        "count = tl.load(F + i + 1) - first",
        f"start = (c - first).to(tl.int64) * {CHUNK}",
        f"n = tl.minimum(tl.load(N + i) - start, {CHUNK}).to(tl.int32)",
        "if tl.load(SKIP) != 0:",
        "    n = 0",
        *_scalar_lines(program, number, _math(kinds), columns, kept),
        *(
            f"{name}_at = tl.load(A + {rows[name]} * tensors + i) + start * {kinds[name].bytes}"
            for name in _used(step)
        ),
        *(_unit_lines() if _unit(step) else []),
        *_walk_lines(step, number, _block(kinds)),
        *_end_lines(program, number, _block(kinds), kept),
    ]
    return [
        # Tables are read number by number, so how they lie need not be compiled in.
        f"@triton.jit(do_not_specialize=['tensors'], do_not_specialize_on_alignment={pointers})",
        f"def run{number}({', '.join(pointers)}, tensors):",
        *(f"    {line}" for line in body),
    ]


def _block(kinds: dict[str, Element]) -> int:
    """Elements a block: 16 bytes a thread of the array with the smallest."""
    return 32 * WARPS * 16 // min(kind.bytes for kind in kinds.values())


def _sums(step: Pass) -> list[str]:
    return [f"sum{k}" for k in range(len(step.totals))]


def _walk_lines(step: Pass, number: int, block: int) -> list[str]:
    """A chunk's full blocks, then the rest of it."""
    addresses, sums = [f"{name}_at" for name in _used(step)], _sums(step)
    scalars = [*(n for n, _ in step.hoisted), "factor", *_unit(step)]
    given = ", ".join([*addresses, *scalars, "j, j < n"])
    # The lanes of a sum are the same ones wherever a tensor lies. Where nothing is added up, the
    # rest has blocks of another length: Triton then has neighbouring threads take neighbours.
    rest = block if sums else block // 2
    lines = [
        *(f"{name} = tl.zeros(({block},), tl.float64)" for name in sums),
        f"full = n // {block} * {block}",
        f"if ({' | '.join(addresses)}) & 15 != 0:",
        "    full = 0",
    ]
    for bounds, size, full in (("0, full", block, True), ("full, n", rest, False)):
        call = f"block{number}({given}, {full})"
        lines += [f"for b in range({bounds}, {size}):", f"    j = b + tl.arange(0, {size})"]
        if sums:
            more = [f"more{k}" for k in range(len(sums))]
            lines.append(f"    {', '.join(more)} = {call}")
            lines += [f"    {name} += {one}" for name, one in zip(sums, more, strict=True)]
        else:
            lines.append(f"    {call}")
    return lines


def _end_lines(program: Program, number: int, block: int, kept: tuple[str, ...]) -> list[str]:
    """What a chunk, and what a tensor's last program leaves behind."""
    step, totals = program.passes[number], len(program.totals)
    columns = [program.totals.index(total) for total in step.totals]
    lines = [
        f"tl.store(S + c * {totals} + {column}, tl.sum({name}))"
        for column, name in zip(columns, _sums(step), strict=True)
    ]
    ends = [
        f"tl.store(W + i * {totals} + {k}, total(S + {k}, {totals}, first, count, {block}))"
        for k in columns
    ]
    if number == len(program.passes) - 1:
        new = {"step": "step_", "fresh": "0.0"}
        ends += [f"tl.store(at_{name} + i, {new.get(name, f'new_{name}')})" for name in kept]
    if ends:
        lines += ["if tl.load(SKIP) == 0:", "    if last(TICKETS, i, count):"]
        lines += [f"        {line}" for line in ends]
    return lines


def _scalar_lines(
    program: Program,
    number: int,
    math: str,
    columns: tuple[str, ...],
    kept: tuple[str, ...],
) -> list[str]:
    """The scalars of a pass, in float64, and what its elements need of them."""
    step = program.passes[number]
    wanted = {a for s in step.scalars for a in s.args}
    wanted |= {a for _, a in (*step.hoisted, *step.numbers)} | {"factor", *kept}
    # Where values are clamped, the formula has the gain behind that. Norms are measured without.
    whole = program.writes and "gain" not in program.scalars
    wanted |= {"gain"} if whole else set()
    read = {n: f"tl.load(H + group * {len(columns)} + {k})" for k, n in enumerate(columns)}
    read |= {n: f"tl.load(at_{n} + i).to(tl.float64)" for n in vectors(program, kept)}
    if "step" in kept:
        read["step"] += " + 1"
    # As an array's element, the value read has its name with an underscore, as no local name has.
    names = {name: f"{name}_" for name in read}
    lines = ["group = tl.load(G + i)"]
    lines += [f"{names[name]} = {text}" for name, text in read.items() if name in wanted]
    for earlier in program.passes[:number]:
        for total in earlier.totals:
            column = program.totals.index(total)
            at = f"W + i * {len(program.totals)}" if total.call is None else "Z"
            lines += [f"{total.name} = tl.load({at} + {column})"] * (total.name in wanted)
    lines += [_SCALARS.statement(s, names) for s in step.scalars]
    lines += [f"{name} = {_SCALARS.text(a, names)}.to(tl.{math})" for name, a in step.hoisted]
    lines += [f"new_{name} = {_SCALARS.text(a, names)}" for name, a in step.numbers]
    factor = "factor_ * gain_" if whole else "factor_"
    return [*lines, f"factor = ({factor} / tl.load(SCALE)).to(tl.{math})"]


@cache
def compiled(
    program: Program,
    elements: tuple[str, ...],
    columns: tuple[str, ...],
    kept: tuple[str, ...] = (),
) -> tuple[Any, ...]:
    """The kernel's passes, each to be launched with its arguments; compiled on their first call."""
    files = [str(module.__file__) for module in (library, interpreted)]
    texts = [Path(file).read_text(encoding="utf-8") for file in files]
    stamp = "\n".join([*texts, f"triton {triton.__version__} interpreted {library.INTERPRETED}"])
    module: Any = load(source(program, elements, columns, kept), stamp)
    return tuple(getattr(module, f"run{k}") for k in range(len(program.passes)))
