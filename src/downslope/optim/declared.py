"""The optimizers whose classes are declared from their rules: all rules that have a class_name.

``declared.pyi`` beside this file says the same to type checkers and editors; ``make stubs`` writes
it.
"""

from __future__ import annotations

from ..rules import RULES
from ._declare import declare

__all__ = [rule.class_name for rule in RULES.values() if rule.class_name]

globals().update(
    {rule.class_name: declare(rule, __name__) for rule in RULES.values() if rule.class_name}
)
