"""LBFGS where a loss or a gradient is no number, or the closure fails."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import Parameter

from downslope.errors import NonfiniteLossError
from downslope.optim import LBFGS

from .harness import assert_same_bits, detached
from .lbfgs_problem import WHOLE, closure_of, run, start


def test_search_turns_back_where_the_loss_is_not_a_number() -> None:
    """The first step leaves the logarithm's domain; torch breaks down there."""

    def f(w: Tensor) -> Tensor:
        return (w - w.log()).sum()

    ours, theirs = (Parameter(torch.tensor([3.0, 0.2], dtype=torch.float64)) for _ in range(2))
    run(LBFGS([ours], **WHOLE | {"lr": 100.0}), 1, f=f)
    torch.testing.assert_close(ours.detach(), torch.ones_like(ours), rtol=0, atol=1e-4)
    with pytest.raises(IndexError):
        run(torch.optim.LBFGS([theirs], **WHOLE | {"lr": 100.0}), 1, f=f)


POLICIES: dict[str, Any] = {
    "raise": partial(pytest.raises, NonfiniteLossError),
    "skip": partial(pytest.warns, UserWarning),
}


@pytest.mark.parametrize("policy", POLICIES)
def test_fixed_step_to_where_the_loss_is_not_a_number(policy: Any) -> None:
    """One clear word; parameters and memory stay where the loss was finite."""
    w = Parameter(torch.tensor([3.0]))
    optimizer = LBFGS([w], lr=1.0, on_nonfinite=policy)

    def f(p: Tensor) -> Tensor:
        return -(p**2).sum() + (4 - p**2 / 4).log().sum()

    with POLICIES[policy](match=r"the loss is -?(nan|inf).*lr"):
        run(optimizer, 5, f=f)
    assert f(w).isfinite()
    assert all(torch.as_tensor(v).isfinite().all() for v in _numbers(optimizer.state[w]))


def _numbers(state: dict[str, Any]) -> Iterator[Any]:
    lists = (v if isinstance(v, list) else [v] for v in state.values())
    return (v for values in lists for v in values if v is not None)


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize(("loss", "grad"), [(np.nan, 1.0), (np.inf, 1.0), (1.0, np.nan)])
def test_start_where_the_loss_is_not_a_number(loss: float, grad: float, policy: Any) -> None:
    """A step that begins with a loss or gradient that is not finite moves nothing."""
    w = Parameter(torch.ones(2))
    optimizer = LBFGS([w], **WHOLE, on_nonfinite=policy)

    def closure() -> float:
        w.grad = torch.full((2,), grad)
        return loss

    with POLICIES[policy](match=r"not finite|nan|inf"):
        optimizer.step(closure)
    assert torch.equal(w.detach(), torch.ones(2))


@pytest.mark.parametrize("search", [None, "strong_wolfe"])
def test_a_closure_that_fails_changes_nothing(search: str | None) -> None:
    """The parameters are where the last iteration left them, and the next step goes on."""
    params = start()
    optimizer = LBFGS(params, lr=0.01, line_search_fn=search)
    run(optimizer, 1)
    before = [p.detach().clone() for p in params]
    closure, losses = closure_of(optimizer)

    def failing() -> Tensor:
        if len(losses) == 1:
            raise KeyboardInterrupt
        return closure()

    with pytest.raises(KeyboardInterrupt):
        optimizer.step(failing)
    assert_same_bits(detached(params), before)
    assert min(run(optimizer, 1)) < losses[0]
