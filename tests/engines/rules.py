"""Rules that no shipped optimizer has: whole-tensor sums, and every function of ``xp``."""

from __future__ import annotations

from typing import Any

import numpy as np

from downslope.engines.program import Program
from downslope.engines.trace import trace
from downslope.engines.tracer import FUNCTIONS
from downslope.optim import Optimizer
from downslope.rules import Flag, Hyper, Rule, Slot

__all__ = [
    "EVERYTHING",
    "Everything",
    "Lamb",
    "everything_oracle",
    "lamb_oracle",
    "scaled_descent",
    "trace_of",
]

_LR = Hyper("lr", "step size", "eta", phrase="learning rate")


def lamb(xp: Any, p: Any, g: Any, average: Any, *, lr: Any, decay: Any) -> tuple[Any, Any]:
    """Momentum in the direction of the average, as long as the parameter is: two sums a tensor."""
    average = xp.lerp(average, g, 1 - decay)
    length, of_update = xp.sqrt(xp.sum(p * p)), xp.sqrt(xp.sum(average * average))
    trust = xp.where(of_update > 0, length / of_update, 1.0)
    return p - lr * trust * average, average


def lamb_oracle(p: Any, g: Any, average: Any, *, lr: float, decay: float) -> tuple[Any, Any]:
    """The same in NumPy."""
    average = decay * average + (1 - decay) * g
    length, of_update = np.sqrt((p * p).sum()), np.sqrt((average * average).sum())
    trust = length / of_update if of_update > 0 else 1.0
    return p - lr * trust * average, average


def everything(
    xp: Any, p: Any, g: Any, a: Any, *, lr: Any, step: Any, fresh: Any, numel: Any, flip: bool
) -> tuple[Any, Any]:
    """Every function that a formula may use, and every scalar that the host supplies."""
    bounded = xp.minimum(xp.maximum(g, -1.5), 1.5)
    angle = xp.atan2(bounded, xp.exp(-xp.abs(p)))
    a = xp.fma(0.5, a, xp.log(1 + xp.abs(angle)) * xp.sign(g))
    mean = xp.sum(xp.f64(a)) / xp.maximum(numel, 1.0)
    gain = xp.where(fresh > 0, 2.0, xp.f32(0.1) ** (1 / step))
    chosen = xp.where(g >= 0, a - mean, xp.where(p < 0, xp.sqrt(xp.abs(a)), a * a))
    if flip:
        chosen = -chosen
    near = xp.where(xp.abs(chosen) <= 0.5, chosen, xp.lerp(a, chosen, 0.25))
    return p - lr * gain * near / (1 + near**2), a


def everything_oracle(
    p: Any, g: Any, a: Any, *, lr: float, step: int, flip: bool
) -> tuple[Any, Any]:
    """The same in NumPy."""
    bounded = np.clip(g, -1.5, 1.5)
    angle = np.arctan2(bounded, np.exp(-np.abs(p)))
    a = 0.5 * a + np.log(1 + np.abs(angle)) * np.sign(g)
    mean = a.sum() / max(a.size, 1)
    gain = 2.0 if step == 1 else float(np.float32(0.1)) ** (1 / step)
    chosen = np.where(g >= 0, a - mean, np.where(p < 0, np.sqrt(np.abs(a)), a * a))
    chosen = -chosen if flip else chosen
    near = np.where(np.abs(chosen) <= 0.5, chosen, a + 0.25 * (chosen - a))
    return p - lr * gain * near / (1 + near**2), a


EVERYTHING = Rule(
    everything,
    "Every function of xp.",
    slots=(Slot("a", "an average", "a"),),
    hypers=(_LR,),
    flags=(Flag("flip"),),
)
assert set(FUNCTIONS) - {"sum", "total"} <= set(everything.__code__.co_names)


class Lamb(Optimizer):
    """The optimizer of :func:`lamb`."""

    rule = Rule(
        lamb,
        "Momentum as long as the parameter.",
        slots=(Slot("average", "mean of gradients", "m"),),
        hypers=(_LR, Hyper("decay", "share of the mean that is kept", "beta", high=1.0)),
    )

    def __init__(self, params: Any, lr: float = 0.1, decay: float = 0.9, **flags: Any) -> None:
        super().__init__(params, {"lr": lr, "decay": decay, **_flags(flags)})


class Everything(Optimizer):
    """The optimizer of :func:`everything`."""

    rule = EVERYTHING

    def __init__(self, params: Any, lr: float = 0.1, flip: bool = False, **flags: Any) -> None:
        super().__init__(params, {"lr": lr, "flip": flip, **_flags(flags)})


def _flags(given: dict[str, Any]) -> dict[str, Any]:
    none = {"maximize": False, "foreach": None, "differentiable": False, "fused": None}
    return none | given


def scaled_descent(factor: float) -> type[Optimizer]:
    """Gradient descent with a constant in its formula: same name and code, another number."""

    def descent(xp: Any, p: Any, g: Any, *, lr: Any) -> tuple[Any]:
        return (xp.fma(-lr * factor, g, p),)

    class Descent(Optimizer):
        rule = Rule(descent, "Descent.", slots=(), hypers=(_LR,), counts_steps=False)

        def __init__(self, params: Any, lr: float = 0.1, **flags: Any) -> None:
            super().__init__(params, {"lr": lr, **_flags(flags)})

    return Descent


def trace_of(rule: Rule) -> Program:
    """The program of a rule with all of its slots, and no flag."""
    return trace(
        rule, tuple(s.name for s in rule.slots), tuple((f.name, False) for f in rule.flags)
    )
