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
            in_table.append(monitor._look._forward.in_table)
            monitor.step(loss)
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
    assert in_table == [False, False, True, False, True, False, False, False, True]
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
