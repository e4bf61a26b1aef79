"""What the printers of all compiled engines share: a pass's elementwise part as lines of Python."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from .program import Instruction, Operand, Pass, Program
from .storage import CODECS

__all__ = ["ADDRESS", "INFIX", "NEW", "VALUE", "Dialect", "Element", "row_names", "title"]

#: How a kernel spells the names of a rule: what was read of an array or a scalar, where an array
#: lies, what it becomes. No name of a kernel's own ends like that, so a rule may use any.
VALUE, ADDRESS, NEW = "{}_", "{}_at", "{}_new"

#: Operations that Python has a sign for; the others are calls of a function of that name.
INFIX = {
    "add": "{} + {}", "sub": "{} - {}", "mul": "{} * {}", "div": "{} / {}", "pow": "{} ** {}",
    "neg": "-{}", "gt": "{} > {}", "lt": "{} < {}", "ge": "{} >= {}", "le": "{} <= {}",
}  # fmt: skip


@dataclass(frozen=True)
class Element:
    """How one kind of number lies in memory and how an engine's kernels open and close it.

    Args:
        memory: what the engine calls such memory: a function or a type.
        bytes: of one number.
        math: the kind that it is computed in.
        open: from what was read to that kind.
        close: back again.
    """

    memory: str
    bytes: int
    math: str = "float32"
    open: str = "{}"
    close: str = "{}"


@dataclass(frozen=True)
class Dialect:
    """How one engine's kernels spell things.

    Args:
        constant: a number of the formula as an argument; ``{}`` is the number.
        infix: its operators.
        plain: whether an operator takes a bare number beside a value.
    """

    constant: str
    infix: Mapping[str, str] = field(default_factory=lambda: INFIX)
    plain: bool = False

    def statement(self, instruction: Instruction, names: Mapping[str, str] | None = None) -> str:
        """``name = op(arguments)``; ``names`` are the names of values that are called otherwise."""
        infix = self.infix.get(instruction.op)
        bare = self.plain and infix and any(isinstance(a, str) for a in instruction.args)
        args = [
            repr(a) if bare and not isinstance(a, str) else self.text(a, names or {})
            for a in instruction.args
        ]
        value = infix.format(*args) if infix else f"{instruction.op}({', '.join(args)})"
        return f"{instruction.name} = {value}"

    def text(self, operand: Operand, names: Mapping[str, str]) -> str:
        """An operand."""
        if isinstance(operand, str):
            return names.get(operand, operand)
        return self.constant.format(repr(operand))

    def elements(
        self, step: Pass, read: Mapping[str, str], write: Mapping[str, str], total: str
    ) -> list[str]:
        """Load, compute, add up, store.

        Args:
            step: the pass.
            read: for every array, how its element is read.
            write: for every array, how ``{}`` is stored.
            total: how ``{1}`` is added to the ``{0}``-th total.
        """
        names = {name: VALUE.format(name) for name in step.reads}
        lines = [
            f"{names[name]} = {read[name]}{' * factor' if name == 'g' else ''}"
            for name in step.reads
        ]
        lines += [self.statement(instruction, names) for instruction in step.body]
        lines += [total.format(k, self.text(t.operand, names)) for k, t in enumerate(step.totals)]
        # All new values exist before the first is stored: a slot may be read by two of them.
        lines += [
            f"{NEW.format(name)} = {self.text(operand, names)}" for name, operand in step.writes
        ]
        return lines + [write[name].format(NEW.format(name)) for name, _ in step.writes]


def row_names(program: Program, kinds: Iterable[str]) -> tuple[str, ...]:
    """The columns of the table of numbers that a kernel is given, one row a tensor.

    Args:
        program: the program.
        kinds: those of its arrays; some round at random, and need to know the step.
    """
    random = any(k in CODECS and CODECS[k].random for k in kinds)
    counts = ["step"] if random and "step" not in program.scalars else []
    return (*program.scalars, *counts, "factor")


def title(program: Program, elements: tuple[str, ...]) -> str:
    """The first line of a generated module."""
    parts = [program.rule.name, *program.present, *(n for n, on in program.flags if on)]
    return (
        f'"""{", ".join(parts)}: {", ".join(elements)}. Generated from the formula; do not edit."""'
    )
