"""What LBFGS refuses."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from downslope.errors import InputError, InputTypeError
from downslope.optim import LBFGS

from .lbfgs_problem import run, start


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("lr", (np.nan, -0.1, np.inf, "1", None, torch.ones(2))),
        ("max_iter", (0, -1, 2.5, True, None)),
        ("max_eval", (0, 2.5, True)),
        ("history_size", (0, -1, 1.5, None)),
        ("tolerance_grad", (np.nan, "0", None)),
        ("tolerance_change", (np.nan, "0", None)),
        ("line_search_fn", ("armijo", True)),
    ],
)
def test_bad_arguments(name: str, values: tuple[Any, ...]) -> None:
    """Each is refused by name, in the constructor, in a group and when it is set later."""
    for value in values:
        params = start()
        with pytest.raises((InputError, InputTypeError), match=name):
            LBFGS(params, **{name: value})
        with pytest.raises((InputError, InputTypeError), match=name):
            LBFGS([{"params": params, name: value}])
        optimizer = LBFGS(params)
        optimizer.param_groups[0][name] = value
        with pytest.raises((InputError, InputTypeError), match=name):
            run(optimizer, 1)


@pytest.mark.parametrize(
    ("params", "word"),
    [
        (lambda: set(start()), "set"),
        (lambda: [torch.zeros(2, dtype=torch.int64)], "int64"),
        (lambda: [{"params": start(), "max_iters": 3}], "'max_iter'"),
    ],
)
def test_bad_parameters(params: Callable[[], Any], word: str) -> None:
    """A set, integers and a misspelt key are refused."""
    with pytest.raises((InputError, InputTypeError), match=word):
        LBFGS(params())


def test_what_a_step_needs() -> None:
    """A closure, and that it returns the loss."""
    optimizer = LBFGS(start())
    with pytest.raises(InputTypeError, match="closure"):
        optimizer.step()
    with pytest.raises(InputTypeError, match="loss"):
        optimizer.step(lambda: None)


def test_anothers_state_is_refused() -> None:
    """A state of Adam's names itself."""
    params = start()
    adam = torch.optim.Adam(params)
    run(adam, 1)
    with pytest.raises(InputError, match="exp_avg"):
        LBFGS(params).load_state_dict(adam.state_dict())
