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
    "cold start": ("warmup missing", {"lr": 0.02}),
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


def course(
    losses: Any, validations: Any = (), *, update: float = 1e-3, optimizer: str = "Adam"
) -> list[dict[str, Any]]:
    """The events of a run with these losses, validated at equal distances; weights move alike."""
    setup = {"event": "setup", "optimizer": optimizer, "total_steps": len(losses)}
    tensors = {"w": {"weight_norm": 1.0, "update_norm": update, "grad_norm": 1.0}}
    tensors["w"]["zero_share"] = 0.0
    look = {"tensors": tensors, "data_share": 0.0, "data_seconds": 0.0, "activations": {}}
    apart = len(losses) // max(1, len(validations))
    return [
        setup,
        *({"event": "train", "step": k, "loss": x, "lr": 1e-3} for k, x in enumerate(losses, 1)),
        *({"event": "monitor", "step": 1 << k, **look} for k in range(6)),
        *(
            {"event": "validation", "step": (k + 1) * apart, "loss": x}
            for k, x in enumerate(validations)
        ),
    ]


FALL = np.exp(-np.arange(200) / 30)


def test_a_loss_below_zero_is_judged_by_how_it_falls() -> None:
    """A log-likelihood that falls from -0.2 to -4 and stays there gives no finding."""
    noise = 0.2 * np.random.default_rng().standard_normal(200)
    checks = [-2.9, -3.9, -3.8, -4.0, -3.9, -3.9, -3.8, -3.9]
    assert not diagnose(course(-4 + 3.8 * FALL + noise, checks, update=1e-4))


def test_a_validation_loss_below_zero_may_rise() -> None:
    """Overfitting is found in a loss that is negative."""
    checks = [-2.0, -3.0, -2.8, -2.5, -2.0, -1.5, -1.0, -0.5]
    found = diagnose(course(-4 + 3.8 * FALL, checks))
    assert [finding.cause for finding in found] == ["overfitting"]


def test_a_loss_below_zero_that_hardly_falls_has_too_low_a_rate() -> None:
    """The other way round: at -3 with tiny steps it is found that nothing happens."""
    found = diagnose(course(-3 - 0.01 * np.arange(200) / 200, update=1e-6))
    assert [finding.cause for finding in found] == ["lr too low"]


@pytest.mark.parametrize(("update", "causes"), [(3e-3, []), (0.05, ["lr too high"])])
def test_a_loss_that_rises_by_small_steps_is_another_aim(update: float, causes: list[str]) -> None:
    """A generator's loss rises as its opponent learns; a rate that is too high moves weights."""
    found = diagnose(course(2 - FALL, update=update))
    assert [f.cause for f in found if f.severity != "note"] == causes


@pytest.mark.parametrize(("optimizer", "causes"), [("LBFGS", []), ("Adam", ["lr too high"])])
def test_a_step_of_lbfgs_may_go_far(optimizer: str, causes: list[str]) -> None:
    """Its step is a whole search, so weights may change by more than themselves."""
    found = diagnose(course(0.07 + FALL, update=1.2, optimizer=optimizer))
    assert [f.cause for f in found if f.severity != "note"] == causes


@pytest.mark.parametrize(("optimizer", "causes"), [("Adagrad", []), ("Adam", ["warmup missing"])])
def test_adagrad_needs_no_warmup(optimizer: str, causes: list[str]) -> None:
    """Its first step is its largest, for it lowers the rate itself."""
    found = diagnose(course(0.07 + FALL, update=0.17, optimizer=optimizer))
    assert [f.cause for f in found if f.severity != "note"] == causes


def test_learning_by_heart_is_seen_without_the_loss_of_constants() -> None:
    """A training loss that falls to nothing while validation never gets below where it began."""
    found = diagnose(course(2.3 * FALL, [2.4] * 8))
    assert [f.cause for f in found if f.severity != "note"] == ["overfitting"]


@pytest.mark.parametrize(("level", "causes"), [(2.35, ["labels do not match"]), (1.2, [])])
def test_labels_are_judged_without_the_loss_of_constants(level: float, causes: list[str]) -> None:
    """Where nobody told that loss, validation is compared with the loss before training."""
    found = diagnose(course(2.0 + 0.3 * FALL, [level] * 8))
    assert [f.cause for f in found if f.severity != "note"] == causes


@pytest.mark.parametrize(("momentum", "causes"), [(0.0, []), (0.9, ["weight decay too strong"])])
def test_momentum_adds_up_the_decay_of_sgd(momentum: float, causes: list[str]) -> None:
    """Its decay is a part of the gradient: 0.15% of a weight a step is 1.5% with momentum 0.9."""
    found = diagnose(run(optimizer=SGD, lr=0.005, weight_decay=0.3, momentum=momentum))
    told = [f for f in found if f.cause == "weight decay too strong"]
    assert [f.cause for f in told] == causes
    for finding in told:  # a hundredth of a per cent is left
        left = 0.005 * 0.3 * float(finding.change["weight_decay"][1:]) / (1 - momentum)
        assert left == pytest.approx(1e-4, rel=0.1)


def test_an_epochs_last_batch_does_not_hide_a_large_one() -> None:
    """The rows a step are the most that a look saw, though most looks fell on a rest."""
    looks = [{"event": "monitor", "step": k, "input": {"rows": 512 if k == 1 else 77}}
             for k in (1, 4, 8, 16)]  # fmt: skip
    assert History.of(looks).batch_rows == 512


def test_weights_travel_by_their_updates_in_proportion_to_the_rate() -> None:
    """Of 100 steps that begin with 1% each and end at a rate of 0: half of the sum, and no more."""
    steps = np.arange(1, 101)
    rates = 1 - (steps - 1) / 100
    tensors = [{"w": {"weight_norm": 2.0, "update_norm": 0.02 * r}} for r in rates]
    events = [
        *({"event": "train", "step": int(k), "loss": 1.0, "lr": r}
          for k, r in zip(steps, rates, strict=True)),
        *({"event": "monitor", "step": k, "tensors": tensors[k - 1]} for k in (1, 8, 64)),
    ]  # fmt: skip
    history = History.of(events)
    assert history.travelled == pytest.approx(0.01 * rates.sum())
    assert history.reach(100) == pytest.approx(history.travelled)
    assert history.until(50).reach(100) == pytest.approx(0.01 * (rates[:50].sum() + 50))


NOISE = 0.3 * np.sin(np.arange(200) ** 2)


@pytest.mark.parametrize(("update", "causes"),
                         [(5e-4, ["lr too low"]), (2e-3, ["labels do not match"])])  # fmt: skip
def test_labels_are_not_to_blame_where_weights_hardly_move(
    update: float, causes: list[str]
) -> None:
    """A noisy loss that does not fall, and weights that cannot get far: the rate is too low."""
    found = diagnose(course(2.3 + NOISE, [2.35] * 8, update=update))
    assert [f.cause for f in found if f.severity != "note"] == causes


@pytest.mark.parametrize(("step", "causes"), [(100, []), (200, ["labels do not match"])])
def test_labels_are_judged_when_weights_have_gone_some_way(step: int, causes: list[str]) -> None:
    """At a tenth of their norm nothing could be learnt yet; at a fifth something could."""
    whole = History.of(course(2.3 + NOISE, [2.35] * 8, update=1e-3))
    assert [f.cause for f in findings(whole.until(step))] == causes


@pytest.mark.parametrize(("constant", "causes"), [(0.2, ["lr too low"]), (2.3, [])])
def test_a_model_that_was_trained_before_may_move_slowly(
    constant: float, causes: list[str]
) -> None:
    """At a loss far below that of constant outputs little is left to learn."""
    setup, *others = course(0.1 + 0 * FALL, update=1e-5)
    assert [f.cause for f in diagnose([{**setup, "constant_loss": constant}, *others])] == causes


def steep(
    losses: Any,
    slope: float,
    rows: int = 32,
    dead: float = 0.0,
    update: float = 0.01,
    optimizer: str = "SGD",
) -> list[dict[str, Any]]:
    """A course that begins with this steepness, and ends with this share of dead units."""
    events = course(losses, update=update, optimizer=optimizer)
    events[0] |= {"tensors": {}, "groups": [{"momentum": 0.9}]}
    for event in events:
        if event["event"] == "monitor":
            event["grad_norm"] = slope * losses[0]
            event["input"] = {"rows": rows, "checksum": event["step"]}
            event["activations"] = {"relu": {"dead": dead if event["step"] > 4 else 0.0}}
    return events


@pytest.mark.parametrize(
    ("events", "causes"),
    [
        (steep(1 + 0 * FALL, 150), []),
        (steep(np.where(np.arange(200) == 3, 9.0, 1.0), 150), []),
        (steep(1 + 9 * (1 - FALL), 50), ["lr too high"]),
        (steep(1 + 9 * (1 - FALL), 150), ["exploding gradients"]),
        (steep(1 + 0 * FALL, 150, dead=1.0), ["exploding gradients"]),
        (steep(1 + FALL, 150, update=0.15), ["exploding gradients"]),
        (steep(1 + 9 * (1 - FALL), 150, rows=1), ["batch too small"]),
    ],
    ids=["calm", "one batch", "not steep", "risen", "died", "fast", "one row"],
)
def test_what_rose_or_died_from_a_steep_beginning_wants_steps_of_their_own_length(
    events: list[dict[str, Any]], causes: list[str]
) -> None:
    """No rate of SGD suits a slope that falls a hundredfold; AdamW's steps are as long on it."""
    found = [f for f in diagnose(events) if f.severity != "note"]
    assert [f.cause for f in found if f.cause not in ("slow optimizer", "lr too low")] == causes
    if causes == ["exploding gradients"]:
        assert found[0].change["optimizer"] == "adamw"


def test_what_rose_by_steps_of_their_own_length_wants_shorter_ones() -> None:
    """After the change of the optimizer it is the rate's turn."""
    found = diagnose(steep(1 + 9 * (1 - FALL), 150, optimizer="AdamW"))[0]
    assert (found.cause, found.change["lr"]) == ("exploding gradients", "x0.1")
    assert "optimizer" not in found.change


def test_outputs_that_became_constant_were_killed_by_the_steps() -> None:
    """They differed at first, so nothing is cut off: the rate is to blame."""
    events = course(2.3 - 0.1 * FALL, update=0.02)
    for event in events:
        if event["event"] == "monitor":
            event["output"] = {"scale": 1.0, "spread": 1.0 if event["step"] < 4 else 0.0}
    assert [f.cause for f in diagnose(events) if f.severity != "note"] == ["lr too high"]


@pytest.mark.parametrize(
    ("update", "momentum", "severities"),
    [(5e-3, 0.9, ["note"]), (0.03, 0.9, ["warning"]), (5e-3, 0.99, ["warning"])],
    ids=["calm", "restless", "heavy"],
)
def test_a_held_rate_is_a_fault_where_weights_never_rest(
    update: float, momentum: float, severities: list[str]
) -> None:
    """A loss that falls no more is worth a note, unless steps are long or heap up to long ones."""
    setup, *others = course(1 + FALL**3, update=update, optimizer="SGD")
    setup |= {"tensors": {}, "groups": [{"momentum": momentum}]}
    late = [{**e, "step": e["step"] + 128} for e in others if e["event"] == "monitor"]
    found = diagnose([setup, *others, *late])
    assert [f.severity for f in found if f.cause == "lr not lowered"] == severities


def of_plain_sgd(losses: Any, checks: Any = (), *, update: float) -> list[str]:
    """What is said of a course of SGD without momentum."""
    setup, *others = course(losses, checks, update=update, optimizer="SGD")
    found = diagnose([{**setup, "tensors": {}, "groups": [{}]}, *others])
    return [f.cause for f in found if f.severity != "note"]


@pytest.mark.parametrize(("update", "causes"), [(2e-3, ["slow optimizer"]), (5e-3, [])])
def test_weights_that_get_no_further_than_half_their_norm_are_slow(
    update: float, causes: list[str]
) -> None:
    """200 steps without momentum at a loss of two thirds of the first; longer ones are let be."""
    assert of_plain_sgd(2 + FALL, update=update) == causes


def test_a_few_steps_get_nowhere_at_any_rate() -> None:
    """Of a run of 20 steps it is not said that its rate is too low."""
    assert of_plain_sgd(2 + FALL[:20], update=2e-3) == []


@pytest.mark.parametrize(
    ("checks", "causes"),
    [(1.8 - np.arange(8) / 20, ["slow optimizer"]), ([1.8, 1.7, 1.5, 1.4, 1.5, 1.5, 1.6, 1.6], [])],
    ids=["falls", "gone by"],
)
def test_a_loss_that_still_falls_at_the_end_is_let_be_where_validation_rises(
    checks: Any, causes: list[str]
) -> None:
    """A faster optimizer would only be past its best sooner."""
    assert of_plain_sgd(3 - np.arange(200) / 200, checks, update=5e-3) == causes


def test_validations_at_every_step_are_judged_over_a_twentieth_of_the_run() -> None:
    """Three in a row that rise are three steps; over ten steps one is as low as ever."""
    steps = np.arange(200)
    checks = 0.5 + 0.5 * np.exp(-steps / 20) + 1e-4 * steps + np.where(steps % 8 < 2, 0, 0.4)
    assert not [f for f in diagnose(course(FALL, checks)) if f.cause == "overfitting"]


def test_a_cold_start_by_heavy_momentum_is_mended_by_less_of_it() -> None:
    """The rate is left alone where momentum multiplies it by a hundred."""
    setup, *others = course(0.07 + FALL, update=0.17, optimizer="SGD")
    setup |= {"tensors": {}, "groups": [{"momentum": 0.99}]}
    found = next(f for f in diagnose([setup, *others]) if f.cause == "warmup missing")
    assert dict(found.change) == {"warmup": 0.1, "momentum": 0.9}


def judged(events: list[dict[str, Any]], *metrics: float) -> list[dict[str, Any]]:
    """The same with these metrics at the validations, of 100 rows."""
    start = {"event": "start", "validation_size": 100, "total_steps": 200}
    known = iter(metrics)
    return [start] + [
        {**e, "metric": next(known)} if e["event"] == "validation" else e for e in events
    ]


@pytest.mark.parametrize(("train", "causes"), [(0.82, []), (0.2, ["overfitting"])])
def test_a_metric_that_falls_is_no_overfitting_where_training_is_no_better(
    train: float, causes: list[str]
) -> None:
    """Validation rises by 4% and its metric falls; little is learnt by heart beyond it."""
    checks = [0.9, 0.8, 0.83, 0.84, 0.84, 0.84, 0.85, 0.85]
    events = course(train + (2 - train) * FALL, checks)
    found = diagnose(judged(events, 0.3, 0.5, 0.3, 0.3, 0.3, 0.3, 0.3, 0.3))
    assert [f.cause for f in found if f.severity != "note"] == causes


@pytest.mark.parametrize(("last", "remedy"), [(1.2, {}), (3.0, {"early_stop": 3, "lr": "x0.1"})])
def test_a_metric_over_few_rows_is_believed_where_its_loss_is_surely_bad(
    last: float, remedy: dict[str, Any]
) -> None:
    """6 of 100 rows fewer may be chance, but not at a loss above that of constant outputs."""
    checks = [1.0, 0.8, 0.9, 1.0, 1.1, last, last, last]
    events = judged(course(2 * FALL, checks), 0.8, 0.9, 0.9, 0.9, 0.9, 0.84, 0.84, 0.84)
    found = next(f for f in diagnose(events) if f.cause == "overfitting")
    assert dict(found.change) == remedy


def causes_of(events: list[dict[str, Any]]) -> list[str]:
    """What is said, notes left out."""
    return [f.cause for f in diagnose(events) if f.severity != "note"]


AT_ONCE = np.exp(-np.arange(200) / 5)


@pytest.mark.parametrize(
    ("update", "losses", "causes"),
    [
        (0.2, 0.07 + AT_ONCE, []),
        (0.2, 0.07 + FALL, ["warmup missing"]),
        (0.4, 0.07 + AT_ONCE, []),
        (0.4, 0.07 + AT_ONCE + (AT_ONCE < 1e-9), ["lr too high"]),
        (0.4, 0.07 + FALL, ["lr too high"]),
        (0.4, 0.1 - 0.3 * np.tile([0, 1, 0, 2, 0], 40), ["lr too high"]),
    ],
    ids=[
        "falls",
        "hardly falls",
        "falls by far steps",
        "comes back",
        "hardly falls by far steps",
        "goes to and fro below 0",
    ],
)
def test_first_steps_that_go_far_are_let_be_where_the_loss_falls_at_once(
    update: float, losses: Any, causes: list[str]
) -> None:
    """One layer, or targets of size 300: weights must become other ones, and that is all."""
    found = causes_of(course(losses, update=update))
    assert [c for c in found if c in ("warmup missing", "lr too high")] == causes


@pytest.mark.parametrize(("level", "causes"), [(0.0, []), (0.5, ["exploding gradients"])])
def test_steepness_means_nothing_where_a_loss_goes_below_zero(
    level: float, causes: list[str]
) -> None:
    """A policy's loss is near 0 by its making, and any gradient is steep beside it."""
    found = causes_of(steep(level + 0.05 * (1 + NOISE) + 0.3 * np.minimum(NOISE, 0), 400))
    assert [c for c in found if c == "exploding gradients"] == causes


def test_batches_that_differ_are_no_rise_from_a_steep_beginning() -> None:
    """The loss goes to and fro around its first by more than it doubles."""
    losses = 0.1 + np.abs(np.random.default_rng(3).standard_normal(200))
    losses[0] = 0.3
    assert "exploding gradients" not in causes_of(steep(losses, 150))


@pytest.mark.parametrize(("update", "causes"), [(3e-3, []), (0.02, ["lr not lowered"])])
def test_validation_that_swings_by_itself_is_not_the_rates_doing(
    update: float, causes: list[str]
) -> None:
    """Drawn anew from few rows it differs by a third each time; weights hardly move."""
    checks = [0.6, 0.3, 0.1, 0.15, 0.1, 0.14, 0.09, 0.14, 0.1, 0.15, 0.1, 0.14]
    assert causes_of(course(0.1 + FALL, checks, update=update)) == causes


def test_it_is_never_late_in_a_run_whose_length_nobody_told() -> None:
    """A rate that is held is judged by the plan, not by the steps so far."""
    losses = 1 + FALL**3

    def said(total: int | None) -> list[str]:
        setup, *others = course(losses, update=0.03)
        late = [{**e, "step": e["step"] + 128} for e in others if e["event"] == "monitor"]
        return causes_of([{**setup, "total_steps": total}, *others, *late])

    assert "lr not lowered" in said(200)
    assert "lr not lowered" not in said(None)


@pytest.mark.parametrize(
    ("first_rows", "few"), [(range(8), False), ([0, 1, 2, 3, 0, 4, 5, 1], True)]
)
def test_rows_are_counted_by_those_that_are_seen_again(first_rows: Any, few: bool) -> None:
    """2 of 28 pairs of looks began with the same row: there are some 14."""
    looks = [{"event": "monitor", "step": k, "input": {"rows": 8, "checksum": float(row)}}
             for k, row in enumerate(first_rows, 1)]  # fmt: skip
    assert History.of(looks).few_rows is few
    assert not History.of([*looks, {"event": "data", "rows": 1000}]).few_rows


def test_an_unlucky_first_batch_does_not_hide_labels_that_do_not_match() -> None:
    """Validation before the first step says what an untrained model is worth, not one batch."""
    losses = np.where(np.arange(200) == 0, 4.0, 2.3 + 0 * NOISE)
    check = {"event": "validation", "step": 0, "loss": 2.32}
    assert causes_of([*course(losses, [2.3] * 8), check])[:1] != ["labels do not match"]
    setup, *others = course(losses, [2.3] * 8)
    assert causes_of([setup, check, *others]) == ["labels do not match"]


@pytest.mark.parametrize(("constant", "causes"), [(1e-6, ["labels do not match"]), (2.3, [])])
def test_labels_that_are_all_the_same_are_seen_though_all_is_learnt(
    constant: float, causes: list[str]
) -> None:
    """The loss goes to 0, but so does that of constant outputs."""
    setup, *others = course(2.3 * AT_ONCE, [0.1, 1e-3, 1e-4, 1e-5])
    assert causes_of([{**setup, "constant_loss": constant}, *others])[:1] == causes


@pytest.mark.parametrize(
    ("losses", "cause"), [(AT_ONCE, "constant outputs"), (2.3 - 0.1 * FALL, "lr too high")]
)
def test_outputs_that_became_constant_as_the_loss_asks_are_not_the_rates_doing(
    losses: Any, cause: str
) -> None:
    """Twins that are only drawn together agree on one answer, and units die on the way."""
    events = course(losses, update=0.11)
    for event in events:
        if event["event"] == "monitor":
            begun = event["step"] < 4
            event["output"] = {"scale": 1.0, "spread": 1.0 if begun else 0.01}
            event["activations"] = {"relu": {"dead": 0.1 if begun else 0.95}}
    assert causes_of(events) == [cause]


@pytest.mark.parametrize(("finest", "causes"), [(0.3, []), (0.99, ["data leak"])])
def test_rows_that_one_feature_tells_apart_do_not_repeat_by_nature(
    finest: float, causes: list[str]
) -> None:
    """Each row of a table is there twice, and was split then."""
    data = {"event": "data", "rows": 800, "validation_rows": 200, "repeated": 0.8, "shared": 0.8}
    assert causes_of([{**data, "finest": finest}]) == causes


@pytest.mark.parametrize(("spread", "causes"), [(0.4, ["lr too low"]), (2.5, [])])
def test_outputs_tell_that_a_model_was_trained_before(spread: float, causes: list[str]) -> None:
    """They differ by more than is left to learn, where nobody told the loss of constant ones."""
    events = course(0.8 + 0 * FALL, update=1e-5)
    for event in events:
        if event["event"] == "monitor":
            event["output"] = {"scale": 3.0, "spread": spread}
    assert causes_of(events) == causes


def test_what_fell_in_the_first_steps_counts_as_fallen() -> None:
    """At a tenth of the untrained loss a slow end is no slow optimizer."""
    losses = 0.06 + 0.02 * FALL + np.exp(-np.arange(200) / 2)
    assert of_plain_sgd(losses - np.arange(200) / 1e4, update=5e-3) == []


@pytest.mark.parametrize(("update", "causes"), [(6e-3, ["slow optimizer"]), (0.05, [])])
def test_weights_that_went_ten_times_their_norm_are_not_slow(
    update: float, causes: list[str]
) -> None:
    """A loss that still falls at the end wants more steps, not longer ones."""
    assert of_plain_sgd(3 - np.arange(200) / 200, update=update) == causes


@pytest.mark.parametrize(("total", "causes"), [(200, ["lr too low"]), (1500, [])])
def test_a_small_step_is_judged_by_how_many_there_will_be(total: int, causes: list[str]) -> None:
    """At half a thousandth of the weights a step little happens in 200 steps, and much in 1,500."""
    setup, *others = course(2.3 - np.arange(200) / 4000, update=5e-4)
    assert causes_of([{**setup, "total_steps": total}, *others]) == causes


@pytest.mark.parametrize(("late", "causes"), [(2e-3, []), (0.05, ["lr too high"])])
def test_a_rise_is_the_rates_doing_where_steps_are_long_just_before(
    late: float, causes: list[str]
) -> None:
    """Other rows come in at step 120; by then steps are small, though they were not at first."""
    losses = np.where(np.arange(200) < 120, 2 * FALL, 6.0)
    events = course(losses, update=0.05)
    look = next(e for e in events if e["event"] == "monitor")
    tensors = {"w": {**look["tensors"]["w"], "update_norm": late}}
    found = causes_of([*events, *({**look, "step": k, "tensors": tensors} for k in (64, 112))])
    assert [c for c in found if c == "lr too high"] == causes


@pytest.mark.parametrize(("update", "causes"), [(0.01, ["not a number"]), (0.11, [])])
def test_weights_that_a_batch_spoilt_are_told_from_those_that_ran_away(
    update: float, causes: list[str]
) -> None:
    """A target that is infinite leaves no weight to trace it by, and no rate is to blame."""
    events = course(np.where(np.arange(60) < 59, 2.0, np.nan), update=update)
    events.append({"event": "nonfinite", "step": 60, "kind": "weights", "where": "2.bias"})
    assert [c for c in causes_of(events) if c == "not a number"] == causes


@pytest.mark.parametrize(("constant", "causes"), [(0.9, []), (0.002, ["exploding gradients"])])
def test_a_start_far_above_constant_outputs_is_a_gain_too_large(
    constant: float, causes: list[str]
) -> None:
    """Steep, and 500 times as bad as saying nothing, though the loss falls by small steps."""
    setup, *others = steep(0.2 + 0.8 * FALL, 150)
    assert causes_of([{**setup, "constant_loss": constant}, *others]) == causes


def test_a_rate_is_not_lowered_for_how_the_model_was_made() -> None:
    """A start far off is flagged in every run of the model; healing would lower it each time."""
    setup, *others = steep(0.2 + 0.8 * FALL, 150)
    (found,) = diagnose([{**setup, "constant_loss": 0.002}, *others])
    assert found.change == {"clip_norm": 1.0}


def test_a_long_runs_loss_is_smoothed_by_blocks() -> None:
    """As the running median over a twentieth of the steps, to within its noise, in little time."""
    count = 100_000
    rng = np.random.default_rng(1)
    losses = 1 + np.sin(np.arange(count) / 20_000) + 0.1 * rng.standard_normal(count)
    told = {"event": "steps", "step": range(1, count + 1), "loss": losses, "lr": [1.0] * count}
    steps, medians = History.of([told]).smoothed
    width = count // 20
    assert len(steps) == len(medians) <= 2000
    for at in (0, len(steps) // 2, len(steps) - 1):
        exact = np.median(losses[steps[at] - width : steps[at]])
        assert medians[at] == pytest.approx(exact, abs=0.01)


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


@pytest.mark.parametrize(("slope", "causes"), [(0.1, []), (5.0, ["warmup missing"])])
def test_a_step_that_can_hardly_change_the_loss_needs_no_warmup(
    slope: float, causes: list[str]
) -> None:
    """Weights that must grow a thousandfold for targets of 100,000 do so from the first step."""
    found = causes_of(steep(0.07 + FALL, slope, update=0.2, optimizer="Adam"))
    assert [c for c in found if c == "warmup missing"] == causes


@pytest.mark.parametrize(
    ("end", "causes"), [([2.6, 2.2, 5.7], []), ([2.6, 3.2, 4.1], ["overfitting"])]
)
def test_validation_that_goes_astray_is_not_overfitting(
    end: list[float], causes: list[str]
) -> None:
    """Means of a batch norm lag behind at a high rate; what is learnt by heart creeps."""
    found = causes_of(course(2.3 * FALL, [2.2, 1.8, 2.3, 2.4, 2.4, *end]))
    assert [c for c in found if c == "overfitting"] == causes


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


@pytest.mark.parametrize(("constant", "cause"), [(2.3, "labels do not match"), (0.5, "lr too low")])
def test_labels_are_not_to_blame_for_more_than_constants_lose(constant: float, cause: str) -> None:
    """Their mean needs no inputs, and is not reached: steps are too small for such targets."""
    setup, *others = course(2.3 + NOISE, [2.35] * 8, update=2e-3)
    assert causes_of([{**setup, "constant_loss": constant}, *others]) == [cause]


@pytest.mark.parametrize(("losses", "causes"), [(2 + 0 * FALL, 1), (2 * FALL, 0)])
def test_outputs_in_the_flat_part_are_a_fault_where_the_loss_stays(
    losses: Any, causes: int
) -> None:
    """A last sigmoid may be sure where it is right, and cannot reach targets beyond 1."""
    events = course(losses, update=0.01)
    for event in events:
        if event["event"] == "monitor":
            event["activations"] = {"out": {"kind": "sigmoid", "saturated": 1.0, "output": True}}
    assert causes_of(events).count("saturated activations") == causes


@pytest.mark.parametrize(
    ("optimizer", "decay", "causes"),
    [("Adam", 1.0, 1), ("Adam", 0.3, 0), ("AdamW", 1.0, 0)],
)
def test_decay_that_is_a_part_of_the_gradient_must_not_be_the_larger_part(
    optimizer: str, decay: float, causes: int
) -> None:
    """Weights of norm 1 with gradients of norm 0.5: Adam goes where the decay says."""
    setup, *others = course(2.3 * FALL, optimizer=optimizer)
    setup |= {"groups": [{"weight_decay": decay}], "tensors": {"w": {"group": 0, "trained": True}}}
    for event in others:
        if event["event"] == "monitor":
            event["tensors"] = {"w": {**event["tensors"]["w"], "grad_norm": 0.5}}
    assert causes_of([setup, *others]).count("weight decay too strong") == causes


@pytest.mark.parametrize(
    ("rows", "checks", "causes"),
    [(300, [1.0, 0.5, 0.3], 0), (300, [1.0, 2.0, 3.0], 1), (32, [1.0, 0.5, 0.3], 1)],
    ids=["all there is", "of many", "a small one"],
)
def test_a_batch_of_all_rows_may_be_the_same_each_time(
    rows: int, checks: list[float], causes: int
) -> None:
    """300 nodes of a graph in every step are no fault while more is learnt than these."""
    events = course(FALL, checks)
    for event in events:
        if event["event"] == "monitor":
            event["input"] = {"rows": rows, "checksum": 1.0}
    assert causes_of(events).count("data repeats") == causes


def test_one_late_look_is_enough_where_momentum_is_heavy() -> None:
    """Looks at powers of two see one step in the second half; the loss is back where it began."""
    setup, *others = course(np.where(np.arange(200) < 20, 1.0, 2.3), update=5e-3, optimizer="SGD")
    setup |= {"tensors": {}, "groups": [{"momentum": 0.99}]}
    look = next(e for e in others if e["event"] == "monitor")
    assert "lr not lowered" in causes_of([setup, *others, {**look, "step": 128}])


@pytest.mark.parametrize(("layers", "causes"), [(1, []), (2, ["warmup missing"])])
def test_where_one_layer_begins_says_nothing(layers: int, causes: list[str]) -> None:
    """A logistic regression moves far at once, and its loss falls by half in the first steps."""
    events = course(0.07 + np.exp(-np.arange(200) / 8), update=0.2)
    for event in events:
        if event["event"] == "monitor":
            tensor = event["tensors"]["w"]
            event["tensors"] = {f"w{k}": tensor for k in range(layers)}
    assert [c for c in causes_of(events) if c == "warmup missing"] == causes
