"""The monitor in a loop of one's own: what it measures, and what it leaves alone."""

from __future__ import annotations

import copy
import io
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import downslope
from downslope import Monitor
from downslope.monitor import read_records
from downslope.monitor.plan import next_sampled


def train(
    model: nn.Module,
    steps: int = 12,
    *,
    clears: bool = True,
    monitored: bool = True,
    run_dir: Path | None = None,
    inputs: Tensor | list[Tensor] | None = None,
    every: int = 4,
    optimizer: type[torch.optim.Optimizer] = torch.optim.SGD,
) -> list[dict[str, Any]]:
    """Train a moment on random rows; returns the events."""
    make = torch.Generator().manual_seed(1)
    events: list[dict[str, Any]] = []
    stepper = optimizer(model.parameters(), lr=0.01)  # type: ignore[call-arg]
    monitor = Monitor(model, stepper, run_dir, every=every, on_event=[events.append])
    if not monitored:
        monitor.close()
    for step in range(steps):
        x = torch.randn(16, 3, generator=make) if inputs is None else inputs
        x = x[step] if isinstance(x, list) else x
        loss = model(x).square().mean()
        if clears:
            stepper.zero_grad()
        loss.backward()
        stepper.step()
        if monitored:
            monitor.step(loss)
    monitor.close()
    return events


def network() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(3, 8), nn.ReLU(), nn.Linear(8, 2), nn.Tanh())


def looks(events: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [e for e in events if e["event"] == "monitor"]


def test_training_goes_to_the_same_bits() -> None:
    """Weights after 12 watched steps are those after 12 unwatched ones."""
    watched, alone = network(), network()
    train(watched)
    train(alone, monitored=False)
    for a, b in zip(watched.parameters(), alone.parameters(), strict=True):
        assert torch.equal(a, b)


def test_norms_are_those_of_the_tensors() -> None:
    """Gradient, weight and update norms of a sampled step beside those computed by hand."""
    model = network()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.5)
    events: list[dict[str, Any]] = []
    monitor = Monitor(model, optimizer, every=1, on_event=[events.append])
    before = {n: p.detach().clone() for n, p in model.named_parameters()}
    loss = model(torch.randn(16, 3)).square().mean()
    loss.backward()
    optimizer.step()
    monitor.step(loss)
    monitor.close()
    found = looks(events)[0]["tensors"]
    for name, p in model.named_parameters():
        assert p.grad is not None
        assert found[name]["grad_norm"] == pytest.approx(float(p.grad.norm()), rel=1e-5)
        assert found[name]["weight_norm"] == pytest.approx(float(before[name].norm()), rel=1e-5)
        assert found[name]["update_norm"] == pytest.approx(float(0.5 * p.grad.norm()), rel=1e-4)
    whole = math.hypot(*(float(p.grad.norm()) for p in model.parameters() if p.grad is not None))
    assert looks(events)[0]["grad_norm"] == pytest.approx(whole, rel=1e-5)


def test_gradients_left_from_a_step_are_seen() -> None:
    """A loop without zero_grad, and one with it."""
    assert all(e["stale_gradients"] for e in looks(train(network(), clears=False))[1:])
    assert not any(e["stale_gradients"] for e in looks(train(network())))


def test_zero_grad_after_the_forward_pass_is_no_fault() -> None:
    """Clearing between forward and backward is as good as before."""
    model = network()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    events: list[dict[str, Any]] = []
    with Monitor(model, optimizer, every=1, on_event=[events.append]) as monitor:
        for _ in range(3):
            loss = model(torch.randn(4, 3)).sum()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            monitor.step(loss)
    assert not any(e["stale_gradients"] for e in looks(events))


@pytest.mark.parametrize("call", ["module", "function"])
def test_dead_units_are_counted(call: str) -> None:
    """Two of four units below zero for every row; ReLU as a module and as a function."""

    class Functional(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(3, 4)

        def forward(self, x: Tensor) -> Tensor:
            return torch.relu(self.layer(x))

    model = Functional() if call == "function" else nn.Sequential(nn.Linear(3, 4), nn.ReLU())
    layer = next(m for m in model.modules() if isinstance(m, nn.Linear))
    with torch.no_grad():
        layer.bias.copy_(torch.tensor([9.0, 9.0, -9.0, -9.0]))
    first = looks(train(model, 1))[0]["activations"]
    assert [facts["dead"] for facts in first.values()] == [0.5]


def test_saturation_at_the_output_is_marked() -> None:
    """A last tanh may be as sure as it likes; one inside may not."""
    model = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2), nn.Tanh())
    with torch.no_grad():
        for p in model.parameters():
            p.mul_(100)
    found = looks(train(model, 1))[0]["activations"]
    assert found["1"]["saturated"] > 0.8
    assert "output" not in found["1"]
    assert found["3"]["output"] is True


def test_hooks_are_gone_between_looks() -> None:
    """Only the note of the last batch stays, and nothing after close()."""
    model = network()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    monitor = Monitor(model, optimizer, every=100)
    for _ in range(2):
        loss = model(torch.randn(4, 3)).sum()
        loss.backward()
        optimizer.step()
        monitor.step(loss)
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in model.modules())
    assert [m._compiled_call_impl is None for m in model.modules()] == [False, *[True] * 4]
    monitor.close()
    assert "_compiled_call_impl" not in vars(model)
    assert not optimizer._optimizer_step_pre_hooks


def test_records_hold_every_step(tmp_path: Path) -> None:
    """Losses, rates and times of all steps, whether looked at or not."""
    train(network(), 11, run_dir=tmp_path)
    steps = [r for r in read_records(tmp_path / "records.jsonl") if r["event"] == "train"]
    assert [r["step"] for r in steps] == list(range(1, 12))
    assert {r["lr"] for r in steps} == {0.01}
    assert all(r["loss"] > 0 for r in steps)


class _Bad(nn.Module):
    """Arithmetic that fails where a number is large."""

    def __init__(self, kind: str) -> None:
        super().__init__()
        self.kind = kind

    def forward(self, x: Tensor) -> Tensor:
        if x.abs().amax() < 50:
            return x
        if self.kind == "log":
            return torch.log(x - x.amax() - 1)
        if self.kind == "divide":
            return x / (x - x)
        if self.kind == "exp":
            return torch.exp((1 + x.abs()) * 1e4)
        return x + torch.sqrt((x - x).abs())  # finite; its gradient is 0 * inf


def batches_with_a_large_one() -> list[Tensor]:
    """Eight batches, the sixth a thousand times larger."""
    make = torch.Generator().manual_seed(1)
    return [torch.randn(16, 3, generator=make) * (1000 if k == 6 else 1) for k in range(1, 9)]


CASES = [(k, w) for k in ("log", "divide", "exp", "sqrt backward") for w in range(4)]


@pytest.mark.parametrize("every", [4, 1])  # the sixth step is looked at, when it is done, by 1
@pytest.mark.parametrize(("kind", "where"), [c for c in CASES if c != ("sqrt backward", 0)])
def test_the_origin_of_a_nan_is_named(kind: str, where: int, every: int) -> None:
    """The module whose arithmetic fails, and the step: 15 of the 20 cases."""
    model = network()
    model.insert(where, _Bad(kind))
    events = train(model, 8, inputs=batches_with_a_large_one(), every=every)
    (event,) = (e for e in events if e["event"] == "nonfinite")
    assert (event["where"], event["step"]) == (str(where), 6)
    assert event["kind"] == ("backward" if kind == "sqrt backward" else "forward")


@pytest.mark.parametrize("row", [0, 5])
@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_nan_in_the_data_is_named_by_its_row(row: int, value: float) -> None:
    """The other 4 of the 20 cases."""
    inputs = torch.randn(16, 3)
    inputs[row, 1] = value
    (event,) = (e for e in train(network(), 3, inputs=inputs) if e["event"] == "nonfinite")
    assert (event["kind"], event["where"], event["step"]) == ("input", f"rows {row}", 1)


def test_a_nan_of_the_loss_function_is_named() -> None:
    """The outputs are finite and the loss is not: the last of the 20 cases."""
    model = network()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    events: list[dict[str, Any]] = []
    with Monitor(model, optimizer, on_event=[events.append]) as monitor:
        loss = torch.log(model(torch.randn(4, 3)).sum() * 0 - 1)
        monitor.step(loss)
    (event,) = (e for e in events if e["event"] == "nonfinite")
    assert (event["kind"], event["step"]) == ("loss", 1)


class _Log(nn.Module):
    """The logarithm of something negative."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.log(-x.abs() - 1)


def test_buffers_and_random_numbers_are_as_before_a_trace() -> None:
    """Looking for the origin runs the batch again, and leaves no trace of that."""
    model = nn.Sequential(nn.Linear(3, 8), nn.BatchNorm1d(8), nn.Dropout(0.5), _Log())
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    monitor = Monitor(model, optimizer, every=100)
    for _ in range(2):
        loss = model(torch.randn(16, 3)).sum()
        loss.backward()
        optimizer.step()
        state = torch.get_rng_state()
        seen = int(model[1].num_batches_tracked)
        monitor.step(loss)
        assert torch.equal(torch.get_rng_state(), state)
        assert int(model[1].num_batches_tracked) == seen
    monitor.close()


def test_looks_thin_out() -> None:
    """Many at first; 8 to 16 while the number of steps doubles."""
    sampled = [1]
    while sampled[-1] < 100_000:
        sampled.append(next_sampled(sampled[-1], None))
    assert sampled[:6] == [1, 2, 4, 8, 16, 24]
    for low in (64, 1024, 8192):
        assert 8 <= sum(low <= step < 2 * low for step in sampled) <= 16


def test_looks_stay_within_their_budget() -> None:
    """Steps of no time at all are looked at where they are powers of two, and nowhere else."""
    model = network()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    events: list[dict[str, Any]] = []
    with Monitor(model, optimizer, budget=0.0, on_event=[events.append]) as monitor:
        for _ in range(70):
            loss = model(torch.randn(4, 3)).sum()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            monitor.step(loss)
    assert [e["step"] for e in looks(events)] == [1, 2, 4, 8, 16, 32, 64]


def test_the_learning_rate_is_the_optimizers_after_it_loads_a_state() -> None:
    """Loading makes new groups; the very next step is noted with the rate that was loaded."""
    model = network()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.5)
    saved = optimizer.state_dict()
    optimizer.param_groups[0]["lr"] = 0.25
    events: list[dict[str, Any]] = []
    with Monitor(model, optimizer, on_event=[events.append]) as monitor:
        for step in range(1, 15):
            if step == 11:  # between two looks
                optimizer.load_state_dict(saved)
            monitor.step(1.0)
    rates = [lr for e in events if e["event"] == "steps" for lr in e["lr"]]
    assert rates == 10 * [0.25] + 4 * [0.5]


def test_a_closed_monitor_leaves_no_hooks_in_the_optimizer() -> None:
    """As many as before, and a state can be loaded."""
    model = network()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.5)
    Monitor(model, optimizer).close()
    hooks = optimizer._optimizer_step_pre_hooks, optimizer._optimizer_load_state_dict_post_hooks
    assert not any(hooks)


@pytest.mark.parametrize("loss", [nn.functional.mse_loss, nn.functional.l1_loss])
def test_the_best_constant(loss: Any) -> None:
    """Beside the loss of the mean, and of the median."""
    from downslope.monitor import constant_loss

    targets = torch.randn(101, 1, generator=torch.Generator().manual_seed(3)).exp()
    middle = targets.mean() if loss is nn.functional.mse_loss else targets.median()
    found = constant_loss(loss, torch.zeros(101, 1), targets)
    assert found == pytest.approx(float(loss(middle.expand(101, 1), targets)), rel=2e-3)


def test_a_run_begun_again_in_the_same_folder_is_read_alone(tmp_path: Path) -> None:
    """The earlier one stays in the file; of a run that goes on, the steps before stay too."""

    def run(losses: list[float], done: int) -> list[tuple[int, float]]:
        model = network()
        optimizer = torch.optim.SGD(model.parameters())
        with Monitor(model, optimizer, tmp_path, done=done) as monitor:
            for loss in losses:
                monitor.step(loss)
        records = read_records(tmp_path / "records.jsonl")
        return [(r["step"], r["loss"]) for r in records if r["event"] == "train"]

    assert run([5.0, 4.0, 3.0], done=0) == [(1, 5.0), (2, 4.0), (3, 3.0)]
    assert run([2.0, 1.0], done=0) == [(1, 2.0), (2, 1.0)]
    assert run([0.5], done=1) == [(1, 2.0), (2, 0.5)]
    assert (tmp_path / "records.jsonl").read_bytes().count(b"5.0") == 1


def test_the_monitor_is_public() -> None:
    """By the names that the documentation uses."""
    assert downslope.Monitor is Monitor


@pytest.mark.parametrize("every", [1, 1000])
def test_a_copy_is_not_watched(every: int) -> None:
    """Copies and pickles of a watched model run, and the monitor sees nothing of them."""
    model = network()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    events: list[dict[str, Any]] = []
    with Monitor(model, optimizer, every=every, on_event=[events.append]) as monitor:
        for x in torch.randn(3, 4, 3):
            loss = model(x).sum()
            loss.backward()
            optimizer.step()
            monitor.step(loss)
        file = io.BytesIO()
        torch.save(model, file)
        file.seek(0)
        seen = len(events)
        for other in (copy.deepcopy(model), torch.load(file, weights_only=False)):
            assert torch.equal(other(torch.ones(4, 3)), model(torch.ones(4, 3)))
            with torch.no_grad():
                other[0].weight.fill_(math.nan)
            other(torch.full((4, 3), math.inf)).sum().backward()
        monitor.trace()
    kinds = [e["kind"] for e in events[seen:] if e["event"] == "nonfinite"]
    assert kinds == ["loss"]  # the original's own passes are finite


@pytest.mark.parametrize("how", ["positional", "named"])
@pytest.mark.parametrize("whose", [torch.optim.SGD, downslope.optim.SGD])
def test_gradients_made_by_a_closure_are_seen(whose: type[torch.optim.Optimizer], how: str) -> None:
    """Those of this step, not those that lay there when the optimizer was called."""
    model, events = network(), list[dict[str, Any]]()
    optimizer = whose(model.parameters(), lr=0.1)  # type: ignore[call-arg]
    norms = []

    def closure() -> Tensor:
        optimizer.zero_grad()
        loss = (len(norms) + 1) * model(torch.ones(4, 3)).square().mean()
        loss.backward()
        norms.append(math.hypot(*(float(p.grad.norm()) for p in model.parameters())))
        return loss

    with Monitor(model, optimizer, every=1, on_event=[events.append]) as monitor:
        for _ in range(3):
            given = {"closure": closure} if how == "named" else {}
            monitor.step(optimizer.step(**given) if given else optimizer.step(closure))
    assert [e["grad_norm"] for e in looks(events)] == pytest.approx(norms)
