"""From a program to calls: what is overwritten by what, and what is done on all matrices together.

Small matrices are stacked from the start. Large ones are kept apart, one part after the other, so
that temporaries stay small and new values are written over the old ones; only their products are
computed on all parts joined together.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache, reduce

import torch
from torch import Tensor

from ..program import Instruction, Operand, Program
from . import library
from .library import FUNCTIONS, INTO, JOINT, PRODUCTS, PROMOTING, SHAPES, VIEWS, Shape

__all__ = ["Call", "Kind", "calls"]

Kind = tuple[Shape, torch.dtype]


@dataclass(frozen=True)
class Call:
    """One operation.

    Args:
        name: of its result.
        function: the operation; None: the parts of the only argument are joined.
        args: names and numbers.
        joint: whether it is on all parts together.
        kind: what the arguments are converted to; None: nothing.
        out: the value that is overwritten; empty: none.
        result: the shape and kind of what it writes into memory that is given to it; None: it does
            not, or ``out`` is that memory.
        drop: values that nobody needs after it. (Products are large and follow one another: their
            memory is kept, and overwritten by later ones.)
        kept: those of them whose memory is an array's.
    """

    name: str
    function: Callable[..., Tensor] | None
    args: tuple[Operand, ...]
    joint: bool
    kind: torch.dtype | None
    out: str
    result: Kind | None
    drop: tuple[str, ...]
    kept: frozenset[Operand] = frozenset()


@lru_cache(maxsize=256)
def calls(
    program: Program,
    shapes: tuple[tuple[str, Shape], ...],
    parts: int,
    kind: torch.dtype,
    ones: frozenset[str],
) -> tuple[tuple[Call, ...], tuple[tuple[str, Operand], ...]]:
    """The operations of a program, and where its results are.

    Args:
        program: the traced rule.
        shapes: of the arrays of one part, by name.
        parts: how many parts there are.
        kind: the arrays' dtype.
        ones: scalars that are 1 (there is no weight decay): nothing is multiplied by them.

    Returns:
        the calls, and ``(array, name)``: the value that it becomes. Where a result may be written
        over the array's old value, it is, and so is what is computed on the way to it once the old
        value is not needed any more. A new value is never a view of an old one.
    """
    (step,) = program.passes
    arrays = [name for name, _ in shapes]
    body, same = _without(step.body, ones)
    writes = tuple((name, same.get(operand, operand)) for name, operand in step.writes)
    body, joint = _joined(body, arrays) if parts > 1 else (body, frozenset())
    known: dict[Operand, Kind] = {name: (shape, kind) for name, shape in shapes}
    target = {operand: name for name, operand in writes if operand not in joint}
    left = Counter([*(a for i in body for a in i.args), *(operand for _, operand in writes)])
    written = {name for name, _ in writes}
    mine: set[Operand] = set()  # values whose memory nobody else looks at
    home: dict[Operand, Operand] = {}  # values that lie in an array's memory
    viewed: set[Operand] = set()
    spare: dict[Kind, list[str]] = {}  # products that nobody needs any more
    found = []
    for i in body:
        left.subtract(i.args)
        tensors = [str(a) for a in i.args if a in known]
        together = i.name in joint
        last = [a for a in dict.fromkeys(tensors) if not left[a] and (a in joint) == together]
        shape, dtype = known[i.name] = _result(i.op, [known[a] for a in tensors])
        if i.op == _JOIN:
            shape, dtype = known[i.name] = (shape[0] * parts, *shape[1:]), dtype
            last = [a for a in tensors if not left[a]]
        out = ""
        if i.op in VIEWS:
            viewed.add(tensors[0])
            mine.discard(tensors[0])
        else:
            mine.add(i.name)
        if i.op in INTO:
            idle = {*last, target.get(i.name, "")} & (written - viewed - {*home.values()})
            free = [a for a in last if a in mine] + [a for a in arrays if a in idle and not left[a]]
            out = next((a for a in reversed(free) if known[a] == (shape, dtype)), "")
        if i.op in PRODUCTS and spare.get((shape, dtype)):
            out = spare[shape, dtype].pop()
        elementwise = i.op not in SHAPES and i.op not in ("bfloat16", _JOIN)
        kinds = {known[a][1] for a in tensors} - {dtype}
        mixed = elementwise and bool(kinds - ({library.NARROW} if i.op in PROMOTING else set()))
        drop = [a for a in last if a in mine]
        if i.op in PRODUCTS:
            for a in drop:
                spare.setdefault(known[a], []).append(a)
            drop = []
        place = out if out in written else home.get(out, "")
        kept = frozenset(a for a in drop if a in home)
        for a in (*drop, out):
            home.pop(a, None)
        if place:
            home[i.name] = place
        function = FUNCTIONS.get(i.op)
        cast = dtype if mixed else None
        given = (shape, dtype) if not out and (i.op in INTO or i.op in PRODUCTS) else None
        found.append(Call(i.name, function, i.args, together, cast, out, given, tuple(drop), kept))
    # Nor may it lie where another array's new value is copied to before it is read.
    strays = {o for name, o in writes if o not in mine or home.get(o, name) != name}
    copies = {o: f"copy of {o}" for o in dict.fromkeys(o for _, o in writes) if o in strays}
    found += [
        Call(name, torch.clone, (o,), o in joint, None, "", None, ()) for o, name in copies.items()
    ]
    return tuple(found), tuple((name, copies.get(o, o)) for name, o in writes)


_JOIN = "join"


def _joined(
    body: Iterable[Instruction], arrays: Iterable[str]
) -> tuple[list[Instruction], frozenset[Operand]]:
    """The instructions with joins before products, and the values of all parts together."""
    values: set[Operand] = set(arrays)
    joint: set[Operand] = set()
    new = []
    for i in body:
        tensors = [a for a in i.args if a in values]
        args = i.args
        if i.op in JOINT or all(a in joint for a in tensors):
            for a in dict.fromkeys(t for t in tensors if t not in joint):
                if f"all {a}" not in values:
                    new.append(Instruction(f"all {a}", _JOIN, (a,)))
                    values.add(f"all {a}")
                    joint.add(f"all {a}")
            args = tuple(f"all {a}" if a in tensors and a not in joint else a for a in i.args)
            joint.add(i.name)
        new.append(Instruction(i.name, i.op, args))
        values.add(i.name)
    return new, frozenset(joint)


def _result(op: str, args: Sequence[Kind]) -> Kind:
    """Shape and kind of an operation's result, from those of the stacks among its arguments."""
    shapes = [shape for shape, _ in args]
    if op in SHAPES:
        return SHAPES[op](*shapes), torch.float64 if op == "norm" else args[0][1]
    shape = tuple(map(max, zip(*shapes, strict=True)))
    if op == "bfloat16":
        return shape, library.NARROW
    # One number a matrix has been computed in float64 up to here: now it becomes like the others.
    many = [kind for s, kind in args if math.prod(s[1:]) > 1] or [kind for _, kind in args]
    return shape, reduce(torch.promote_types, many)


def _without(
    body: Sequence[Instruction], ones: frozenset[str]
) -> tuple[list[Instruction], dict[Operand, Operand]]:
    """The instructions but those that multiply by 1, and what stands for them."""
    same: dict[Operand, Operand] = {}
    kept = []
    for i in body:
        args = tuple(same.get(a, a) for a in i.args)
        others = [a for a in args if a not in ones]
        if i.op == "mul" and len(others) == 1:
            same[i.name] = others[0]
        else:
            kept.append(Instruction(i.name, i.op, args))
    return kept, same
