"""``torch.optim``, name for name: the same numbers and checkpoints, faster.

Replace ``import torch.optim as optim`` by ``import downslope.optim as optim``; nothing else
changes. Read ``_optimizer.py`` for the step that all classes share.
"""

from __future__ import annotations

from ..errors import unknown
from . import lr_scheduler
from ._optimizer import Optimizer
from .adadelta import Adadelta
from .adagrad import Adagrad
from .adam import Adam, AdamW
from .adam_kin import Adamax, NAdam, RAdam
from .asgd import ASGD
from .rmsprop import RMSprop
from .rprop import Rprop
from .sgd import SGD, NormalizedSGD

__all__ = [
    "ASGD",
    "SGD",
    "Adadelta",
    "Adagrad",
    "Adam",
    "AdamW",
    "Adamax",
    "NAdam",
    "NormalizedSGD",
    "Optimizer",
    "RAdam",
    "RMSprop",
    "Rprop",
    "get",
    "lr_scheduler",
    "names",
]

_CLASSES: dict[str, type[Optimizer]] = {
    cls.__name__.lower(): cls
    for cls in (
        SGD, NormalizedSGD, RMSprop, Adagrad, Adadelta, Adam, AdamW, Adamax, NAdam, RAdam, Rprop,
        ASGD,
    )
}  # fmt: skip


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
