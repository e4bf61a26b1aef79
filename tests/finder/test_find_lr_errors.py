"""What the range test refuses."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch.utils.data import DataLoader, TensorDataset

from downslope import find_lr, optim
from downslope.errors import InputError, InputTypeError
from downslope.schedules import cosine

from .problems import line_task, problem, sweep

BAD: dict[str, tuple[dict[str, Any], str]] = {
    "start 0": ({"start": 0}, "need 0 < start < end, got start=0"),
    "start nan": ({"start": math.nan}, "start must be a finite number, got nan"),
    "end before start": ({"end": 1e-8}, "need 0 < start < end"),
    "iterations": ({"iterations": 9}, "iterations must be a whole number >= 10, got 9"),
    "growth": ({"growth": "exponental"}, "Unknown growth 'exponental'. Did you mean 'exponential'"),
    "clip_norm": ({"clip_norm": -1.0}, "clip_norm must be a number > 0 or None, got -1.0"),
    "steps": ({"steps": 0}, "steps must be a whole number >= 1, got 0"),
    "no batches": ({"loader": []}, "the loader is empty"),
    "an iterator": (
        {"loader": iter(problem()[1])},
        "ended after 4 batches and gives none when read again",
    ),
    "dict batches": ({"loader": [{"x": 1}]}, r"must give \(inputs, targets\), got dict"),
    "inputs alone": ({"loader": DataLoader(TensorDataset(torch.ones(4, 4)))}, "got list of 1"),
    "a vector loss": ({"loss_fn": lambda o, t: o - t}, r"one number .* tensor of shape \(16, 1\)"),
    "a float loss": ({"loss_fn": lambda o, t: 0.5}, "one number as a tensor, got 0.5"),
}


@pytest.mark.parametrize(("options", "message"), BAD.values(), ids=BAD)
def test_bad_input_is_refused(options: dict[str, Any], message: str) -> None:
    """The error says what came and what is allowed."""
    with pytest.raises((InputError, InputTypeError), match=message):
        sweep(**options)


def test_a_scheduled_lr_is_refused() -> None:
    """An optimizer that sets its own lr at each step would make the sweep a lie."""
    model, _ = problem()
    scheduled = optim.SGD(model.parameters(), lr=0.5 * cosine(50))
    with pytest.raises(InputError, match=r"set its own lr .* build it with a number"):
        sweep(model=model, optimizer=scheduled)


def test_an_optimizer_of_another_model_is_refused() -> None:
    """Its steps would change nothing, and the answer would be about nothing."""
    other, _ = problem()
    with pytest.raises(InputError, match=r"optimizer \(SGD\) has no parameter of this model"):
        sweep(optimizer=optim.SGD(other.parameters()))


def test_wrong_arguments_say_what_was_meant() -> None:
    """Anything but the two forms is an error that names the types that came."""
    model, _ = problem()
    with pytest.raises(InputTypeError, match=r"or a task, got \(Linear, NoneType, NoneType, str\)"):
        find_lr(model)  # type: ignore[call-overload]  # on purpose
    with pytest.raises(InputTypeError, match="with a task, optimizer must be a name, got SGD"):
        find_lr(line_task(), optimizer=optim.SGD(model.parameters()))  # type: ignore[call-overload]  # on purpose
    with pytest.raises(InputError, match="Unknown argument of AdamW 'momentum'"):
        find_lr(line_task(), hyperparameters={"momentum": 0.9})
    with pytest.raises(InputError, match="Unknown optimizer 'adamv'"):
        find_lr(line_task(), optimizer="adamv")
