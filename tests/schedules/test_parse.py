"""Schedules from text: what is understood, and that nothing else is executed."""

from __future__ import annotations

import pytest

from downslope.errors import InputError, InputTypeError
from downslope.schedules import cosine, parse, sequence, step, warmup, wsd

from .test_schedules import EXAMPLES

WRITTEN = {
    "warmup(500) >> cosine(9_500, end=1e-6)": warmup(500) >> cosine(9500, end=1e-6),
    "1e-3 * (warmup(5) >> cosine(9))": (warmup(5) >> cosine(9)) * 1e-3,
    "sequence([step(5), cosine(4)], milestones=[7])": sequence([step(5), cosine(4)], [7]),
    "step(5, gamma=-0.5)": step(5, gamma=-0.5),
    "warmup(5 * 938) >> cosine(90*938)": warmup(4690) >> cosine(84420),
    " wsd(1, 2, 3, decay='1-sqrt')\n": wsd(1, 2, 3, decay="1-sqrt"),
}


@pytest.mark.parametrize(("text", "schedule"), WRITTEN.items())
def test_expressions_are_understood(text: str, schedule: object) -> None:
    """Calls, chains, products, lists, words and negative numbers."""
    assert parse(text) == schedule


@pytest.mark.parametrize(
    "name", [name for name in EXAMPLES if name not in ("function", "multiplicative")]
)
def test_what_is_printed_is_understood(name: str) -> None:
    """``parse(repr(schedule))`` is the schedule, where no function of the user's is in it."""
    assert parse(repr(EXAMPLES[name])) == EXAMPLES[name]


REFUSED = {
    "__import__('os').system('true')": "cannot stand in a schedule",
    "open('/etc/passwd')": "Unknown schedule 'open'",
    "().__class__": "cannot stand in a schedule",
    "[cosine(3) for _ in range(9)]": "cannot stand in a schedule",
    "lambda: 1": "cannot stand in a schedule",
    "cosine(9**9**9)": r"'9\*\*9\*\*9' cannot stand",
    "cosine(True)": "'True' cannot stand",
    "cosine(3) + 1": r"'cosine\(3\) \+ 1' cannot stand",
    "warmup(5) >> 3": r"'warmup\(5\) >> 3' cannot stand",
    "function(abs)": "Unknown schedule 'function'",
    "cosin(3)": "Unknown schedule 'cosin'. Did you mean 'cosine'",
    "cosine(3, enf=1)": "unexpected keyword argument 'enf'",
    "cosine(**{'steps': 3})": r"\*\* cannot stand",
    "cosine()": "missing 1 required positional argument: 'steps'",
    "cosine(0)": "cosine: steps must be a whole number >= 1, got 0",
    "step(3) >> cosine(4)": r"step\(3\) never ends",
    "3 * 4": "is not a schedule. Write",
    "cosine(9 >> 3)": "'9 >> 3' cannot stand",
    "cosine(" + "9" * 400 + " * 1.5)": "is not a schedule: it cannot be read",
    "3": "is not a schedule. Write",
    "": "is not a schedule: it cannot be read",
    "cosine(3": "is not a schedule: it cannot be read",
    "cosine(3)\x00": "is not a schedule: it cannot be read",
    f"cosine({'9' * 5000})": "is not a schedule: it cannot be read",
    "(" * 4000 + ")" * 4000: "is not a schedule: it cannot be read",
    "-" * 9000 + "1": "is not a schedule|cannot stand",
    "cosine(3)" + " * 1" * 9000: "at most 10000 characters",
}


@pytest.mark.parametrize(("text", "message"), REFUSED.items(), ids=lambda x: x[:30])
def test_anything_else_is_refused(text: str, message: str) -> None:
    """One error of ours, whatever the text: never a crash, never an execution."""
    with pytest.raises(InputError, match=message):
        parse(text)


def test_a_wrong_type_is_named() -> None:
    """The argument's own error goes through."""
    with pytest.raises(InputTypeError, match=r"cosine: steps .* got 'x'"):
        parse("cosine('x')")
