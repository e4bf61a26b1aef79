"""The formulas and their specs: each update rule written once, as a pure function.

Read ``_rule.py`` for what a rule is, then ``adam.py`` for one. Nothing here imports torch.
"""

from __future__ import annotations

from ._rule import HOST_SCALARS, Flag, Hyper, Rule, Slot, beta
from .adadelta import ADADELTA
from .adagrad import ADAGRAD
from .adam import ADAM, ADAMAX, ADAMW, NADAM, RADAM
from .asgd import ASGD
from .rmsprop import RMSPROP
from .rprop import RPROP
from .sgd import NORMALIZED_SGD, SGD

__all__ = [
    "ADADELTA",
    "ADAGRAD",
    "ADAM",
    "ADAMAX",
    "ADAMW",
    "ASGD",
    "HOST_SCALARS",
    "NADAM",
    "NORMALIZED_SGD",
    "RADAM",
    "RMSPROP",
    "RPROP",
    "SGD",
    "Flag",
    "Hyper",
    "Rule",
    "Slot",
    "beta",
]
