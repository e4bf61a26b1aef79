"""Matrix rules in torch operations: equal shapes are stacked, and a stack is one call an operation.

A formula on whole matrices is traced as any other (``trace.py``). Its instructions run here on
stacks ``[tensors, ..., rows, columns]``; a temporary that nobody reads again is overwritten, and
what is stepped alone is stepped in place. Numbers of 16 bits are computed in float32.

No bit depends on the number of threads or on what else is in a stack: torch divides its reductions
between threads only where there is more than one result, so long sums are cut into blocks first.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache, reduce
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from . import eager
from .bucket import OneByOne, State, Table
from .clip import Treatment
from .foreach import HOST
from .together import Turns
from .trace import Instruction, Operand, Program, trace

__all__ = ["MATRIX", "MATRIX_LOOP", "VIEWS", "MatrixBucket", "MatrixLoopBucket", "calls", "run"]

#: The engines' names.
MATRIX, MATRIX_LOOP = "matrix", "matrix loop"

Out = Tensor | None

#: Elements of a stack that is multiplied, and of one that is only added up. The first keeps all
#: threads busy with small matrices; the second saves calls, and copies only what the cache holds.
PRODUCTS, SUMS = 1 << 23, 1 << 16
#: Elements that are summed by one thread: below what torch divides.
BLOCK = 1 << 14


def _swapped(on_tensor: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """An operation whose arguments may change places, as it wants a tensor first."""

    def call(a: Any, b: Any, out: Out = None) -> Tensor:
        return on_tensor(a, b, out=out) if isinstance(a, Tensor) else on_tensor(b, a, out=out)

    return call


def _ordered(on_tensors: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """An operation whose first argument may be a number, which it wants as a tensor."""

    def call(a: Any, b: Any, out: Out = None) -> Tensor:
        if not isinstance(a, Tensor):
            a = torch.tensor(a, dtype=b.dtype, device=b.device)
        return on_tensors(a, b, out=out)

    return call


def _bound(on_tensors: Callable[..., Tensor], side: str) -> Callable[..., Tensor]:
    """The larger or the smaller of two, one of which may be a number."""

    def call(a: Any, b: Any, out: Out = None) -> Tensor:
        if isinstance(a, Tensor) and isinstance(b, Tensor):
            return on_tensors(a, b, out=out)
        x, bound = (a, b) if isinstance(a, Tensor) else (b, a)
        return torch.clamp(x, **{side: bound}, out=out)

    return call


def _fma(a: Any, b: Any, c: Any, out: Out = None) -> Tensor:
    if not isinstance(c, Tensor):
        return _swapped(torch.mul)(a, b, out=out).add_(c)
    if isinstance(a, Tensor) and isinstance(b, Tensor):
        return torch.addcmul(c, a, b, out=out)
    x, factor = (a, b) if isinstance(a, Tensor) else (b, a)
    return torch.add(c, x, alpha=factor, out=out)


def _norm(x: Tensor) -> Tensor:
    """The root of the sum of all squares of each matrix, in a tree that only its size decides.

    A float64 number each, as what is computed from it; of bfloat16, one that bfloat16 has.
    """
    flat, kind = x.flatten(1), torch.promote_types(x.dtype, torch.float32)
    while flat.shape[1] > 1:
        whole = flat.shape[1] // BLOCK * BLOCK
        parts = [flat[:, :whole].view(len(flat), -1, BLOCK), flat[:, whole:].unsqueeze(1)]
        norms = [torch.linalg.vector_norm(q, dim=2, dtype=kind) for q in parts if q.numel()]
        flat, kind = torch.cat(norms, dim=1).double(), torch.float64
    number = flat.abs().view(-1, *(1 for _ in x.shape[1:]))
    return (number.bfloat16() if x.dtype == torch.bfloat16 else number).double()


def _compared(on_tensor: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """A comparison whose result is 1 or 0, of the kind of what was compared."""
    return lambda a, b: on_tensor(a, b).to(a.dtype)


def _where(condition: Any, a: Any, b: Any) -> Tensor:
    kind = next(x.dtype for x in (a, b, condition) if isinstance(x, Tensor))
    return torch.where(torch.as_tensor(condition != 0), a, b).to(kind)


def _tall(shape: Sequence[int]) -> bool:
    return shape[-2] > shape[-1]


#: Operations that write their result into ``out``, which may be one of their arguments.
INTO: dict[str, Callable[..., Tensor]] = {
    "add": _swapped(torch.add), "mul": _swapped(torch.mul),
    "sub": _ordered(torch.sub), "div": _ordered(torch.div), "pow": torch.pow,
    "maximum": _bound(torch.maximum, "min"), "minimum": _bound(torch.minimum, "max"),
    "lerp": torch.lerp, "fma": _fma,
    **{name: getattr(torch, name) for name in ("sqrt", "abs", "sign", "exp", "log", "neg")},
}  # fmt: skip

#: Operations whose result may be a view of their first argument.
VIEWS: dict[str, Callable[..., Tensor]] = {
    "transpose": lambda x: x.mT,
    "wide": lambda x: x.mT if _tall(x.shape) else x,
    "turned": lambda y, x: y.mT if _tall(x.shape) else y,
    "bfloat16": lambda x: x.to(torch.bfloat16),
}

#: The others.
OTHERS: dict[str, Callable[..., Tensor]] = {
    **{name: _compared(getattr(torch, name)) for name in ("gt", "lt", "ge", "le")},
    "where": _where,
    "atan2": eager.atan2, "f32": eager.f32,
    "row_mean": lambda x: x.mean(-1, keepdim=True),
    "column_mean": lambda x: x.mean(-2, keepdim=True),
    "norm": _norm,
    "matmul": torch.matmul,
    "addmm": lambda beta, c, alpha, a, b: torch.baddbmm(c, a, b, beta=beta, alpha=alpha),
}  # fmt: skip

Shape = tuple[int, ...]


def _turned(shape: Shape) -> Shape:
    return (*shape[:-2], shape[-1], shape[-2])


#: The shape of a result that is not its arguments', broadcast.
SHAPES: dict[str, Callable[..., Shape]] = {
    "transpose": _turned,
    "wide": lambda x: _turned(x) if _tall(x) else x,
    "turned": lambda y, x: _turned(y) if _tall(x) else y,
    "row_mean": lambda x: (*x[:-1], 1),
    "column_mean": lambda x: (*x[:-2], 1, x[-1]),
    "norm": lambda x: (x[0], *(1 for _ in x[1:])),
    "matmul": lambda a, b: (*a[:-1], b[-1]),
    "addmm": lambda c, a, b: c,
}


@dataclass(frozen=True)
class Call:
    """One operation on stacks.

    Args:
        name: of its result.
        function: the operation.
        args: names and numbers.
        kind: what the arguments are converted to; None: nothing.
        out: the value that is overwritten; empty: none.
        drop: values that nobody needs after it.
    """

    name: str
    function: Callable[..., Tensor]
    args: tuple[Operand, ...]
    kind: torch.dtype | None
    out: str
    drop: tuple[str, ...]


@lru_cache(maxsize=256)
def calls(
    program: Program,
    shapes: tuple[tuple[str, Shape], ...],
    kind: torch.dtype,
    ones: frozenset[str],
) -> tuple[tuple[Call, ...], tuple[tuple[str, Operand], ...]]:
    """The operations of a program on stacks, and where its results are.

    Args:
        program: the traced rule.
        shapes: of the arrays, by name.
        kind: their dtype.
        ones: scalars that are 1 (there is no weight decay): nothing is multiplied by them.

    Returns:
        the calls, and ``(array, name)``: the value that it becomes. Where a result may be written
        over the array's old value, it is. A new value is never a view of an old one.
    """
    (step,) = program.passes
    known = {name: (shape, kind) for name, shape in shapes}
    body, same = _without(step.body, ones)
    writes = tuple((name, same.get(operand, operand)) for name, operand in step.writes)
    target = {operand: name for name, operand in writes}
    left = Counter([*(a for i in body for a in i.args), *(operand for _, operand in writes)])
    mine: set[str] = set()  # values whose memory nobody else looks at
    viewed: set[str] = set()
    found = []
    for i in body:
        left.subtract(i.args)
        tensors = [a for a in i.args if isinstance(a, str) and a in known]
        last = [a for a in tensors if not left[a]]
        shape, dtype = known[i.name] = _result(i.op, [known[a] for a in tensors])
        out = ""
        if i.op in VIEWS:
            viewed.add(tensors[0])
            mine.discard(tensors[0])
        else:
            mine.add(i.name)
        if i.op in INTO:
            place = target.get(i.name, "")
            free = [a for a in last if a in mine]
            free += [place] if place and not left[place] and place not in viewed else []
            out = next((a for a in reversed(free) if known[a] == (shape, dtype)), "")
        elementwise = i.op not in SHAPES and i.op != "bfloat16"
        mixed = elementwise and any(known[a][1] != dtype for a in tensors)
        drop = tuple(a for a in dict.fromkeys(last) if a in mine)
        function = _FUNCTIONS[i.op]
        found.append(Call(i.name, function, i.args, dtype if mixed else None, out, drop))
    copies = {o: f"copy of {o}" for _, o in writes if o not in mine}
    found += [Call(name, torch.clone, (o,), None, "", ()) for o, name in copies.items()]
    return tuple(found), tuple((name, copies.get(o, o)) for name, o in writes)


_FUNCTIONS = INTO | VIEWS | OTHERS


def _result(op: str, args: Sequence[tuple[Shape, torch.dtype]]) -> tuple[Shape, torch.dtype]:
    """Shape and kind of an operation's result, from those of the stacks among its arguments."""
    shapes = [shape for shape, _ in args]
    if op in SHAPES:
        return SHAPES[op](*shapes), torch.float64 if op == "norm" else args[0][1]
    shape = tuple(map(max, zip(*shapes, strict=True)))
    if op == "bfloat16":
        return shape, torch.bfloat16
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


def run(
    program: Program, arrays: Mapping[str, Tensor], scalars: Mapping[str, float]
) -> dict[str, Tensor]:
    """Run a matrix rule on one stack.

    Args:
        program: the traced rule.
        arrays: the stacks by name, ``[tensors, ...]`` each, of one kind; those that the rule
            changes may be overwritten.
        scalars: the program's scalars by name.

    Returns:
        the new values by name; where one was written in place, the tensor of ``arrays`` itself.

    >>> from downslope.rules import ADAFACTOR
    >>> program = trace(ADAFACTOR, ("variance",), ())
    >>> hypers = dict(lr=0.1, beta2_decay=-0.8, eps1=1e-7, eps2=1e-3, d=1.0, weight_decay=0.0)
    >>> stack = dict(p=torch.ones(1, 2), g=torch.tensor([[3.0, -4.0]]), variance=torch.zeros(1, 2))
    >>> run(program, stack, {**hypers, "step": 1.0, "numel": 2.0})["p"]
    tensor([[0.9000, 1.1000]])
    """
    (step,) = program.passes
    host: dict[str, float] = dict(scalars)

    def number(operand: Operand) -> float:
        return host[operand] if isinstance(operand, str) else operand

    with np.errstate(all="ignore"):
        for i in step.scalars:
            host[i.name] = float(HOST[i.op](*(np.float64(number(a)) for a in i.args)))
    hoisted = {name: number(operand) for name, operand in step.hoisted}
    ones = frozenset(name for name, known in hoisted.items() if known == 1)
    shapes = tuple((name, tuple(stack.shape)) for name, stack in arrays.items())
    planned, writes = calls(program, shapes, arrays["p"].dtype, ones)
    env: dict[Any, Any] = {**arrays, **hoisted}
    for call in planned:
        args = [env[a] if isinstance(a, str) else a for a in call.args]
        if call.kind is not None:
            args = [a.to(call.kind) if isinstance(a, Tensor) else a for a in args]
        out = {"out": env[call.out]} if call.out else {}
        env[call.name] = call.function(*args, **out)
        for name in call.drop:
            del env[name]
    return {name: env[operand] for name, operand in writes}


class MatrixBucket(OneByOne):
    """Tensors of one shape, stacked."""

    #: Whether tensors are stacked at all.
    stacks: ClassVar[bool] = True

    def _prepare(self) -> None:
        self._program = trace(self.rule, self.present, tuple(self.flags.items()))
        multiplies = {"matmul", "addmm"} & {i.op for i in self._program.passes[0].body}
        size = max(self.members.params[0].numel(), 1)
        self._most = max((PRODUCTS if multiplies else SUMS) // size, 1) if self.stacks else 1

    def _update(
        self,
        params: Sequence[Tensor],
        grads: Sequence[Tensor],
        table: Table,
        treatment: Treatment,
    ) -> Turns:
        columns = self.columns(table, self._count())
        grads, columns["factor"] = self._treated(params, grads, treatment)
        yield from ()  # all in one turn: there are no sums over all tensors
        if not params[0].numel():
            return
        machine = torch.finfo(params[0].dtype).eps
        for hyper in self.rule.scalar_hypers:
            if hyper.machine:  # NaN: the group has None there
                columns[hyper.name] = np.nan_to_num(columns[hyper.name], nan=machine)
        shape = (1, 1, *params[0].shape)[-2:]
        sides = dict(zip(("rows", "columns"), map(float, shape), strict=True))
        names = [n for n in self._program.scalars if n not in sides]
        for row, at in self._alike([columns[n] for n in (*names, "factor")]):
            scalars = {**dict(zip(names, row, strict=False)), **sides}
            for first in range(0, len(at), self._most):
                some = at[first : first + self._most]
                self._step(
                    [params[k].detach() for k in some],
                    [grads[k] for k in some],
                    [self.members.state[k] for k in some],
                    scalars,
                    row[-1],
                )

    def _alike(self, columns: Sequence[Any]) -> Iterator[tuple[tuple[float, ...], list[int]]]:
        """Positions of the tensors with equal scalars, so that these are numbers in a stack."""
        found: dict[tuple[float, ...], list[int]] = {}
        for k, row in enumerate(zip(*(np.asarray(c).tolist() for c in columns), strict=True)):
            found.setdefault(row, []).append(k)
        return iter(found.items())

    def _step(
        self,
        params: list[Tensor],
        grads: list[Tensor],
        states: list[State],
        scalars: Mapping[str, float],
        factor: float,
    ) -> None:
        slots = {n: [s[n] for s in states] for n in self.rule.arrays(self.present)}
        lists = {"p": params, "g": grads, **slots}
        kind = torch.promote_types(params[0].dtype, torch.float32)
        arrays = {name: _stack(tensors).to(kind) for name, tensors in lists.items()}
        if factor != 1:
            arrays["g"] = arrays["g"] * factor
        for name, new in run(self._program, arrays, scalars).items():
            if len(params) == 1 and new.data_ptr() == lists[name][0].data_ptr():
                continue
            parts = new.view(len(params), *lists[name][0].shape).unbind()
            torch._foreach_copy_(lists[name], parts)


class MatrixLoopBucket(MatrixBucket):
    """Tensors of one shape, one at a time."""

    stacks = False


def _stack(tensors: list[Tensor]) -> Tensor:
    """Tensors as one, ``[tensors, ...]``; a single one is not copied, and a number is a vector."""
    stack = tensors[0].unsqueeze(0) if len(tensors) == 1 else torch.stack(tensors)
    return stack if stack.ndim > 1 else stack.unsqueeze(1)
