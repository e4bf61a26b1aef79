"""Looks whose numbers compiled calls write into a table, beside naive float64."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from downslope import Monitor

Events = list[dict[str, Any]]


class Changing(nn.Module):
    """Adds to its own inputs, in place."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.layer(x.add_(1.0))


class Overwriting(nn.Module):
    """Writes over what an activation function returned."""

    def __init__(self) -> None:
        super().__init__()
        self.layer, self.act = nn.Linear(4, 3), nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        with torch.no_grad():
            self.act(x).fill_(1.0)
        return self.layer(x)


def watched(model: nn.Module, batches: list[Tensor]) -> tuple[list[dict[str, Any]], list[bool]]:
    """Looks at every step, and whether each went into the table."""
    events, in_table = Events(), []
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with Monitor(model, optimizer, every=1, on_event=[events.append]) as monitor:
        for x in batches:
            loss = model(x).square().mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            monitor.step(loss)
            look = monitor._look
            in_table.append(look._was_late and look._steady is not None and look._steady.in_table)
    return [e for e in events if e["event"] == "monitor"], in_table


def batches(count: int = 7, rows: int = 16) -> list[Tensor]:
    make = torch.Generator().manual_seed(4)
    return [torch.randn(rows, 4, generator=make) * 2 + 1 for _ in range(count)]


def spread(x: Any) -> dict[str, float]:
    std, mean = x.std(0), x.mean(0)
    return {
        "rows": len(x),
        "checksum": x[0].sum(),
        "largest": np.abs(x).max(),
        "std_max": std.max(),
        "std_min": std.min(),
        "std_ratio": std.max() / std.min(),
        "mean_over_std": sorted(np.abs(mean) / std)[(len(std) - 1) // 2],
    }


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_every_number_of_a_usual_look(dtype: torch.dtype) -> None:
    """Of the inputs, two activation functions, the outputs, gradients, weights and updates."""
    torch.manual_seed(2)
    act = [nn.ReLU(), nn.Tanh()]
    model = nn.Sequential(nn.Linear(4, 6), act[0], nn.Linear(6, 5), act[1], nn.Linear(5, 3))
    model.to(dtype)
    twin = [p.detach().clone().requires_grad_() for p in model.parameters()]
    data = [x.to(dtype) for x in batches()]
    found, in_table = watched(model, data)
    assert in_table == [False, False, True, False, True, True, True]  # powers of two: thorough
    for event, x in zip(found, data, strict=True):
        a = F.relu(F.linear(x, twin[0], twin[1]))
        b = torch.tanh(F.linear(a, twin[2], twin[3]))
        out = F.linear(b, twin[4], twin[5])
        grads = torch.autograd.grad(out.square().mean(), twin)
        a, b, out = (t.detach().double().numpy() for t in (a, b, out))
        assert event["input"] == pytest.approx(spread(x.double().numpy()), rel=1e-11)
        relu, tanh = event["activations"]["1"], event["activations"]["3"]
        expected = {"kind": "relu", "dead": (a <= 0).all(0).mean(), "zero": (a <= 0).mean()}
        assert relu == pytest.approx({**expected, "calls": 1}, abs=1e-12)
        saturated = (np.abs(b) > 0.975).mean()
        assert tanh == pytest.approx({"kind": "tanh", "saturated": saturated, "calls": 1})
        size, noise = np.square(out).mean(), out.var(0).mean()
        scale = {"rows": 16, "scale": math.sqrt(size), "spread": math.sqrt(noise)}
        assert event["output"] == pytest.approx(scale, rel=1e-11)
        assert event["stale_gradients"] is False
        with torch.no_grad():
            for p, g, measured in zip(twin, grads, event["tensors"].values(), strict=True):
                before = p.double().clone()
                p.add_(g, alpha=-0.1)
                assert measured == pytest.approx(
                    {
                        "grad_norm": float(g.double().norm()),
                        "weight_norm": float(before.norm()),
                        "update_norm": float((p.double() - before).norm()),
                        "zero_share": float((g == 0).double().mean()),
                    },
                    rel=1e-11,
                )


@pytest.mark.parametrize("kind", [Changing, Overwriting])
def test_what_a_pass_writes_over_is_measured_before(kind: type[nn.Module]) -> None:
    """Inputs and results are those that came, not what is left of them at the end."""
    data = batches()
    expected = [x.double().numpy().copy() for x in data]
    found, in_table = watched(kind(), data)
    assert not any(in_table)
    for event, x in zip(found, expected, strict=True):
        assert event["input"] == pytest.approx(spread(x), rel=1e-6)
        if kind is Overwriting:
            assert event["activations"]["act"]["zero"] == pytest.approx((x <= 0).mean())


def test_a_batch_of_another_kind_has_its_own_form() -> None:
    """One row has no spread; usual ones before and after it have."""
    data = batches(9)
    data[5] = data[5][:1]
    found, in_table = watched(nn.Sequential(nn.Linear(4, 3), nn.ReLU()), data)
    assert in_table == [False, False, True, False, True, False, True, False, True]
    assert [sorted(e["output"]) == ["rows", "scale"] for e in found] == [k == 5 for k in range(9)]
    assert [e["step"] for e in found] == list(range(1, 10))
    assert found[5]["input"] == pytest.approx(
        {"rows": 1, "checksum": float(data[5].sum()), "largest": float(data[5].abs().max())}
    )


def test_the_model_may_return_an_activation_functions_result() -> None:
    """Which is said at every look, in the table or not."""
    found, in_table = watched(nn.Sequential(nn.Linear(4, 3), nn.Sigmoid()), batches())
    assert any(in_table)
    assert all(e["activations"]["1"]["output"] is True for e in found)


class Loop:
    """Trains on one batch with SGD, every step looked at, and says what each look should give."""

    def __init__(self, *, replaces: bool = True) -> None:
        self.replaces = replaces  # whether each step has gradients of its own
        torch.manual_seed(3)
        self.model = nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2))
        self.params = list(self.model.parameters())
        self.optimizer = torch.optim.SGD(self.params, lr=0.1)
        self.events: Events = []
        self.monitor = Monitor(self.model, self.optimizer, every=1, on_event=[self.events.append])
        self.late: list[bool] = []
        self.expected: list[list[tuple[float, float]]] = []

    def step(self, zero_after: bool = False) -> None:
        loss = self.model(batches(1)[0]).square().mean()
        loss.backward()
        before = [p.detach().double().clone() for p in self.params]
        norms = [float(p.grad.double().norm()) for p in self.params if p.grad is not None]
        self.optimizer.step()
        after = [p.detach().double() for p in self.params]
        moved = [float((a - b).norm()) for a, b in zip(after, before, strict=True)]
        self.expected.append(list(zip(norms, moved, strict=True)))
        if zero_after:
            self.optimizer.zero_grad(set_to_none=False)
        self.monitor.step(loss)
        self.late.append(self.monitor._look._was_late)
        self.optimizer.zero_grad(set_to_none=self.replaces)

    def check(self, missing: tuple[int, ...] = ()) -> None:
        looks = {e["step"]: e["tensors"] for e in self.events if e["event"] == "monitor"}
        steps = [k for k in range(1, len(self.expected) + 1) if k not in missing]
        assert list(looks) == steps
        for k in steps:
            found = [(t["grad_norm"], t["update_norm"]) for t in looks[k].values()]
            assert found == [pytest.approx(pair, rel=1e-11) for pair in self.expected[k - 1]]


def test_weights_put_in_and_out_between_steps_are_noticed() -> None:
    """As for a validation with an average of the weights: what the step began with is copied."""
    loop = Loop()
    for k in range(8):
        if k in (4, 5, 6):
            with torch.no_grad():
                for p in loop.params:
                    p.mul_(0.5)
        loop.step()
    assert loop.late == [False, False, True, False, True, True, True, False]
    loop.check()


def test_weights_changed_behind_torchs_back_are_measured_before_the_step() -> None:
    """Clipping through ``.data`` leaves no trace in a tensor's version."""
    loop = Loop()
    for _ in range(8):
        for p in loop.params:
            p.data.clamp_(-0.3, 0.3)
        loop.step()
    assert not any(loop.late)
    loop.check()


@pytest.mark.parametrize("replaces", [True, False])
def test_gradients_zeroed_before_the_monitors_call_are_measured_before_that(replaces: bool) -> None:
    """A loop that zeroes gradients in place as soon as the step is done."""
    loop = Loop(replaces=replaces)
    for _ in range(8):
        loop.step(zero_after=True)
    assert not any(loop.late)
    loop.check()


def test_weights_changed_between_a_pass_and_its_step_are_measured_before_the_step() -> None:
    """As by sharpness-aware steps, which put weights aside and back."""
    loop = Loop()

    def aside(_: Tensor) -> None:
        with torch.no_grad():
            for p in loop.params:
                p.mul_(2.0)

    for k in range(8):
        if k == 1:
            loop.model[-1].register_full_backward_hook(lambda *_: aside(_))
        with torch.no_grad():
            loop.params[0].mul_(0.9)  # which alone would be noticed when the pass begins
        loop.step()
    assert not any(loop.late)
    loop.check()


def test_a_call_without_a_step_is_not_measured_as_one() -> None:
    """As where a scaler leaves a step out: what was to be measured when it is done is not there."""
    loop = Loop()
    for k in range(8):
        if k == 5:
            loop.optimizer.step = lambda: None
        loop.step()
        vars(loop.optimizer).pop("step", None)
    assert loop.late == [False, False, True, False, True, False, False, False]
    loop.check(missing=(6,))


def test_gradients_that_stay_are_measured_before_the_step() -> None:
    """A loop that zeroes gradients in place before the backward pass."""
    loop = Loop(replaces=False)
    for _ in range(8):
        loop.step()
    assert not any(loop.late)
    loop.check()


def test_a_step_that_cannot_be_measured_any_more_is_left_out() -> None:
    """A loop that begins to do otherwise loses one look, not the next ones."""
    loop = Loop()
    for k in range(12):
        loop.step(zero_after=k >= 5)
    assert loop.late == [False, False, True, False, True, *[False] * 7]
    loop.check(missing=(6,))


@pytest.mark.parametrize("step", [6, 7])
def test_the_last_finite_weights_are_those_before_a_bad_step(step: int) -> None:
    """The first bad gradients are in a look made after their step."""
    loop = Loop()
    for k in range(1, step + 1):
        if k == step:
            before = [p.detach().clone() for p in loop.params]
            loop.params[0].register_hook(lambda g: g * math.inf)
        loop.step()
    kept = loop.monitor._look.kept
    assert loop.late[-1]
    assert all(torch.equal(k, b) for k, b in zip(kept, before, strict=True))
