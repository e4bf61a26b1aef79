"""Each cause in a run that has it, and silence about the same run without it.

The runs are small and real: a network on the bundled digits, watched by a monitor.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from downslope import Monitor
from downslope.doctor import Doctor, History, diagnose, findings, trace
from downslope.monitor import constant_loss
from downslope.optim import SGD, AdamW
from downslope.tasks.tables.model import TableModel

from .made import causes_of

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
    low_from: int | None = None,
    constant: bool = False,
    warmup: int = 0,
    leaks: int = 0,
    parameters: Callable[[nn.Module], Any] = lambda m: m.parameters(),
    **arguments: Any,
) -> list[dict[str, Any]]:
    """Train on digits with one thing changed; returns the events."""
    x, y, held_x, held_y = digits()
    x, y, held_x = scale * x[:rows], y[:rows].clone(), scale * held_x
    x, y = torch.cat([x, held_x[:leaks]]), torch.cat([y, held_y[:leaks]])
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
        monitor.data(x, held_x)
        for step in range(steps):
            if step % (steps // 6) == 0:
                with torch.no_grad():
                    monitor.validation(float(loss_of(net(held_x), held_y)))
            share = 1.0 if constant else max(0.0, 1 - step / (decays_until or steps))
            share = 0.01 if low_from is not None and step >= low_from else share
            for group in stepper.param_groups:
                group["lr"] = lr * share * min(1.0, (step + 1) / (warmup + 1))
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


def norms_decay(net: nn.Module, decay: float = 50.0) -> list[dict[str, Any]]:
    """Biases in a group of their own, with weight decay."""
    parts: dict[bool, list[nn.Parameter]] = {False: [], True: []}
    for p in net.parameters():
        parts[p.dim() == 1].append(p)
    return [
        {"params": parts[False], "weight_decay": 0.0},
        {"params": parts[True], "weight_decay": decay},
    ]


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
    "one row": ("batch too small", {"batch": 1}),
    "all rows": ("batch too large", {"batch": 1400, "steps": 12}),
    "cold start": ("warmup missing", {"lr": 0.04}),
    "swinging": (
        "lr too high",
        {
            "optimizer": SGD,
            "lr": 0.4,
            "momentum": 0.97,
            "constant": True,
            "steps": 120,
            "warmup": 9,
        },
    ),
    "low too early": ("schedule ended early", {"low_from": 10}),
    "biases decay": ("decay of biases and norms", {"parameters": norms_decay}),
    "leak": ("data leak", {"leaks": 100}),
    "plain": ("slow optimizer", {"optimizer": SGD, "lr": 0.06, "steps": 240}),
    "few rows": ("overfitting", {"rows": 150, "wrong_labels": 3, "lr": 1e-2, "steps": 240}),
}


@cache
def faulty(name: str) -> History:
    return History.of(run(**FAULTS[name][1]))


@pytest.mark.parametrize("name", FAULTS)
def test_the_cause_is_named_first(name: str) -> None:
    """A run with one fault: its cause is the first finding."""
    cause, _ = FAULTS[name]
    found = findings(faulty(name))
    assert [f.cause for f in found][:1] == [cause]
    assert found[0].remedy
    assert found[0].evidence


#: Facts, not courses; and a loss that is NaN from the first step.
WITHOUT_CURVE = {
    "gradients not cleared",
    "parameters not trained",
    "data repeats",
    "data leak",
    "not a number",
}


@pytest.mark.parametrize("name", [n for n, f in FAULTS.items() if f[0] not in WITHOUT_CURVE])
def test_the_evidence_can_be_drawn(name: str) -> None:
    """What was compared is a series of finite numbers, on the wrong side of its threshold once."""
    history = faulty(name)
    finding = findings(history)[0]
    drawn = trace(history, finding)
    assert drawn is not None
    assert len(drawn.steps) == len(drawn.values) > 0
    assert np.isfinite(drawn.values).all()
    if "allowed" in finding.evidence and drawn.limit is not None:
        beyond = [(v - drawn.limit) * (1 - 2 * (name in BELOW)) for v in drawn.values]
        assert max(beyond) > 0


#: Faults that are seen by numbers below a threshold.
BELOW = {"sigmoids", "cut"}


@pytest.mark.parametrize("optimizer", [AdamW, SGD])
def test_a_healthy_run_is_left_in_peace(optimizer: Any) -> None:
    """Nothing is said at any time of a run that learns."""
    lr = {AdamW: 3e-3, SGD: 0.5}[optimizer]
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


def test_layers_that_begin_at_zero_say_nothing_of_the_rate() -> None:
    """Most weights of a table's model do, and all that they are at first is their last updates."""
    found = diagnose(run(lambda: TableModel(64, 10, rows=1400), lr=0.02, warmup=20))
    assert "lr too high" not in [finding.cause for finding in found]


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


def test_rows_that_repeat_by_nature_are_no_leak() -> None:
    """Where as many training rows repeat as validation rows are shared, nothing is said."""
    events = run()
    natural = {"event": "data", "rows": 1400, "validation_rows": 397, "repeated": 0.3}
    kept = [e for e in events if e["event"] != "data"]
    assert diagnose([*kept, {**natural, "shared": 0.3}]) == []
    assert [f.cause for f in diagnose([*kept, {**natural, "shared": 0.6}])] == ["data leak"]


def test_usual_decay_of_biases_is_worth_a_note_only_over_a_long_run() -> None:
    """Up to a fifth of a bias nothing is said; beyond it a note, which no listener is told."""

    def decayed(decay: float, steps: int = 120) -> list[tuple[str, str]]:
        events = run(parameters=lambda net: norms_decay(net, decay), steps=steps)
        return [(f.cause, f.severity) for f in diagnose(events)]

    assert decayed(0.1) == []
    assert decayed(0.65, 240) == [("decay of biases and norms", "note")]


def test_rates_after_a_change_of_the_recipe_are_judged_by_themselves() -> None:
    """A rate that was lowered a hundredfold by a new recipe is no schedule that ended."""
    steps = [
        {"event": "train", "step": k, "loss": 1 / k, "lr": 1.0 if k <= 20 else 0.01}
        for k in range(1, 61)
    ]
    start = {"event": "start", "total_steps": 100}
    assert [f.cause for f in diagnose([start, *steps])] == ["schedule ended early"]
    change = {"event": "recipe", "step": 20, "changes": {"lr": [1.0, 0.01]}}
    assert diagnose([start, *steps[:20], change, *steps[20:]]) == []


@pytest.mark.parametrize(("momentum", "causes"), [(0.0, []), (0.9, ["weight decay too strong"])])
def test_momentum_adds_up_the_decay_of_sgd(momentum: float, causes: list[str]) -> None:
    """Its decay is a part of the gradient: 0.15% of a weight a step is 1.5% with momentum 0.9."""
    found = diagnose(run(optimizer=SGD, lr=0.005, weight_decay=0.3, momentum=momentum))
    told = [f for f in found if f.cause == "weight decay too strong"]
    assert [f.cause for f in told] == causes
    for finding in told:  # a hundredth of a per cent is left
        left = 0.005 * 0.3 * float(finding.change["weight_decay"][1:]) / (1 - momentum)
        assert left == pytest.approx(1e-4, rel=0.1)


def test_the_doctor_knows_what_the_records_say() -> None:
    """Event by event it comes to what is found in all events at the end; also after a heal."""
    events = run(lr=1.0)
    doctor = Doctor(tell=lambda finding: None)
    for event in events:
        doctor(event)
    assert doctor.findings == diagnose(events) != []
    doctor({"event": "heal", "step": 0})
    assert doctor.findings == []
    calm = run()
    for event in calm:
        doctor(event)
    assert doctor.findings == diagnose(calm) == []


def test_an_input_that_is_lost_is_cut_off_and_not_weakened() -> None:
    """Gradients of exactly 0 in the first layer, and outputs that are all the same."""
    assert causes_of(run(lambda: nn.Sequential(Cut(), *network())))[0] == "constant outputs"


def test_units_of_weights_that_begin_at_zero_did_not_die() -> None:
    """All outputs are the same since nothing was drawn."""

    def zeroed() -> nn.Module:
        net = network()
        for p in net.parameters():
            nn.init.zeros_(p)
        return net

    assert causes_of(run(zeroed))[0] == "constant outputs"
