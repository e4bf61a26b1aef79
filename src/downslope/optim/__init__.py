"""``torch.optim``, name for name: the same numbers and checkpoints, faster.

Replace ``import torch.optim as optim`` by ``import downslope.optim as optim``; nothing else
changes. Read ``_optimizer.py`` for the step that all classes share.
"""

from __future__ import annotations

from torch.optim import swa_utils, swap_in_optimizer_params_and_state

from ..errors import unknown
from . import declared, lr_scheduler
from ._declare import declare
from ._optimizer import Optimizer
from ._param_groups import ParamGroups, param_groups
from ._schedule_free import ScheduleFree
from .adadelta import Adadelta
from .adafactor import Adafactor
from .adagrad import Adagrad
from .adam import Adam, AdamW
from .adam_kin import Adamax, NAdam, NAdamW, RAdam
from .asgd import ASGD
from .clip import clip_grad_norm_, clip_grad_value_
from .declared import *  # noqa: F403  # one class a rule; the module lists them
from .lbfgs import LBFGS
from .muon import Muon
from .rmsprop import RMSprop
from .rprop import Rprop
from .sgd import SGD
from .sparse_adam import SparseAdam

__all__ = [
    "ASGD",
    "LBFGS",
    "SGD",
    "Adadelta",
    "Adafactor",
    "Adagrad",
    "Adam",
    "AdamW",
    "Adamax",
    "Muon",
    "NAdam",
    "NAdamW",
    "Optimizer",
    "ParamGroups",
    "RAdam",
    "RMSprop",
    "Rprop",
    "ScheduleFree",
    "SparseAdam",
    "clip_grad_norm_",
    "clip_grad_value_",
    "declare",
    "get",
    "lr_scheduler",
    "names",
    "param_groups",
    "swa_utils",
    "swap_in_optimizer_params_and_state",
]
__all__ += declared.__all__

_CLASSES: dict[str, type[Optimizer]] = {
    name.lower(): value
    for name, value in list(globals().items())
    if name in __all__ and isinstance(value, type) and hasattr(value, "rule")
}


def names() -> tuple[str, ...]:
    """The optimizers' names, in lower case.

    >>> "adamw" in names()
    True
    """
    return tuple(_CLASSES)


def get(name: str) -> type[Optimizer]:
    """The optimizer class of a name, in any case.

    >>> get("AdamW").__name__
    'AdamW'

    Raises:
        InputError: no such optimizer; the nearest names are offered.
    """
    if name.lower() not in _CLASSES:
        raise unknown("optimizer", name, _CLASSES)
    return _CLASSES[name.lower()]
