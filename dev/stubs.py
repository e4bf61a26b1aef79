"""Write ``optim/declared.pyi``: ``make stubs``, or ``python dev/stubs.py``.

The classes in ``optim/declared.py`` are made from their rules when it is imported, which type
checkers and editors do not do. The stub tells them the same signatures and documentation.
"""

from __future__ import annotations

import inspect
import math
import textwrap
from pathlib import Path
from typing import Any, get_args, get_origin

from downslope.optim import declared
from downslope.optim._beyond import MEANINGS
from downslope.optim._declare import Number
from downslope.optim._optimizer import Optimizer

__all__ = ["PATH", "text"]

PATH = Path(declared.__file__).with_suffix(".pyi")
_WIDTH = 100

_HEAD = '''\
"""The optimizers whose classes are declared from their rules. Written by dev/stubs.py: not by hand.

Every hyperparameter may be a schedule.
"""

import math
from typing import ClassVar, Unpack

from ..rules import Rule
from ._beyond import Beyond
from ._declare import Declared, Number
from ._optimizer import ParamsT
from ._schedule_free import ScheduleFree

'''


def text() -> str:
    """The stub of all declared classes."""
    classes = [getattr(declared, name) for name in declared.__all__]
    exported = "".join(f'    "{name}",\n' for name in sorted(declared.__all__, key=_rank))
    return f"{_HEAD}__all__ = [\n{exported}]\n" + "".join(f"\n{_class(cls)}" for cls in classes)


def _rank(name: str) -> tuple[bool, str]:
    """Ruff's order of exported names: those in capitals first."""
    return not name.isupper(), name


def _class(cls: type[Optimizer]) -> str:
    paragraphs = inspect.cleandoc(cls.__doc__ or "").splitlines()
    wrapped = [line for long in paragraphs for line in _wrapped(long)]
    lines = [
        f'"""{wrapped[0]}',
        *wrapped[1:],
        '"""',
        "",
        "rule: ClassVar[Rule]",
        "def __init__(",
        "    self,",
        *(f"    {line}," for line in _arguments(cls)),
        ") -> None: ...",
    ]
    body = textwrap.indent("\n".join(lines), "    ")
    bases = ", ".join(base.__name__ for base in cls.__bases__)
    return f"class {cls.__name__}({bases}):\n{body}\n"


def _wrapped(line: str) -> list[str]:
    """A line of documentation, cut to the width; an argument's further lines are indented."""
    indent = line[: len(line) - len(line.lstrip())]
    further = indent and f"{indent}    "
    return textwrap.wrap(line, _WIDTH - 4, subsequent_indent=further, break_on_hyphens=False) or [
        ""
    ]


def _arguments(cls: type[Optimizer]) -> list[str]:
    found: list[str] = []
    parameters = list(inspect.signature(cls).parameters.values())[1:]
    for parameter in (p for p in parameters if p.name not in MEANINGS):
        if parameter.kind is parameter.KEYWORD_ONLY and "*" not in found:
            found.append("*")
        default = "math.inf" if parameter.default == math.inf else repr(parameter.default)
        found.append(f"{parameter.name}: {_spelled(parameter.annotation)} = {default}")
    return ["params: ParamsT", *found, "**beyond: Unpack[Beyond]"]


def _spelled(annotation: Any) -> str:
    if get_origin(annotation) is tuple:
        return f"tuple[{', '.join(map(_spelled, get_args(annotation)))}]"
    return "Number" if annotation == Number else str(getattr(annotation, "__name__", annotation))


if __name__ == "__main__":
    PATH.write_text(text(), encoding="utf-8")
