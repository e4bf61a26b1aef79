"""LBFGS: torch's to the bit, and the line search's promises."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import Parameter

from downslope.errors import InputError
from downslope.optim import LBFGS
from downslope.optim._line_search import FALL, SLOPE, Point, strong_wolfe
from downslope.schedules import constant, linear

from .harness import assert_same_bits, detached, snapshot
from .lbfgs_problem import WHOLE, rosenbrock, run, start

VARIANTS: tuple[dict[str, Any], ...] = (
    {"lr": 2e-3},
    {"lr": 0.05, "history_size": 3, "max_iter": 7},
    {"lr": torch.tensor(0.3)},
    {"line_search_fn": "strong_wolfe"},
    {"line_search_fn": "strong_wolfe", "lr": torch.tensor(0.3), "history_size": 3},
    {"line_search_fn": "strong_wolfe", "lr": 0.05, "max_iter": 7},
    {"line_search_fn": "strong_wolfe", "max_eval": 3},
    {"line_search_fn": "strong_wolfe", "tolerance_grad": 1.0, "tolerance_change": 1e-3},
)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("kwargs", VARIANTS, ids=str)
def test_has_torchs_bits(kwargs: dict[str, Any], dtype: torch.dtype) -> None:
    """Same losses at every call of the closure, same parameters, same state."""
    ours, theirs = start(dtype), start(dtype)
    mine, twin = LBFGS(ours, **kwargs), torch.optim.LBFGS(theirs, **kwargs)
    assert run(mine, 5) == run(twin, 5)
    assert_same_bits(detached(ours), detached(theirs))
    mine_state, twin_state = mine.state_dict()["state"][0], twin.state_dict()["state"][0]
    assert mine_state.keys() == twin_state.keys()
    for key, value in twin_state.items():
        flat = value if isinstance(value, list) else [value]
        kept = mine_state[key] if isinstance(value, list) else [mine_state[key]]
        assert [type(v) for v in kept] == [type(v) for v in flat], key
        assert all(torch.equal(*map(torch.as_tensor, pair)) for pair in _known(kept, flat)), key


def _known(a: list[Any], b: list[Any]) -> Iterator[tuple[Any, Any]]:
    return ((x, y) for x, y in zip(a, b, strict=True) if y is not None)


@pytest.mark.parametrize("way", ["torch-to-ours", "ours-to-torch"])
@pytest.mark.parametrize("search", [None, "strong_wolfe"])
def test_the_other_resumes(way: str, search: str | None) -> None:
    """A state saved in mid-trajectory is resumed by the other, to the same bits."""
    kwargs = {"lr": 0.05, "line_search_fn": search, "max_iter": 4}
    unbroken = start()
    run(torch.optim.LBFGS(unbroken, **kwargs), 6)
    first, then = (
        (torch.optim.LBFGS, LBFGS) if way == "torch-to-ours" else (LBFGS, torch.optim.LBFGS)
    )
    params = start()
    optimizer = first(params, **kwargs)
    run(optimizer, 3)
    resumed = then(params)
    resumed.load_state_dict(snapshot(optimizer))
    run(resumed, 3)
    assert_same_bits(detached(params), detached(unbroken))


def test_direction_is_that_of_the_hessians_estimate() -> None:
    """The two loops give -H g, H being the matrix of Nocedal & Wright's (7.16) written out."""
    make = torch.Generator().manual_seed(3)
    root = torch.randn(6, 6, generator=make).double()
    matrix = (root @ root.T + torch.eye(6)).numpy()
    w = Parameter(torch.randn(6, generator=make).double())
    x, xs, gs, lr = w.detach().numpy().copy(), [], [], 0.1
    optimizer = LBFGS([w], lr=lr, max_iter=8, history_size=4, tolerance_change=0)
    run(optimizer, 1, f=lambda p: 0.5 * p @ torch.from_numpy(matrix) @ p)
    for k in range(8):
        g = matrix @ x
        xs.append(x)
        gs.append(g)
        inverse = np.eye(6)
        for i in range(max(k - 4, 0), k):
            s, y = xs[i + 1] - xs[i], gs[i + 1] - gs[i]
            if i == max(k - 4, 0):
                last_s, last_y = xs[k] - xs[k - 1], gs[k] - gs[k - 1]
                inverse = inverse * (last_s @ last_y) / (last_y @ last_y)
            v = np.eye(6) - np.outer(y, s) / (y @ s)
            inverse = v.T @ inverse @ v + np.outer(s, s) / (y @ s)
        x = x - (min(1, 1 / np.abs(g).sum()) if k == 0 else 1) * lr * (inverse @ g)
    np.testing.assert_allclose(w.detach().numpy(), x, rtol=1e-11)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.floats(-3, 3), min_size=3, max_size=3),
    st.floats(1e-3, 1e3),
    st.floats(0.05, 2),
)
def test_search_keeps_its_promises(waves: list[float], first: float, width: float) -> None:
    """Both of Wolfe's conditions hold where a search of a smooth function with a bound ends."""

    def f(x: float) -> tuple[float, float]:
        values = [a * np.sin((k + 1) * x) for k, a in enumerate(waves)]
        slopes = [a * (k + 1) * np.cos((k + 1) * x) for k, a in enumerate(waves)]
        bowl = width * (x - 1) ** 2
        return float(sum(values) + bowl), float(sum(slopes) + 2 * width * (x - 1))

    sign = -1.0 if f(0.0)[1] > 0 else 1.0  # downhill

    def at(step: Any) -> Point:
        loss, slope = f(sign * float(step))
        grad = torch.tensor([slope], dtype=torch.float64)
        return Point.of(step, loss, grad, torch.tensor([sign], dtype=torch.float64))

    origin = at(0.0)
    point, _ = strong_wolfe(at, origin, first, longest=1.0, tolerance=1e-14, most=200)
    if abs(origin.slope) < 1e-6:
        return  # already flat
    assert point.loss <= origin.loss + FALL * point.step * origin.slope
    assert abs(point.slope) <= -SLOPE * origin.slope


def test_finds_rosenbrocks_minimum() -> None:
    """From the classic start, in fewer than 60 evaluations, to eight digits."""
    w = Parameter(torch.tensor([-1.2, 1.0], dtype=torch.float64))
    losses = run(LBFGS([w], **WHOLE, tolerance_change=0), 1, f=rosenbrock)
    assert len(losses) < 60
    torch.testing.assert_close(w.detach(), torch.ones_like(w), rtol=0, atol=1e-8)


def test_complex_parameters_are_pairs_of_reals() -> None:
    """A complex parameter steps as the vector of its real and imaginary parts, and as torch's."""
    z = torch.tensor([0.3 + 2j, -1 + 0.5j], dtype=torch.complex128)
    pairs, ours, theirs = Parameter(torch.view_as_real(z).clone()), Parameter(z.clone()), z.clone()

    def f(x: Tensor) -> Tensor:
        x = x if x.is_complex() else torch.view_as_complex(x)
        return ((x**2 - (1 + 1j)).abs() ** 2).sum()

    run(LBFGS([ours], **WHOLE), 1, f=f)
    run(LBFGS([pairs], **WHOLE), 1, f=f)
    run(torch.optim.LBFGS([theirs.requires_grad_()], **WHOLE), 1, f=f)
    assert_same_bits([ours.detach()], [theirs.detach()])
    assert_same_bits([torch.view_as_real(ours.detach())], [pairs.detach()])
    torch.testing.assert_close(ours.detach() ** 2, torch.full_like(z, 1 + 1j), rtol=0, atol=1e-4)


def test_gradients_of_any_layout() -> None:
    """A gradient in another layout (torch raises), a sparse one and none at all."""
    target = torch.randn(2, 3, 4, 5, dtype=torch.float64)
    conv, rows, idle = torch.zeros(2, 3, 4, 5).double(), torch.zeros(4, 2).double(), torch.ones(3)
    params = [Parameter(conv), Parameter(rows), Parameter(idle)]
    optimizer = LBFGS(params, **WHOLE)

    def closure() -> float:
        gap = params[0].detach() - target
        params[0].grad = (2 * gap).contiguous(memory_format=torch.channels_last)
        params[1].grad = (2 * (params[1].detach() - 1)).to_sparse()
        return float((gap**2).sum() + ((params[1].detach() - 1) ** 2).sum())

    optimizer.step(closure)
    torch.testing.assert_close(params[0].detach(), target)
    torch.testing.assert_close(params[1].detach(), torch.ones(4, 2).double())
    assert torch.equal(params[2].detach(), torch.ones(3))


@pytest.mark.parametrize("twin", [copy.deepcopy, lambda o: pickle.loads(pickle.dumps(o))])
def test_a_copy_goes_on(twin: Callable[[LBFGS], LBFGS]) -> None:
    """A copied or unpickled optimizer goes on alike; torch's has lost its parameters."""
    optimizer = LBFGS(start(), lr=linear(4, end=0.1), **WHOLE | {"max_iter": 3})
    run(optimizer, 2)
    other = twin(optimizer)
    assert run(other, 2) == run(optimizer, 2)


def test_when_evaluations_run_out_the_lowest_point_is_taken() -> None:
    """No search ends higher than it began, however few evaluations it may use."""
    for most in range(1, 6):
        params = start()
        losses = run(LBFGS(params, line_search_fn="strong_wolfe", max_eval=most, lr=30.0), 1)
        after = rosenbrock(params[0]) + (params[1] ** 4).sum()
        assert after <= losses[0]


def test_more_than_one_group() -> None:
    """Refused in the constructor and later, in torch's words."""
    a, b = start()
    words = r"LBFGS doesn't support per-parameter options \(parameter groups\)"
    with pytest.raises(ValueError, match=words):
        torch.optim.LBFGS([{"params": [a]}, {"params": [b]}])
    with pytest.raises(InputError, match=words):
        LBFGS([{"params": [a]}, {"params": [b]}])
    with pytest.raises(InputError, match=words):
        LBFGS([a]).add_param_group({"params": [b]})


def test_lr_may_be_a_schedule() -> None:
    """The schedule's value at each call of step; a resumed optimizer goes on with it."""
    schedule = linear(4, start=0.05, end=0.01)
    ours, theirs = start(), start()
    mine, twin = LBFGS(ours, lr=schedule), torch.optim.LBFGS(theirs, lr=0.05)
    for k in range(4):
        twin.param_groups[0]["lr"] = float(schedule(k))
        if k == 2:
            saved = snapshot(mine)
            mine = LBFGS(ours, lr=schedule)
            mine.load_state_dict(saved)
        assert run(mine, 1) == run(twin, 1)


def test_a_shorter_memory_takes_effect() -> None:
    """``history_size`` may be lowered between steps (torch's memory keeps its size)."""
    optimizer = LBFGS(start(), **WHOLE | {"max_iter": 8})
    run(optimizer, 1)
    optimizer.param_groups[0]["history_size"] = 2
    run(optimizer, 1)
    state = optimizer.state[optimizer.param_groups[0]["params"][0]]
    assert len(state["old_dirs"]) == len(state["old_stps"]) == len(state["ro"]) == 2


def test_lr_of_zero_stands_still() -> None:
    """A schedule that has come to zero ends the step and moves nothing."""
    params = start()
    run(LBFGS(params, lr=constant(value=0.0)), 2)
    assert_same_bits(detached(params), detached(start()))
