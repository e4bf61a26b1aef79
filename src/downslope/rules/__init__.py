"""The formulas and their specs: each update rule written once, as a pure function.

Read ``_rule.py`` for what a rule is, then ``adam.py`` for one. Nothing here imports torch.
"""

from __future__ import annotations

from ._rule import HOST_SCALARS, Flag, Hyper, Rule, Slot, beta
from .adagrad import ADAGRAD
from .adam import ADAM, ADAMW
from .rmsprop import RMSPROP
from .sgd import NORMALIZED_SGD, SGD

__all__ = [
    "ADAGRAD",
    "ADAM",
    "ADAMW",
    "HOST_SCALARS",
    "NORMALIZED_SGD",
    "RMSPROP",
    "SGD",
    "Flag",
    "Hyper",
    "Rule",
    "Slot",
    "beta",
]
