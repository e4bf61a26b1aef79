"""A program printed as one Triton source file: every pass of a step is one launch.

A launch has one program a chunk of elements, of all tensors. A program evaluates the rule's
scalars in float64, then walks its chunk in blocks. Full blocks of tensors that lie on 16-byte
boundaries are read and written without masks, in 128-bit words; what is left of them, and tensors
that lie elsewhere, element by element. ``TABLES`` are its arguments; then comes one vector for each
scalar that is no hyperparameter (``at_step``...). Those that the device keeps (``kept``) are
written by the tensor's last program.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import triton

from ...rules import Rule
from .. import storage
from ..cache import load
from ..clip import TREATMENT
from ..printing import INFIX, NEW, VALUE, Dialect, row_names, title
from ..program import Pass, Program
from ..storage import CODECS
from . import codecs, interpreted, library
from .arrays import ELEMENTS, Array, arrays_of

__all__ = [
    "CHUNK",
    "TABLES",
    "columns",
    "compiled",
    "options",
    "source",
    "vectors",
]

#: Warps a program.
WARPS = 4

#: Elements a chunk. Partial sums are a chunk's, so its length is part of a sum's bits.
CHUNK = 1 << 13

# Triton's own division is approximate, and it has no power.
_OPERATORS = {op: sign for op, sign in INFIX.items() if op not in ("div", "pow")}
_SCALARS = Dialect("double({})", _OPERATORS, plain=True)

#: What a kernel is given, in this order, and the kind of number it points to.
TABLES = {
    "A": "*i64",  # [planes, tensors] addresses of all arrays, then of compact ones' other planes
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


def vectors(
    program: Program, elements: tuple[str, ...], kept: tuple[str, ...] = ()
) -> tuple[str, ...]:
    """The scalars that are one number a tensor."""
    others = {*columns(program.rule), "factor"}
    own = (n for n in row_names(program, elements) if n not in others)
    return tuple(dict.fromkeys([*own, *kept]))


def options(step: Pass, elements: tuple[str, ...], nvidia: bool) -> dict[str, Any]:
    """How a pass is compiled: products are fused with sums only where a formula says so.

    Args:
        step: the pass.
        elements: the kind of number or codec of every array.
        nvidia: whether it is for a GPU of theirs. Their assembler keeps values in local memory
            where that makes room for one block more on a core, and has to be told how many
            registers it may use instead. With eight elements a thread, two to five blocks have
            more reads under way than it takes to keep memory busy.
    """
    arrays = {*step.reads, *(name for name, _ in step.writes)}
    compact, eight = any(e in CODECS for e in elements), _each(elements) == 8
    # What was found by compiling all programs: with these, nothing is kept in local memory. Eight
    # elements of an array of float32 take twice the registers of those that are opened later.
    most = compact and eight and len(arrays) + ("float32" in elements) > 5
    corrected = any(not CODECS[e].random for e in elements if e in CODECS)  # one plane more
    level = int(bool(step.totals) or len(arrays) + corrected > 4) + compact + most
    told = nvidia and (eight or compact)
    registers = {"maxnreg": (96, 128, 168, 255)[level]} if told else {}
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
    arrays = arrays_of(program, elements)
    # What is rounded to few bits needs no division to the last one.
    program = program.with_reciprocals if any(a.random >= 0 for a in arrays.values()) else program
    lines = [
        title(program, elements),
        "import triton",
        "import triton.language as tl",
        f"from {library.__name__} import *",
        *([f"from {codecs.__name__} import *"] if any(a.compact for a in arrays.values()) else []),
    ]
    for number in range(len(program.passes)):
        lines += ["", "", *_block_lines(program, number, arrays)]
        lines += ["", "", *_run_lines(program, number, arrays, columns, kept)]
    return "\n".join(lines) + "\n"


def _math(arrays: dict[str, Array]) -> str:
    wide = any(a.element.math == "float64" for a in arrays.values())
    return "float64" if wide else "float32"


def _used(step: Pass, arrays: dict[str, Array]) -> list[Array]:
    names = dict.fromkeys([*step.reads, *(name for name, _ in step.writes)])
    return [arrays[name] for name in names]


def _given(step: Pass, arrays: dict[str, Array]) -> list[str]:
    """What a block is given beside its elements."""
    addresses = [at for array in _used(step, arrays) for at in array.addresses]
    seeds = [f"seed{pair}" for pair in _pairs(step, arrays)]
    chunk = ["start", "b", "n"] if any(a.compact for a in _used(step, arrays)) else []
    return [*addresses, *(n for n, _ in step.hoisted), "factor", *_unit(step), *seeds, *chunk]


def _pairs(step: Pass, arrays: dict[str, Array]) -> list[int]:
    """The numbers of the random bits, of which two arrays have each a half."""
    return sorted({arrays[n].random // 2 for n, _ in step.writes if arrays[n].random >= 0})


def _block_lines(program: Program, number: int, arrays: dict[str, Array]) -> list[str]:
    """The function that does one block of elements and returns what it adds to the totals."""
    step = program.passes[number]
    math = _math(arrays)
    dialect = Dialect("single({})" if math == "float32" else "double({})", _OPERATORS, plain=True)
    read = {n: a.read for n, a in arrays.items()}
    write = {n: a.write for n, a in arrays.items()}
    given = ", ".join([*_given(step, arrays), "j, mask, size: tl.constexpr, full: tl.constexpr"])
    at_unit = "units + (passed + j) // unit_size"
    body = dialect.elements(step, read, write, "sum{} = counted({}, mask, full)")
    stores = len(body) - len(step.writes)
    lines = [
        "@inline",
        f"def block{number}({given}):",
        *([f"unit = load({at_unit}, mask, full).to(tl.{math})"] if _unit(step) else []),
        *body[:stores],
        *(f"noise{k} = random_of(start, j, seed{k})" for k in _pairs(step, arrays)),
        *body[stores:],
    ]
    if step.totals:
        lines += [f"return {', '.join(f'sum{k}' for k in range(len(step.totals)))}"]
    return [line if k < 2 else f"    {line}" for k, line in enumerate(lines)]


def _unit(step: Pass) -> tuple[str, ...]:
    """What a block needs to find each element's unit, if it does."""
    wanted = any("unit" in made.args for made in step.body)
    return ("units", "passed", "unit_size") if wanted else ()


def _unit_lines() -> list[str]:
    """The unit of a chunk's first element, and how many elements of it came before.

    In a chunk of a unit that is longer there are at most two units; the first looks as if it were
    as long as a chunk, so that places need 32 bits only.
    """
    return [
        "unit_length = tl.load(V + tensors + i)",
        "units = U + tl.load(V + i) + start // unit_length",
        f"size = tl.minimum(unit_length, {CHUNK})",
        "passed = (size - tl.minimum(unit_length - start % unit_length, size)).to(tl.int32)",
        "unit_size = size.to(tl.int32)",
    ]


def _run_lines(
    program: Program,
    number: int,
    arrays: dict[str, Array],
    columns: tuple[str, ...],
    kept: tuple[str, ...],
) -> list[str]:
    """The kernel of one pass."""
    step, used = program.passes[number], _used(program.passes[number], arrays)
    own, block = vectors(program, tuple(a.kind for a in arrays.values()), kept), _block(arrays)
    pointers = [*TABLES, *(f"at_{name}" for name in own)]
    body = [
        "c = tl.program_id(0)",
        "i = tl.load(C + c)",
        "first = tl.load(F + i)",
        "count = tl.load(F + i + 1) - first",
        f"start = (c - first).to(tl.int64) * {CHUNK}",
        f"n = tl.minimum(tl.load(N + i) - start, {CHUNK}).to(tl.int32)",
        "if tl.load(SKIP) != 0:",
        "    n = 0",
        *_scalar_lines(program, number, arrays, columns, own, kept),
        *(line for array in used for line in array.places),
        *(_unit_lines() if _unit(step) else []),
        *_walk_lines(step, number, arrays, block),
        *_end_lines(program, number, block, kept),
    ]
    return [
        # Tables are read number by number, so how they lie need not be compiled in.
        f"@triton.jit(do_not_specialize=['tensors'], do_not_specialize_on_alignment={pointers})",
        f"def run{number}({', '.join(pointers)}, tensors):",
        *(f"    {line}" for line in body),
    ]


def _block(arrays: dict[str, Array]) -> int:
    """Elements a block."""
    return 32 * WARPS * _each(tuple(a.kind for a in arrays.values()))


def _each(elements: tuple[str, ...]) -> int:
    """Elements a thread: 16 bytes of the array with the smallest; not of codes, which need more."""
    return 16 // min(ELEMENTS[e].bytes if e in ELEMENTS else 4 for e in elements)


def _sums(step: Pass) -> list[str]:
    return [f"sum{k}" for k in range(len(step.totals))]


def _walk_lines(step: Pass, number: int, arrays: dict[str, Array], block: int) -> list[str]:
    """A chunk's full blocks, then the rest of it."""
    addresses, sums = [at for array in _used(step, arrays) for at in array.wide], _sums(step)
    given = ", ".join([*_given(step, arrays), "j, j < n"])
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
        call = f"block{number}({given}, {size}, {full})"
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
        ends += [f"tl.store(at_{name} + i, {new.get(name, NEW.format(name))})" for name in kept]
    if ends:
        lines += ["if tl.load(SKIP) == 0:", "    if last(TICKETS, i, count):"]
        lines += [f"        {line}" for line in ends]
    return lines


def _scalar_lines(
    program: Program,
    number: int,
    arrays: dict[str, Array],
    columns: tuple[str, ...],
    own: tuple[str, ...],
    kept: tuple[str, ...],
) -> list[str]:
    """The scalars of a pass, in float64, and what its elements need of them."""
    step, math, pairs = (
        program.passes[number],
        _math(arrays),
        _pairs(program.passes[number], arrays),
    )
    wanted = {a for s in step.scalars for a in s.args}
    wanted |= {a for _, a in (*step.hoisted, *step.numbers)} | {"factor", *kept}
    wanted |= {"step"} if pairs else set()
    # Where values are clamped, the formula has the gain behind that. Norms are measured without.
    whole = program.writes and "gain" not in program.scalars
    wanted |= {"gain"} if whole else set()
    read = {n: f"tl.load(H + group * {len(columns)} + {k})" for k, n in enumerate(columns)}
    read |= {n: f"tl.load(at_{n} + i).to(tl.float64)" for n in own}
    if "step" in kept:
        read["step"] += " + 1"
    # As an array's element, the value read has its name with an underscore, as no local name has.
    names = {name: VALUE.format(name) for name in read}
    lines = ["group = tl.load(G + i)"]
    lines += [f"{names[name]} = {text}" for name, text in read.items() if name in wanted]
    for earlier in program.passes[:number]:
        for total in earlier.totals:
            column = program.totals.index(total)
            at = f"W + i * {len(program.totals)}" if total.call is None else "Z"
            lines += [f"{total.name} = tl.load({at} + {column})"] * (total.name in wanted)
    lines += [_SCALARS.statement(s, names) for s in step.scalars]
    lines += [f"{name} = {_SCALARS.text(a, names)}.to(tl.{math})" for name, a in step.hoisted]
    lines += [f"{NEW.format(name)} = {_SCALARS.text(a, names)}" for name, a in step.numbers]
    lines += [f"seed{pair} = seed_of({names['step']}, {pair})" for pair in pairs]
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
    files = [str(module.__file__) for module in (library, interpreted, codecs, storage)]
    texts = [Path(file).read_text(encoding="utf-8") for file in files]
    stamp = "\n".join([*texts, f"triton {triton.__version__} interpreted {library.INTERPRETED}"])
    module: Any = load(source(program, elements, columns, kept), stamp)
    return tuple(getattr(module, f"run{k}") for k in range(len(program.passes)))
