"""A program over lists of tensors, in torch's multi-tensor operations.

For devices without a compiled engine, and for ``foreach=True``. Each instruction is one call over
all tensors; a temporary that nobody reads again is overwritten in place.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Generator, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from . import eager
from .bucket import Table
from .clip import Treatment
from .one_by_one import OneByOne
from .program import Instruction, Operand, Pass, Program
from .together import Shares, Turns
from .trace import trace

__all__ = ["HOST", "ForeachBucket", "update"]

Column = npt.NDArray[np.float64]
Value = list[Tensor] | list[float] | float

#: Operations on the host's float64 numbers.
HOST: dict[str, Callable[..., Any]] = {
    "add": np.add, "sub": np.subtract, "mul": np.multiply, "div": np.divide, "pow": np.power,
    "neg": np.negative, "gt": np.greater, "lt": np.less, "ge": np.greater_equal,
    "le": np.less_equal, "sqrt": np.sqrt, "abs": np.abs, "sign": np.sign, "exp": np.exp,
    "log": np.log, "atan2": np.arctan2, "maximum": np.maximum, "minimum": np.minimum,
    "where": np.where, "lerp": lambda a, b, w: a + w * (b - a), "fma": lambda a, b, c: a * b + c,
    "f32": lambda x: np.float32(x).astype(np.float64), "f64": lambda x: x,
}  # fmt: skip


def update(
    program: Program, arrays: Mapping[str, Sequence[Tensor]], columns: Mapping[str, Column]
) -> Generator[Shares, Mapping[int, float], dict[str, Column]]:
    """Run a program in place, in as many turns as it needs sums over all tensors of the step.

    Args:
        program: the traced rule.
        arrays: the parameters, gradients and slots by name, one tensor each a parameter.
        columns: the program's scalars by name, one number a tensor; ``factor`` scales gradients.

    Yields:
        before each such turn, by the number of the formula's call, each tensor's share; wants the
        sums over all tensors sent back.

    Returns:
        the new values of slots that are single numbers, by name.
    """
    pairs = arrays["p"][0].is_complex()
    env: dict[str, Any] = {
        name: [torch.view_as_real(t) for t in tensors] if pairs else list(tensors)
        for name, tensors in {**arrays, "g": [g.resolve_conj() for g in arrays["g"]]}.items()
    }
    factor = _scalar(columns["factor"])
    if factor != 1.0:
        env["g"] = list(torch._foreach_mul(env["g"], factor))
    env.update(columns)
    for step in program.passes:
        _run_pass(step, env)
        shared = {t.call: t.name for t in step.totals if t.call is not None}
        if shared:
            wholes = yield {call: env[name] for call, name in shared.items()}
            env.update({name: wholes[call] for call, name in shared.items()})
    new = {name: env[f"new {name}"] for name, _ in program.passes[-1].numbers}
    count = len(arrays["p"])
    return {name: np.broadcast_to(np.asarray(column), count) for name, column in new.items()}


def _scalar(column: Any) -> list[float] | float:
    """A column as torch takes it: one number if all tensors share it."""
    column = np.asarray(column, np.float64)
    values: list[float] = np.atleast_1d(column).tolist()
    return values[0] if all(v == values[0] for v in values) else values


def _run_pass(step: Pass, env: dict[str, Any]) -> None:
    def value(operand: Operand) -> Any:
        return env[operand] if isinstance(operand, str) else operand

    with np.errstate(all="ignore"):
        for instruction in step.scalars:
            env[instruction.name] = HOST[instruction.op](*map(value, instruction.args))
    env.update({name: _scalar(value(operand)) for name, operand in step.hoisted})
    env.update({f"new {name}": value(operand) for name, operand in step.numbers})
    final = [*(operand for _, operand in step.writes), *(t.operand for t in step.totals)]
    left = Counter([*(a for i in step.body for a in i.args), *final])
    mine = {i.name for i in step.body}
    for instruction in step.body:
        for argument in instruction.args:
            left[argument] -= 1
        dead = [a in mine and not left[a] for a in instruction.args]
        env[instruction.name] = _call(instruction, [value(a) for a in instruction.args], dead)
    for total in step.totals:
        env[total.name] = np.array([float(eager.sum(t)) for t in value(total.operand)])
    for name, operand in step.writes:
        torch._foreach_copy_(env[name], value(operand))


def _call(instruction: Instruction, args: list[Value], dead: list[bool]) -> list[Tensor]:
    """One instruction; ``dead[k]`` says that argument k may be overwritten."""
    op, lists = instruction.op, [_is_tensors(a) for a in args]
    if op in ("add", "mul") and not lists[0]:
        args, lists, dead = args[::-1], lists[::-1], dead[::-1]
    if op == "fma":
        return _fma(args, lists, dead)
    if op in _UNARY or (op in _BINARY and lists[0]) or (op == "lerp" and lists[0] and lists[1]):
        return _foreach(op, args, in_place=dead[0])
    if op == "sub":
        return _foreach(
            "add", [_foreach("neg", args[1:], in_place=dead[1]), args[0]], in_place=True
        )
    # No multi-tensor twin: comparisons, where, atan2, a number divided by tensors.
    count = max(len(a) for a in args if isinstance(a, list))
    each = [a if isinstance(a, list) else [a] * count for a in args]
    return [_ONE[op](*values) for values in zip(*each, strict=True)]


_UNARY = {"sqrt", "abs", "sign", "exp", "log", "neg"}
_BINARY = {"add", "sub", "mul", "div", "maximum", "minimum"}
_ONE: dict[str, Callable[..., Any]] = {
    "gt": lambda a, b: a > b, "lt": lambda a, b: a < b, "ge": lambda a, b: a >= b,
    "le": lambda a, b: a <= b, "pow": lambda a, b: a**b, "div": lambda a, b: a / b,
    "maximum": eager.maximum, "minimum": eager.minimum, "atan2": eager.atan2,
    "where": eager.where, "lerp": eager.lerp, "f32": eager.f32, "f64": eager.f64,
}  # fmt: skip


def _is_tensors(value: Value) -> bool:
    return isinstance(value, list) and isinstance(value[0], Tensor)


def _foreach(name: str, args: Sequence[Value], *, in_place: bool, **options: float) -> list[Tensor]:
    function = getattr(torch, f"_foreach_{name}{'_' if in_place else ''}")
    result = function(*args, **options)
    return args[0] if in_place else list(result)  # type: ignore[return-value]  # args[0] is tensors


def _fma(args: list[Value], lists: list[bool], dead: list[bool]) -> list[Tensor]:
    """``a * b + c``, fused where torch fuses it."""
    a, b, c = args
    if lists[0] and not lists[1]:
        a, b = b, a
    if not lists[2]:
        return _foreach("add", [_foreach("mul", [b, a], in_place=False), c], in_place=True)
    if _is_tensors(a):
        return _foreach("addcmul", [c, a, b], in_place=dead[2])
    if isinstance(a, float):
        return _foreach("add", [c, b], in_place=dead[2], alpha=a)
    return _foreach("add", [c, _foreach("mul", [b, a], in_place=False)], in_place=dead[2])


class ForeachBucket(OneByOne):
    """Lists of tensors in ``torch._foreach_*`` operations."""

    def _update(
        self,
        params: Sequence[Tensor],
        grads: Sequence[Tensor],
        table: Table,
        treatment: Treatment,
    ) -> Turns:
        program = trace(self.rule, self.present, tuple(self.flags.items()))
        states = self.members.state
        arrays = {n: [s[n] for s in states] for n in self.rule.arrays(self.present)}
        columns = self.columns(table, self._count())
        columns.update({n: np.array([float(s[n]) for s in states]) for n in self.numbers})
        grads, columns["factor"] = self._treated(params, grads, treatment)
        new = yield from update(program, {"p": params, "g": grads, **arrays}, columns)
        for name, column in new.items():
            for state, value in zip(states, column.tolist(), strict=True):
                state[name].fill_(value)
