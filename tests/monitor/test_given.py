"""What a monitor is given: any number as a loss, rows, and what it refuses."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import downslope
from downslope import Monitor
from downslope.errors import InputError, InputTypeError


def network() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(3, 8), nn.ReLU(), nn.Linear(8, 2), nn.Tanh())


@pytest.mark.parametrize(
    "loss", [0.5, np.float32(0.5), torch.tensor(0.5), nn.Parameter(torch.tensor(0.5))]
)
def test_a_loss_may_be_any_number(loss: Any) -> None:
    """A float, numpy's, a tensor's."""
    model = network()
    events: list[dict[str, Any]] = []
    with Monitor(model, torch.optim.SGD(model.parameters()), on_event=[events.append]) as monitor:
        monitor.step(loss)
    assert [e["loss"] for e in events if e["event"] == "steps"] == [[0.5]]


def test_bad_arguments_are_refused() -> None:
    """One line: what came and what is allowed."""
    model = network()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with pytest.raises(InputTypeError, match="expected a torch module and an optimizer, got SGD"):
        Monitor(optimizer, model)  # type: ignore[arg-type]
    with pytest.raises(InputError, match="every = 0"):
        Monitor(model, optimizer, every=0)


@pytest.mark.parametrize("module", [True, False])
def test_the_best_constant_of_losses_of_probabilities(module: bool) -> None:
    """Outputs stay probabilities: the entropy of the targets, of functions and modules."""
    kinds = torch.tensor([0, 0, 0, 1])
    entropy = -(0.75 * math.log(0.75) + 0.25 * math.log(0.25))
    both = nn.BCELoss() if module else nn.functional.binary_cross_entropy
    several = nn.NLLLoss() if module else nn.functional.nll_loss
    found = [
        downslope.monitor.constant_loss(both, torch.zeros(4, 1), kinds[:, None].float()),
        downslope.monitor.constant_loss(several, torch.zeros(4, 2), kinds),
    ]
    assert found == pytest.approx([entropy, entropy], rel=1e-4)


def test_no_best_constant_of_a_loss_that_raises() -> None:
    """A loss of one's own may refuse outputs that no model of one's own would give."""

    def loss(outputs: Tensor, targets: Tensor) -> Tensor:
        return nn.functional.binary_cross_entropy(outputs, targets)  # between 0 and 1 only

    assert downslope.monitor.constant_loss(loss, torch.zeros(4, 1), torch.ones(4, 1)) is None
    with pytest.raises(InputTypeError, match=r"outputs is tuple .*, but it must be one tensor"):
        downslope.monitor.constant_loss(loss, (1, 2), torch.ones(4, 1))  # type: ignore[arg-type]


@pytest.mark.parametrize("wrong", [None, "low", torch.ones(3), {"loss": 0.5}, [0.5]])
def test_what_is_no_number_is_refused_and_nothing_is_lost(wrong: Any) -> None:
    """As a loss of a step or a validation: one line; the run can go on."""
    model = network()
    events: list[dict[str, Any]] = []
    with Monitor(model, torch.optim.SGD(model.parameters()), on_event=[events.append]) as monitor:
        with pytest.raises(InputTypeError, match=r"Monitor.step: the loss is .*loss.mean\(\)"):
            monitor.step(wrong)
        with pytest.raises(InputTypeError, match=r"Monitor.validation: the loss is .*one number"):
            monitor.validation(wrong)
        monitor.step(0.25)
        monitor.validation(0.5)
    assert [e["loss"] for e in events if "loss" in e] == [[0.25], 0.5]


def test_the_loss_of_constants_is_a_number() -> None:
    """A tensor of one is taken, in a file too; NaN and a tuple are not."""
    model = network()
    events: list[dict[str, Any]] = []
    optimizer = torch.optim.SGD(model.parameters())
    Monitor(model, optimizer, constant_loss=torch.tensor(0.5), on_event=[events.append]).close()
    assert events[0]["constant_loss"] == 0.5
    with pytest.raises(InputError, match="constant_loss = nan, but it must be finite"):
        Monitor(model, optimizer, constant_loss=math.nan)
    with pytest.raises(InputTypeError, match="constant_loss is tuple"):
        Monitor(model, optimizer, constant_loss=(1, 2))  # type: ignore[arg-type]


def test_nothing_is_told_to_a_closed_monitor() -> None:
    """It would be lost without a word."""
    model = network()
    monitor = Monitor(model, torch.optim.SGD(model.parameters()))
    monitor.close()
    monitor.close()
    x = torch.ones(2, 3)
    for tell in (
        lambda: monitor.step(0.5),
        lambda: monitor.validation(1.0),
        lambda: monitor.data(x, x),
    ):
        with pytest.raises(InputError, match="after close"):
            tell()


def test_data_may_be_arrays() -> None:
    """Of numpy; a dataset is not looked through, but what to do is said."""
    model = network()
    events: list[dict[str, Any]] = []
    with Monitor(model, torch.optim.SGD(model.parameters()), on_event=[events.append]) as monitor:
        monitor.data(np.eye(4), np.eye(4)[:1])
        with pytest.raises(InputTypeError, match="a row for each sample"):
            monitor.data(torch.utils.data.TensorDataset(torch.eye(4)), np.eye(4))  # type: ignore[arg-type]
    assert [e["shared"] for e in events if e["event"] == "data"] == [1.0]
