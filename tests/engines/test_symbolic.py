"""The printed formula is the formula that runs."""

from __future__ import annotations

import math
import random
from typing import Any

import sympy as sp
import torch
from sympy.printing.pretty.pretty_symbology import pretty_use_unicode

from downslope.engines import eager
from downslope.engines.symbolic import equations, latex, pretty
from downslope.engines.trace import trace
from downslope.rules import SGD

from ..optim.catalogue import Entry, Variant, each_variant


def group_of(entry: Entry, variant: Variant) -> dict[str, object]:
    """A parameter group's values for a variant."""
    return entry.ours([torch.nn.Parameter(torch.zeros(1))], **variant.kwargs).param_groups[0]


@each_variant()
def test_equations_compute_what_the_rule_computes(entry: Entry, variant: Variant) -> None:
    """Random numbers put into the printed equations give the eager engine's results."""
    rule, group = entry.ours.rule, group_of(entry, variant)
    draw = random.Random(variant.name).uniform
    # Slots near one another: a mean of squares is never less than the square of a mean.
    slots = {n: draw(0.5, 0.6) for n in rule.present(group)}
    values = {"p": draw(-1, 1), "g": draw(-0.5, 0.5), **slots}
    scalars = {h.name: float(h.of(group)) for h in rule.hypers}
    tensors: dict[str, Any] = {n: torch.tensor(v, dtype=torch.float64) for n, v in values.items()}
    tensors.update({n: values[n] for n in rule.numbers(rule.present(group))})
    called = (
        rule,
        {**{s.name: None for s in rule.slots}, **tensors},
        {n: {**scalars, "step": 3.0, "fresh": 0.0, "numel": 1.0}[n] for n in rule.scalars},
        dict(rule.flag_values(group)),
    )
    totals: dict[int, Any] = {}
    for _ in range(len(trace(rule, rule.present(group), rule.flag_values(group)).passes)):
        totals = {n: share.item() for n, share in enumerate(eager.shares(*called, totals))}
    expected = eager.update(*called, totals)
    letters = {"p": "theta", "g": "g", **{s.name: s.symbol for s in rule.slots}}
    known: dict[str, float] = {h.symbol: scalars[h.name] for h in rule.hypers}
    known.update({f"~{letters[n]}@{'t' if n == 'g' else 't-1'}": v for n, v in values.items()})
    known |= {"t": 3.0, "n": 1.0}
    for equation in equations(rule, group):
        rhs = equation.rhs
        for reduction in ("sum", "total"):  # of one element
            rhs = rhs.replace(sp.Function(reduction), lambda of_one: of_one)
        numbers = {s: known[s.name] for s in rhs.free_symbols}
        known[equation.lhs.name] = float(rhs.subs(numbers))
    # The printed formula leaves out that single numbers of state are kept in float32.
    near = 1e-7 if rule.numbers(rule.present(group)) else 1e-12
    for name, value in expected.items():
        before = known[f"~{letters[name]}@t-1"]  # has no equation where it stays
        assert math.isclose(known.get(f"~{letters[name]}@t", before), float(value), rel_tol=near)


@each_variant()
def test_printers_spell_every_letter(entry: Entry, variant: Variant) -> None:
    """No internal spelling of a letter reaches a reader."""
    found = equations(entry.ours.rule, group_of(entry, variant))
    assert "@" not in pretty(found) + latex(found)


def test_a_formula_is_one_line_of_text_a_term() -> None:
    """A sum is printed with what is subtracted last."""
    x, y = sp.symbols("x y", positive=True)
    assert pretty([sp.Eq(y, -x + y, evaluate=False)]) == "y = y - x"


def test_text_has_letters_whatever_the_terminal_was_when_sympy_was_imported() -> None:
    """Greek letters are printed where sympy would spell them, and its setting is left alone."""
    group = {"lr": 0.1, "momentum": 0, "dampening": 0, "weight_decay": 0, "nesterov": False}
    before = pretty_use_unicode(False)
    try:
        assert "η" in pretty(equations(SGD, group))
        assert pretty_use_unicode() is False
    finally:
        pretty_use_unicode(before)
