"""A rule may call its slots and scalars what it likes: no name of a kernel's own is in its way."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from downslope.optim import Optimizer, declare
from downslope.rules import Flag, Hyper, Rule, Slot

from ..optim.harness import assert_same, drive, gradients, leaves
from .test_agreement import each_dtype, each_engine, tensors

STEPS = 3


def hostile(
    xp: Any, p: Any, g: Any, c: Any, i: Any, n: Any, t0: Any, p_: Any, lanes: Any, b: Any, s1: Any,
    *, lr: Any, j: Any, h0: Any, total0: Any, done: Any,
    T: Any, sqrt: Any, x_new: Any, full: bool,  # noqa: N803  # as kernels have it
) -> tuple[Any, ...]:  # fmt: skip
    """Means of means, with names that kernels use themselves, in two passes."""
    c = xp.lerp(c, g, 1 - j)
    i = xp.lerp(i, c, 1 - h0)
    n = xp.fma(total0, n, i)
    t0 = t0 + xp.sqrt(xp.abs(n)) * done
    mean = xp.sum(t0 * t0)
    p_ = p_ * T + mean / (1 + mean)
    lanes = lanes + sqrt * p_
    b = b * x_new + j * done
    s1 = s1 + b * mean / (1 + mean)
    if full:
        n = n + 1
    return p - lr * (lanes + b * n + s1), c, i, n, t0, p_, lanes, b, s1


ARRAYS = ("c", "i", "n", "t0", "p_", "lanes")
SCALARS = {"lr": 0.1, "j": 0.9, "h0": 0.8, "total0": 0.7, "done": 0.6, "T": 0.5, "sqrt": 0.4}
HOSTILE = Rule(
    hostile,
    "Means of means.",
    slots=(
        *(Slot(name, "", name) for name in ARRAYS),
        Slot("b", "", "b", scalar=True, exact=True),
        Slot("s1", "", "s_1", scalar=True, exact=True),
    ),
    hypers=tuple(Hyper(name, "", name) for name in (*SCALARS, "x_new")),
    flags=(Flag("full"),),
    counts_steps=False,
)


class Hostile(Optimizer):
    """The optimizer of :func:`hostile`."""

    rule = HOSTILE

    def __init__(self, params: Any, **flags: Any) -> None:
        none = {"maximize": False, "foreach": None, "differentiable": False, "fused": None}
        super().__init__(params, {**SCALARS, "x_new": 0.3, "full": True, **none, **flags})


def oracle(p: Any, gs: list[Any]) -> Any:
    """The same in NumPy."""
    c = i = n = t0 = p_ = lanes = b = s1 = 0.0
    for g in gs:
        c = 0.9 * c + 0.1 * g
        i = 0.8 * i + 0.2 * c
        n = 0.7 * n + i
        t0 = t0 + np.sqrt(np.abs(n)) * 0.6
        mean = (t0 * t0).sum()
        p_ = p_ * 0.5 + mean / (1 + mean)
        lanes = lanes + 0.4 * p_
        b = b * 0.3 + 0.9 * 0.6
        s1 = s1 + b * mean / (1 + mean)
        n = n + 1
        p = p - 0.1 * (lanes + b * n + s1)
    return p


def ends(start: tuple[torch.Tensor, ...], rows: Any) -> list[torch.Tensor]:
    """Where the oracle goes."""
    found = [
        torch.from_numpy(oracle(t.double().numpy(), [row[k].double().numpy() for row in rows]))
        for k, t in enumerate(start)
    ]
    return [end.to(t.dtype) for end, t in zip(found, start, strict=True)]


@each_engine
@each_dtype
def test_any_names(flags: dict[str, Any], dtype: torch.dtype) -> None:
    """Slots c, i, n, t0..., scalars j, h0, T...: the oracle's numbers in every engine."""
    start = tensors(dtype)[1:]
    rows = gradients(start, STEPS)
    params = leaves(start, flags)
    drive(Hostile(params, **flags), rows)
    assert_same(params, ends(start, rows))


@pytest.mark.parametrize("name", ["gain", "factor", "unit", "clip_value", "step"])
def test_names_of_the_engines_are_refused(name: str) -> None:
    """A few names mean something to all engines; such a rule makes no class."""
    space: dict[str, Any] = {}
    exec(f"def descent(xp, p, g, *, {name}): return (p - {name} * g,)", space)
    rule = Rule(
        space["descent"],
        "",
        class_name="Descent",
        slots=(),
        hypers=(Hyper(name, "", name, default=0.1),),
        counts_steps=False,
    )
    with pytest.raises(TypeError, match=f"'{name}' is a name of the engines' own"):
        declare(rule)
