"""The formulas and their specs: each update rule written once, as a pure function.

Read ``_rule.py`` for what a rule is (``_spec.py``: its arguments), then ``adam.py`` for one. Every
:class:`Rule` of a module here is collected, so that ``rules.ADAMW`` is the one of ``adam.py``, and
:data:`RULES` holds all of them by these names. Nothing here imports torch.
"""

from __future__ import annotations

import importlib
import pkgutil
from typing import TYPE_CHECKING

from ._rule import HOST_SCALARS, MATRIX_SCALARS, TREATMENT, Rule
from ._spec import Choice, Flag, Hyper, Slot, beta

__all__ = [
    "HOST_SCALARS",
    "MATRIX_SCALARS",
    "RULES",
    "TREATMENT",
    "Choice",
    "Flag",
    "Hyper",
    "Rule",
    "Slot",
    "beta",
]


def _collected() -> dict[str, Rule]:
    """The rules of all public modules of this package, by the names that they have there."""
    found: dict[str, Rule] = {}
    for module in pkgutil.iter_modules(__path__):
        if not module.name.startswith("_"):
            names = vars(importlib.import_module(f"{__name__}.{module.name}"))
            found |= {name: value for name, value in names.items() if isinstance(value, Rule)}
    return found


#: Every rule by its name here, in alphabetical order of the modules.
RULES = _collected()
globals().update(RULES)

if TYPE_CHECKING:

    def __getattr__(name: str) -> Rule: ...
