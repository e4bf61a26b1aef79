"""Which activation functions are seen, when all is hooked and when only what is known of."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from downslope import Monitor


class Called(nn.Module):
    """Functions inside a module that has a layer of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(4, 4)
        self.twice = False

    def forward(self, x: Tensor) -> Tensor:
        x = torch.relu(self.layer(x))
        return torch.tanh(x) if self.twice else x


class Inside(Called):
    """A function whose result is not what the module returns."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.sigmoid(self.layer(x)) + 1


class Repeated(nn.Module):
    """One module, called several times."""

    def __init__(self) -> None:
        super().__init__()
        self.act = nn.Tanh()
        self.layer = nn.Linear(4, 4)

    def forward(self, x: Tensor) -> Tensor:
        for _ in range(3):
            x = self.act(self.layer(x) * 3)
        return x + 1


MODELS: dict[str, Any] = {
    "modules": lambda: nn.Sequential(nn.Linear(4, 5), nn.ReLU(), nn.Linear(5, 4), nn.Sigmoid()),
    "in place": lambda: nn.Sequential(
        nn.Linear(4, 5), nn.ReLU(inplace=True), nn.Dropout(0.5), nn.Linear(5, 4)
    ),
    "a module that returns it": lambda: nn.Sequential(Called(), nn.Linear(4, 4)),
    "inside a module": lambda: nn.Sequential(Inside(), nn.Linear(4, 4)),
    "repeated": lambda: nn.Sequential(Repeated()),
    "at the top": Called,
    "none": lambda: nn.Linear(4, 4),
}


def looks(model: nn.Module, steps: int, every: int, change_at: int = 0) -> dict[int, Any]:
    """What was seen, by step; the model changes after a step."""
    torch.manual_seed(1)
    events: list[dict[str, Any]] = []
    optimizer = torch.optim.SGD(model.parameters(), lr=0.0)
    with Monitor(model, optimizer, every=every, on_event=[events.append]) as monitor:
        for step in range(1, steps + 1):
            torch.manual_seed(7)
            loss = model(torch.randn(8, 4)).square().mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            monitor.step(loss)
            if step == change_at:
                model.twice = True
    return {e["step"]: e["activations"] for e in events if e["event"] == "monitor"}


@pytest.mark.parametrize("name", MODELS)
def test_later_looks_see_what_the_first_saw(name: str) -> None:
    """The same batch at each step, so the same facts, however many hooks there are."""
    seen = looks(MODELS[name](), 7, every=1)
    assert len(seen) == 7
    assert all(found == seen[1] for found in seen.values())
    assert bool(seen[1]) == (name != "none")


def test_each_call_counts() -> None:
    """The facts are the mean over the calls."""
    model = Repeated()
    seen = looks(model, 6, every=1)[6]["act"]
    torch.manual_seed(7)
    x, shares = torch.randn(8, 4), []
    with torch.no_grad():
        for _ in range(3):
            x = model.act(model.layer(x) * 3)
            shares.append(float((x.abs() > 0.975).float().mean()))
    assert seen["calls"] == 3
    assert seen["saturated"] == pytest.approx(sum(shares) / 3)


def test_a_change_is_noticed_at_the_next_power_of_two() -> None:
    """A function that is called from step 6 on is seen from step 8 on."""
    seen = looks(nn.Sequential(model := Called()), 9, every=1)
    assert set(seen[9]) == {"0"}
    model.twice = False
    wrapped = nn.Sequential(model)
    kinds = {}
    events: list[dict[str, Any]] = []
    optimizer = torch.optim.SGD(wrapped.parameters(), lr=0.0)
    with Monitor(wrapped, optimizer, every=1, on_event=[events.append]) as monitor:
        for step in range(1, 10):
            model.twice = step > 5
            loss = wrapped(torch.randn(8, 4)).sum()
            loss.backward()
            optimizer.step()
            monitor.step(loss)
    for e in events:
        if e["event"] == "monitor":
            kinds[e["step"]] = sorted(f["kind"] for f in e["activations"].values())
    assert kinds[5] == ["relu"]
    assert kinds[8] == kinds[9] == ["relu", "tanh"]


def test_taps_are_only_on_what_is_known() -> None:
    """After a thorough look: on the activation modules and the model, and no hooks."""
    model = nn.Sequential(nn.Linear(4, 5), nn.ReLU(), nn.Linear(5, 4))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    monitor = Monitor(model, optimizer, every=1)
    for _ in range(2):
        loss = model(torch.randn(4, 4)).sum()
        loss.backward()
        optimizer.step()
        monitor.step(loss)
    tapped = [m._compiled_call_impl is not None for m in model.modules()]
    hooked = [bool(m._forward_hooks or m._forward_pre_hooks) for m in model.modules()]
    monitor.close()
    assert tapped == [True, False, True, False]
    assert not any(hooked)
    assert all(m._compiled_call_impl is None for m in model.modules())


@pytest.mark.filterwarnings("ignore")  # Dynamo tells what of the hooks it does not trace
def test_a_compiled_model_is_seen_at_every_step() -> None:
    """By hooks, as what torch compiles goes past taps."""
    torch._dynamo.reset()
    model = nn.Sequential(nn.Linear(4, 5), nn.ReLU(), nn.Linear(5, 4))
    events: list[dict[str, Any]] = []
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    call: Any = torch.compile(model, backend="eager")
    with Monitor(model, optimizer, every=1, on_event=[events.append]) as monitor:
        for _ in range(6):
            loss = call(torch.randn(8, 4)).sum()
            loss.backward()
            optimizer.step()
            monitor.step(loss)
    seen = [e for e in events if e["event"] == "monitor"]
    assert len(seen) == 6
    assert all(e["input"]["rows"] == 8 and e["activations"]["1"]["calls"] == 1 for e in seen)


class Raising(nn.Module):
    """Raises in its second pass."""

    def __init__(self) -> None:
        super().__init__()
        self.layer, self.passes = nn.Linear(4, 4), 0

    def forward(self, x: Tensor) -> Tensor:
        self.passes += 1
        if self.passes == 2:
            raise ArithmeticError
        return F.relu(self.layer(x))


def test_a_pass_that_raises_leaves_nothing_behind() -> None:
    """Functions of torch are not listened to afterwards."""
    model = Raising()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with Monitor(model, optimizer, every=1) as monitor:
        loss = model(torch.ones(2, 4)).sum()
        loss.backward()
        optimizer.step()
        monitor.step(loss)
        with pytest.raises(ArithmeticError):
            model(torch.ones(2, 4))
        assert torch._C._len_torch_function_stack() == 0
        monitor.step(model(torch.ones(2, 4)).sum())


def cleared(how: str, steps: int) -> dict[int, bool]:
    """Whether gradients were called stale, by step; the loop clears them in some way up to 5."""
    model = nn.Linear(4, 4)
    events: list[dict[str, Any]] = []
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    with Monitor(model, optimizer, every=1, on_event=[events.append]) as monitor:
        for step in range(1, steps + 1):
            loss = model(torch.ones(2, 4)).sum()
            if step <= 5:
                optimizer.zero_grad(set_to_none=how == "replaced")
            loss.backward()
            optimizer.step()
            monitor.step(loss)
    return {e["step"]: e["stale_gradients"] for e in events if e["event"] == "monitor"}


@pytest.mark.parametrize("how", ["replaced", "zeroed"])
def test_gradients_that_are_no_longer_cleared_are_seen(how: str) -> None:
    """At the look after the first at which they were kept, at the latest."""
    stale = cleared(how, 9)
    assert not any(stale[step] for step in range(1, 6))
    assert all(stale[step] for step in range(7, 10))


class Pair(nn.Module):
    """Two outputs of layers of their own."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.other = nn.Linear(4, 4), nn.Linear(4, 1)

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        return {"one": self.one(x), "other": self.other(x)}


@pytest.mark.parametrize("opposed", [False, True])
def test_gradients_that_are_replaced_before_the_step_are_not_left(opposed: bool) -> None:
    """Of several outputs, and where another model's loss went backward through this one first."""
    model = Pair()
    events: list[dict[str, Any]] = []
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    with Monitor(model, optimizer, every=1, on_event=[events.append]) as monitor:
        for _ in range(8):
            if opposed:
                model(torch.ones(2, 4))["one"].sum().backward()
            optimizer.zero_grad()
            outputs = model(torch.ones(2, 4))
            loss = outputs["one"].sum() + outputs["other"].sum()
            loss.backward()
            optimizer.step()
            monitor.step(loss)
    seen = [e["stale_gradients"] for e in events if e["event"] == "monitor"]
    assert len(seen) == 8
    assert not any(seen)


@pytest.mark.parametrize("early", [False, True])
def test_gradients_that_are_cleared_every_other_step_are_seen(early: bool) -> None:
    """Before the pass or after it: left at the even steps, but for the first that is not told."""
    model = nn.Linear(4, 4)
    events: list[dict[str, Any]] = []
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    with Monitor(model, optimizer, every=1, on_event=[events.append]) as monitor:
        for step in range(1, 16):
            if early and step % 2:
                optimizer.zero_grad()
            loss = model(torch.ones(2, 4)).sum()
            if not early and step % 2:
                optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            monitor.step(loss)
    stale = {e["step"]: e["stale_gradients"] for e in events if e["event"] == "monitor"}
    assert not any(stale[step] for step in range(1, 16, 2))
    assert any(stale[step] for step in range(2, 16, 2))
