"""Every program that a catalogued optimizer runs, for tests of kernels.

Printing and compiling a kernel takes seconds, so the suite takes a few programs that together have
everything that any has; with ``DOWNSLOPE_EVERY_KERNEL=1`` (``make prove-gpu``) it takes all.
"""

from __future__ import annotations

import os
from functools import cache
from typing import Any, NamedTuple

import torch

from downslope.engines.program import Program
from downslope.engines.trace import trace

from ..optim.catalogue import CATALOGUE, Entry, Variant
from ..optim.harness import build

__all__ = ["EVERY", "Case", "cases", "covering", "widest"]

#: Whether tests take all programs.
EVERY = os.environ.get("DOWNSLOPE_EVERY_KERNEL") == "1"


class Case(NamedTuple):
    """A program, and the arguments with which an optimizer runs it."""

    entry: Entry
    variant: Variant
    program: Program

    @property
    def title(self) -> str:
        """A test's name for it."""
        flags = [name for name, on in self.program.flags if on]
        return "-".join([self.entry.name, *self.program.present, *flags])


@cache
def cases() -> tuple[Case, ...]:
    """One for each program of each elementwise rule; of its variants that with most arguments."""
    found: dict[Any, Case] = {}
    for entry in CATALOGUE:
        if entry.sparse_only or entry.ours.rule.matrix:
            continue
        for variant in sorted(entry.variants, key=lambda v: len(v.kwargs)):
            p = torch.zeros(3, 3, requires_grad=True)
            group = build(entry.ours, [p], variant.kwargs).param_groups[0]
            rule = entry.ours.rule
            program = trace(rule, rule.present(group), rule.flag_values(group))
            found[entry.name, program] = Case(entry, variant, program)
    return tuple(found.values())


def widest() -> tuple[Case, ...]:
    """Of every rule the program with most instructions."""
    by_rule: dict[str, Case] = {}
    for case in sorted(cases(), key=lambda c: sum(len(p.body) for p in c.program.passes)):
        by_rule[case.program.rule.name] = case
    return tuple(by_rule.values())


def covering() -> tuple[Case, ...]:
    """As few programs as one finds that have every part that any has: the largest first."""
    left = {part for case in cases() for part in _parts(case.program)}
    found: list[Case] = []
    while left:
        best = max(cases(), key=lambda case: len(left & _parts(case.program)))
        left -= _parts(best.program)
        found.append(best)
    return tuple(found)


@cache
def _parts(program: Program) -> frozenset[Any]:
    """What a printer has to deal with: operations, sums, numbers a tensor, scalars of the host."""
    return frozenset(
        {
            ("passes", len(program.passes)),
            *(("host", n) for n in program.scalars if n in ("step", "fresh", "numel")),
            *(("element", made.op) for step in program.passes for made in step.body),
            *(("scalar", made.op) for step in program.passes for made in step.scalars),
            *(("number", name) for step in program.passes for name, _ in step.numbers),
            *(("sum over all", t.call is not None) for t in program.totals),
        }
    )
