"""How functions of matrices are printed: products, transposes, norms, means of rows."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import sympy as sp
from sympy.printing.pretty.pretty import PrettyPrinter
from sympy.printing.pretty.stringpict import prettyForm

__all__ = ["MATRIX_OPERATIONS"]


class _Matrix(sp.Function):  # type: ignore[misc]  # sympy ships no types
    """A function of matrices with a notation of its own."""

    unicode: tuple[str, str, str]  # before, between and after the arguments
    tex: tuple[str, str, str]
    brackets: bool  # whether a sum needs them

    def _pretty(self, printer: PrettyPrinter) -> prettyForm:
        before, between, after = self.unicode
        form = prettyForm(before)
        for number, argument in enumerate(self.args):
            shown = printer._print(argument)
            if self.brackets and isinstance(argument, sp.Add):
                shown = prettyForm(*shown.parens())
            form = prettyForm(*form.right(between if number else "", shown))
        return prettyForm(*form.right(after))

    def _latex(self, printer: Any) -> str:
        before, between, after = self.tex
        texts = [
            f"\\left({printer._print(a)}\\right)"
            if self.brackets and isinstance(a, sp.Add)
            else printer._print(a)
            for a in self.args
        ]
        return before + between.join(texts) + after


class _Product(_Matrix):
    unicode, tex, brackets = ("", "·", ""), ("", " ", ""), True


class _Transposed(_Matrix):
    unicode, tex, brackets = ("", "", "ᵀ"), ("", "", r"^{\top}"), True


class _Norm(_Matrix):
    unicode, tex, brackets = ("‖", "", "‖"), (r"\left\|", "", r"\right\|"), False


#: The functions of ``tracer.MATRIX_FUNCTIONS`` on symbols.
MATRIX_OPERATIONS: Mapping[str, Callable[..., Any]] = {
    "row_mean": sp.Function("rowmean"),
    "column_mean": sp.Function("colmean"),
    "norm": _Norm,
    "matmul": _Product,
    "addmm": lambda beta, c, alpha, a, b: beta * c + alpha * _Product(a, b),
    "transpose": _Transposed,
    # Which way round, and how precisely, is a matter of speed.
    "wide": lambda x: x,
    "turned": lambda y, x: y,
    "bfloat16": lambda x: x,
}
