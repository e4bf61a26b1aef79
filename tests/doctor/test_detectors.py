"""Each cause in a run that has it, and silence about the same run without it.

The runs are small and real: a network on the bundled digits, watched by a monitor.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cache
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from downslope import Monitor
from downslope.doctor import Doctor, History, diagnose, findings
from downslope.monitor import constant_loss
from downslope.optim import SGD, AdamW

STEPS = 60


@cache
def digits() -> tuple[Tensor, Tensor, Tensor, Tensor]:
    from sklearn.datasets import load_digits

    bunch = load_digits()
    x = torch.tensor(bunch.data / 16, dtype=torch.float32)
    y = torch.tensor(bunch.target)
    return x[:1400], y[:1400], x[1400:], y[1400:]


def network() -> nn.Sequential:
    return nn.Sequential(
        nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 32), nn.ReLU(), nn.Linear(32, 10)
    )


def deep(activation: type[nn.Module], gain: float, depth: int) -> nn.Sequential:
    layers: list[nn.Module] = []
    for k in range(depth):
        linear = nn.Linear(64 if k == 0 else 24, 24)
        nn.init.normal_(linear.weight, std=gain / math.sqrt(linear.in_features))
        nn.init.zeros_(linear.bias)
        layers += [linear, activation()]
    return nn.Sequential(*layers, nn.Linear(24, 10))


def run(
    model: Callable[[], nn.Module] = network,
    *,
    lr: float = 3e-3,
    optimizer: Callable[..., torch.optim.Optimizer] = AdamW,
    steps: int = STEPS,
    rows: int | None = None,
    batch: int = 64,
    clears: bool = True,
    repeats: bool = False,
    shuffled: bool = False,
    wrong_labels: int = 0,
    scale: float = 1.0,
    loss_scale: float = 1.0,
    decays_until: int | None = None,
    parameters: Callable[[nn.Module], Any] = lambda m: m.parameters(),
    **arguments: Any,
) -> list[dict[str, Any]]:
    """Train on digits with one thing changed; returns the events."""
    x, y, held_x, held_y = digits()
    x, y, held_x = scale * x[:rows], y[:rows].clone(), scale * held_x
    if wrong_labels:
        y[::wrong_labels] = (y[::wrong_labels] + 1) % 10
    torch.manual_seed(0)
    if shuffled:
        y = y[torch.randperm(len(y))]
    net = model()
    stepper = optimizer(parameters(net), lr=lr, **arguments)
    loss_of = nn.functional.cross_entropy
    worthless = constant_loss(loss_of, net(x[:256]), y[:256])
    events: list[dict[str, Any]] = []
    with Monitor(
        net,
        stepper,
        total_steps=steps,
        constant_loss=worthless,
        on_event=[events.append],
        budget=math.inf,
    ) as monitor:
        for step in range(steps):
            if step % (steps // 6) == 0:
                with torch.no_grad():
                    monitor.validation(float(loss_of(net(held_x), held_y)))
            share = 1 - step / (decays_until or steps)
            stepper.param_groups[0]["lr"] = lr * max(share, 0.0)
            at = torch.arange(batch) if repeats else torch.randint(len(x), (batch,))
            with torch.autocast("cpu", torch.float16, enabled=loss_scale != 1):
                outputs = net(x[at])
            loss = loss_scale * loss_of(outputs, y[at])
            if clears:
                stepper.zero_grad()
            loss.backward()
            stepper.step()
            monitor.step(loss)
    return events


def dead() -> nn.Module:
    net = network()
    with torch.no_grad():
        net[0].bias.sub_(10)
    return net


class Cut(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return torch.zeros_like(x)


class Logarithm(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return torch.log(x - x.amax())


def with_layer(layer: nn.Module) -> Callable[[], nn.Module]:
    def build() -> nn.Module:
        net = network()
        net.insert(4, layer)
        return net

    return build


class Spare(nn.Module):
    """A layer that is built and never called."""

    def __init__(self) -> None:
        super().__init__()
        self.net, self.spare = network(), nn.Linear(2, 2)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.net(x)
        return out


FAULTS: dict[str, tuple[str, dict[str, Any]]] = {
    "rate": ("lr too high", {"lr": 1.0}),
    "divergence": ("lr too high", {"lr": 1e4, "optimizer": SGD}),
    "crawl": ("lr too low", {"lr": 1e-6}),
    "no zero_grad": ("gradients not cleared", {"clears": False}),
    "nan": ("not a number", {"model": with_layer(Logarithm())}),
    "sigmoids": ("vanishing gradients", {"model": lambda: deep(nn.Sigmoid, 1.0, 12)}),
    "lost signal": ("vanishing gradients", {"model": lambda: deep(nn.Tanh, 0.2, 12)}),
    "gain": ("exploding gradients", {"model": lambda: deep(nn.ReLU, 6.0, 8)}),
    "flat": ("saturated activations", {"model": lambda: deep(nn.Tanh, 40.0, 3)}),
    "dead": ("dead units", {"model": dead}),
    "cut": ("constant outputs", {"model": with_layer(Cut())}),
    "left out": ("parameters not trained", {"parameters": lambda m: list(m.parameters())[-2:]}),
    "spare": ("parameters not trained", {"model": Spare}),
    "raw pixels": ("inputs not scaled", {"scale": 255.0}),
    "decay": ("weight decay too strong", {"weight_decay": 50.0}),
    "half": ("float16 underflow", {"loss_scale": 1e-7}),
    "schedule": ("schedule ended early", {"decays_until": 20}),
    "one batch": ("data repeats", {"repeats": True, "steps": 120}),
    "labels": ("labels do not match", {"shuffled": True, "steps": 120}),
    "few rows": ("overfitting", {"rows": 150, "wrong_labels": 3, "lr": 1e-2, "steps": 240}),
}


@pytest.mark.parametrize("name", FAULTS)
def test_the_cause_is_named_first(name: str) -> None:
    """A run with one fault: its cause is the first finding."""
    cause, changed = FAULTS[name]
    found = diagnose(run(**changed))
    assert [f.cause for f in found][:1] == [cause]
    assert found[0].remedy
    assert found[0].evidence


@pytest.mark.parametrize("optimizer", [AdamW, SGD])
def test_a_healthy_run_is_left_in_peace(optimizer: Any) -> None:
    """Nothing is said at any time of a run that learns."""
    lr = {AdamW: 3e-3, SGD: 0.1}[optimizer]
    events = run(optimizer=optimizer, lr=lr, steps=120)
    whole = History.of(events)
    assert [findings(whole.until(step)) for step in range(4, 121, 4)] == [[]] * 30


def test_a_last_layer_that_begins_at_zero_is_no_fault() -> None:
    """Constant outputs and gradients of 0 in the first step only."""

    def zeroed() -> nn.Module:
        net = network()
        nn.init.zeros_(net[-1].weight)
        nn.init.zeros_(net[-1].bias)
        return net

    assert diagnose(run(zeroed)) == []


def test_a_loss_that_grows_thirty_times_larger_changes_nothing() -> None:
    """What is said does not depend on the unit of the loss."""
    events = run(lr=1.0)
    scaled = [
        {**e, "loss": [None if v is None else 30 * v for v in e["loss"]]}
        if e["event"] == "steps"
        else {**e, "loss": 30 * e["loss"]}
        if e["event"] == "validation"
        else e
        for e in events
    ]
    assert [f.cause for f in diagnose(scaled)] == [f.cause for f in diagnose(events)]


def test_the_doctor_speaks_once_and_early() -> None:
    """Live: each finding is told once, the first within 50 steps."""
    told: list[tuple[str, int]] = []
    doctor = Doctor(tell=lambda finding: told.append((finding.cause, finding.step)))
    for event in run(lr=1.0):
        doctor(event)
    assert len({cause for cause, _ in told}) == len(told) > 0
    assert told[0][0] == "lr too high"
    assert told[0][1] <= 50


def test_records_without_a_monitor_are_read_too() -> None:
    """Losses alone show a rate that is too high."""
    events = [{"event": "train", "step": k, "loss": 1.5**k, "lr": 1.0} for k in range(1, 40)]
    assert [f.cause for f in diagnose(events)] == ["lr too high"]
    assert diagnose([]) == []
