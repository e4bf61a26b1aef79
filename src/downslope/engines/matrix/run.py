"""Matrix rules run: a program on stacks, and the buckets that make stacks of their tensors.

Numbers of 16 bits are computed in float32.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from itertools import groupby
from operator import attrgetter
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from ..bucket import Table
from ..clip import Treatment
from ..foreach import HOST
from ..one_by_one import OneByOne
from ..program import Operand, Program
from ..together import Turns
from ..trace import trace
from .calls import Call, Kind, calls
from .library import JOINT

__all__ = ["MATRIX", "MATRIX_LOOP", "MatrixBucket", "MatrixLoopBucket", "run"]

#: The engines' names.
MATRIX, MATRIX_LOOP = "matrix", "matrix loop"

#: Elements of a stack, and of all matrices that are multiplied together: more calls cost more than
#: copying what the cache holds.
STACK, PRODUCTS = 1 << 16, 1 << 19


#: Memory that may be written over, by shape and kind. Fresh memory costs more than small products.
Pool = dict[Kind, list[Tensor]]


def run(
    program: Program,
    parts: Sequence[Mapping[str, Tensor]],
    scalars: Mapping[str, float],
    pool: Pool | None = None,
) -> list[dict[str, Tensor]]:
    """Run a matrix rule.

    Args:
        program: the traced rule.
        parts: stacks ``[tensors, ...]`` of equal shapes and one kind, by name; those that the rule
            changes may be overwritten.
        scalars: the program's scalars by name.
        pool: what earlier calls have left; this one leaves its own there.

    Returns:
        each part's new values by name; where one was written in place, the part's tensor itself.

    >>> from downslope.rules import ADAFACTOR
    >>> program = trace(ADAFACTOR, ("variance",), ())
    >>> hypers = dict(lr=0.1, beta2_decay=-0.8, eps1=1e-7, eps2=1e-3, d=1.0, weight_decay=0.0)
    >>> stack = dict(p=torch.ones(1, 2), g=torch.tensor([[3.0, -4.0]]), variance=torch.zeros(1, 2))
    >>> run(program, [stack], {**hypers, "step": 1.0, "numel": 2.0})[0]["p"]
    tensor([[0.9000, 1.1000]])
    """
    pool = {} if pool is None else pool
    (step,) = program.passes
    host: dict[str, float] = dict(scalars)

    def number(operand: Operand) -> float:
        return host[operand] if isinstance(operand, str) else operand

    with np.errstate(all="ignore"):
        for i in step.scalars:
            host[i.name] = float(HOST[i.op](*(np.float64(number(a)) for a in i.args)))
    hoisted = {name: number(operand) for name, operand in step.hoisted}
    ones = frozenset(name for name, known in hoisted.items() if known == 1)
    shapes = tuple((name, tuple(stack.shape)) for name, stack in parts[0].items())
    planned, writes = calls(program, shapes, len(parts), parts[0]["p"].dtype, ones)
    size = len(parts[0]["p"])
    together: dict[Any, Any] = dict(hoisted)
    apart: list[dict[Any, Any]] = [dict(part) for part in parts]

    def share(k: int, operand: Operand) -> Any:
        """A value of one part: its own, or its rows of one of all parts together."""
        if operand in apart[k]:
            return apart[k][operand]
        value = together[operand]
        return value.narrow(0, k * size, size) if isinstance(value, Tensor) else value

    for joint, group in groupby(planned, attrgetter("joint")):
        segment = list(group)
        if joint:
            for call in segment:
                if call.function is None:
                    (name,) = call.args
                    together[call.name] = torch.cat([part[name] for part in apart])
                    for part in apart if call.drop else ():
                        del part[name]
                else:
                    _run(call, together, together.__getitem__, pool)
        else:
            for k, part in enumerate(apart):
                for call in segment:
                    _run(call, part, partial(share, k), pool)
    return [{name: share(k, operand) for name, operand in writes} for k in range(len(apart))]


def _run(call: Call, own: dict[Any, Any], value: Callable[[Operand], Any], pool: Pool) -> None:
    """One operation, whose result becomes one of ``own``."""
    assert call.function is not None
    args = [value(a) if isinstance(a, str) else a for a in call.args]
    if call.kind is not None:
        args = [a.to(call.kind) if isinstance(a, Tensor) else a for a in args]
    out = {"out": value(call.out)} if call.out else {}
    if call.result is not None and pool.get(call.result):
        out["out"] = pool[call.result].pop()
    own[call.name] = call.function(*args, **out)
    for name in call.drop:
        old = own.pop(name)
        if name not in call.kept and old is not own[call.name]:
            pool.setdefault((tuple(old.shape), old.dtype), []).append(old)


class MatrixBucket(OneByOne):
    """Tensors of one shape: small ones in stacks, large ones apart but for their products."""

    #: Whether tensors are stacked at all.
    stacks: ClassVar[bool] = True

    def _prepare(self) -> None:
        self._program = trace(self.rule, self.present, tuple(self.flags.items()))
        size = max(self.members.params[0].numel(), 1)
        multiplies = any(i.op in JOINT for i in self._program.passes[0].body)
        self._stack = max(STACK // size, 1) if self.stacks else 1
        self._parts = max(PRODUCTS // (size * self._stack), 1) if self.stacks and multiplies else 1

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
        pool: Pool = {}
        for row, at in self._alike([columns[n] for n in (*names, "factor")]):
            scalars = {**dict(zip(names, row, strict=False)), **sides}
            most = self._stack * self._parts
            for some in (at[first : first + most] for first in range(0, len(at), most)):
                state = [self.members.state[k] for k in some]
                lists = {"p": [params[k].detach() for k in some], "g": [grads[k] for k in some]}
                lists.update({n: [s[n] for s in state] for n in self.rule.arrays(self.present)})
                self._step(lists, scalars, row[-1], pool)

    def _alike(self, columns: Sequence[Any]) -> Iterator[tuple[tuple[float, ...], list[int]]]:
        """Positions of the tensors with equal scalars, so that these are numbers in a stack."""
        found: dict[tuple[float, ...], list[int]] = {}
        for k, row in enumerate(zip(*(np.asarray(c).tolist() for c in columns), strict=True)):
            found.setdefault(row, []).append(k)
        return iter(found.items())

    def _step(
        self,
        lists: Mapping[str, list[Tensor]],
        scalars: Mapping[str, float],
        factor: float,
        pool: Pool,
    ) -> None:
        """Step some tensors with equal scalars."""
        count, parts = len(lists["p"]), []
        # Parts must be of one size: what is left over is stepped by itself.
        whole = count // self._stack * self._stack or count
        if whole < count:
            self._step({n: tensors[whole:] for n, tensors in lists.items()}, scalars, factor, pool)
        starts = range(0, whole, self._stack)
        for first in starts:
            part = {n: _stack(tensors[first : first + self._stack]) for n, tensors in lists.items()}
            kind = torch.promote_types(part["p"].dtype, torch.float32)
            part = {name: stack.to(kind) for name, stack in part.items()}
            parts.append(part if factor == 1 else part | {"g": part["g"] * factor})
        for first, new in zip(starts, run(self._program, parts, scalars, pool), strict=True):
            for name, stack in new.items():
                olds = lists[name][first : first + self._stack]
                if len(olds) > 1 or stack.data_ptr() != olds[0].data_ptr():
                    torch._foreach_copy_(olds, stack.view(-1, *olds[0].shape).unbind())


class MatrixLoopBucket(MatrixBucket):
    """Tensors of one shape, one at a time."""

    stacks = False


def _stack(tensors: list[Tensor]) -> Tensor:
    """Tensors as one, ``[tensors, ...]``; a single one is not copied, and a number is a vector."""
    stack = tensors[0].unsqueeze(0) if len(tensors) == 1 else torch.stack(tensors)
    return stack if stack.ndim > 1 else stack.unsqueeze(1)
