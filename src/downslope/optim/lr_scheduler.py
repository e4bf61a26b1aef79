"""torch's scheduler classes: same arguments, same state-dict keys, same sequences, no surprises.

Each class is a subclass of torch's own of the same name, so every ``isinstance`` check of the
ecosystem passes and a state dict goes both ways. What is ours:

- the formulas, which are those of :mod:`downslope.schedules`: nothing drifts, and a resumed run has
  the bits of one that was not interrupted, however it is put together and in whatever order the
  optimizer and the scheduler are built and loaded;
- :class:`SequentialLR` and :class:`ChainedScheduler` can be nested, resumed, and hold a
  :class:`ReduceLROnPlateau`;
- a call of ``step`` does nothing where a ``GradScaler`` skipped the optimizer's step;
- parameter groups may be added later; tensor learning rates are never shared;
- ``verbose=True`` prints a line at each change;
- arguments that torch accepts and cannot serve are errors, and so is a state of another class.

As in torch, most classes multiply the learning rate they *find* by the ratio of two factors, so
several can drive one optimizer together; ``LambdaLR``, ``CyclicLR``, ``OneCycleLR`` and
``CosineAnnealingWarmRestarts`` set it. Prefer a :class:`~downslope.schedules.Schedule` as ``lr=``
where you can: it needs no ``scheduler.step()`` and cannot get out of step with the optimizer.
"""

from __future__ import annotations

from torch.optim.lr_scheduler import LRScheduler

from ._composed_lr import ChainedScheduler, SequentialLR
from ._cycle_lr import CosineAnnealingWarmRestarts, CyclicLR, OneCycleLR
from ._factor_lr import (
    ConstantLR,
    CosineAnnealingLR,
    ExponentialLR,
    LinearLR,
    MultiStepLR,
    PolynomialLR,
    StepLR,
)
from ._function_lr import LambdaLR, MultiplicativeLR
from ._plateau_lr import ReduceLROnPlateau

__all__ = [
    "ChainedScheduler",
    "ConstantLR",
    "CosineAnnealingLR",
    "CosineAnnealingWarmRestarts",
    "CyclicLR",
    "ExponentialLR",
    "LRScheduler",
    "LambdaLR",
    "LinearLR",
    "MultiStepLR",
    "MultiplicativeLR",
    "OneCycleLR",
    "PolynomialLR",
    "ReduceLROnPlateau",
    "SequentialLR",
    "StepLR",
]
