"""What a rule becomes when it is traced: the plain data that every compiled engine prints.

A program is one or more passes over memory. Of each, what depends on scalars only is evaluated once
a tensor, in float64; what depends on arrays is a list of elementwise instructions.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, NamedTuple

from ..rules import Rule

__all__ = ["Instruction", "Operand", "Pass", "Program", "Total"]

#: The name of an earlier value, or a number.
Operand = str | float


@dataclass(frozen=True)
class Instruction:
    """``name = op(*args)``; an argument is the name of an earlier value, or a number."""

    name: str
    op: str
    args: tuple[Operand, ...]


class Total(NamedTuple):
    """A sum that a pass makes of an elementwise value.

    ``call`` is None for a sum over the tensor; for one over all tensors of the step it is the
    number of the formula's call of ``xp.total``.
    """

    name: str
    operand: Operand
    call: int | None = None


@dataclass(frozen=True)
class Pass:
    """One sweep over memory.

    Args:
        scalars: float64 instructions, evaluated once a tensor; they may read totals of earlier
            passes.
        hoisted: ``(name, operand)``: scalars that elements need, under the name the body uses.
        reads: the arrays it loads.
        body: elementwise instructions.
        totals: the sums that this pass makes.
        writes: ``(array, operand)``: what it stores; empty in all passes but the last.
        numbers: ``(slot, operand)``: new values of slots that are one number a tensor.
    """

    scalars: tuple[Instruction, ...]
    hoisted: tuple[tuple[str, Operand], ...]
    reads: tuple[str, ...]
    body: tuple[Instruction, ...]
    totals: tuple[Total, ...]
    writes: tuple[tuple[str, Operand], ...]
    numbers: tuple[tuple[str, Operand], ...]


def _with_reciprocals(step: Pass) -> Pass:
    scalars, hoisted = list(step.scalars), dict(step.hoisted)
    body = []
    for made in step.body:
        by = made.args[-1]
        if made.op == "div" and by in hoisted:
            one = Instruction(f"{by}i", "div", (1.0, hoisted[by]))
            if one not in scalars:
                scalars.append(one)
                hoisted[f"{by}r"] = one.name
            made = replace(made, op="mul", args=(made.args[0], f"{by}r"))
        body.append(made)
    used = {a for made in body for a in made.args} | {a for _, a in step.writes}
    used |= {total.operand for total in step.totals}
    kept = tuple((name, a) for name, a in hoisted.items() if name in used)
    return replace(step, scalars=tuple(scalars), hoisted=kept, body=tuple(body))


@dataclass(frozen=True)
class Program:
    """A rule traced for one set of slots and flags.

    ``arrays`` are the parameter, the gradient and the present slots, in that order; ``scalars`` are
    the columns of the table that the host fills, one row a tensor: the formula's scalars, then the
    present slots that are single numbers.
    """

    rule: Rule
    present: tuple[str, ...]
    flags: tuple[tuple[str, Any], ...]
    arrays: tuple[str, ...]
    scalars: tuple[str, ...]
    passes: tuple[Pass, ...]

    @property
    def totals(self) -> tuple[Total, ...]:
        """The sums of all passes, in the order of their names' numbers."""
        return tuple(total for p in self.passes for total in p.totals)

    @property
    def waits(self) -> int:
        """How many times a step waits for sums over all tensors."""
        return sum(any(t.call is not None for t in p.totals) for p in self.passes)

    @property
    def with_reciprocals(self) -> Program:
        """The same with each division by a scalar as a product with its reciprocal.

        Rounded twice, so not to the last bit what the formula says.
        """
        return replace(self, passes=tuple(map(_with_reciprocals, self.passes)))

    @property
    def writes(self) -> tuple[str, ...]:
        """The arrays that a step changes."""
        return tuple(name for name, _ in self.passes[-1].writes)

    @property
    def streams(self) -> int:
        """Arrays read plus arrays written, the whole step: times bytes and numel, its traffic."""
        return sum(len(p.reads) + len(p.writes) for p in self.passes)
