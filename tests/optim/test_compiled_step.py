"""A step inside ``torch.compile``: one graph, compiled once, with the numbers of a plain step."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch._dynamo.testing import CompileCounter

import downslope.optim
from downslope.errors import EngineError
from downslope.schedules import linear

from .catalogue import Entry, each
from .harness import assert_equal_state, assert_same, build, drive, gradients, leaves, snapshot

START = (torch.randn(4, 3), torch.randn(5), torch.tensor(0.7))
ROWS = gradients(START, 4)


# torch's compiler imports parts of torch that torch has deprecated.
pytestmark = pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning")


@pytest.fixture(autouse=True)
def _nothing_compiled() -> Iterator[None]:
    """Each test compiles anew."""
    torch._dynamo.reset()
    yield
    torch._dynamo.reset()


def compiled(optimizer: torch.optim.Optimizer) -> CompileCounter:
    """Compile ``optimizer.step`` in one graph; the counter knows how often that was done."""
    counter = CompileCounter()
    optimizer.step = torch.compile(optimizer.step, backend=counter, fullgraph=True)
    return counter


@each()
def test_follows_the_plain_step(entry: Entry) -> None:
    """It moves parameters and state as a plain step does while lr changes, and compiles once."""
    kwargs = dict(max((v.kwargs for v in entry.variants), key=len))
    ends = []
    for compile_it in (False, True):
        params = leaves(START)
        optimizer = build(entry.ours, params, kwargs, {"lr": 0.02})
        counter = compiled(optimizer) if compile_it else None

        def lower(step: int, group: dict[str, Any] = optimizer.param_groups[0]) -> None:
            group["lr"] = 0.02 / (step + 1)

        drive(optimizer, ROWS, lower)
        assert counter is None or counter.frame_count == 1
        ends.append((params, snapshot(optimizer)))
    (plain, plain_state), (params, state) = ends
    assert_same(params, plain)
    assert_equal_state(state, plain_state)


def test_schedule_advances() -> None:
    """A schedule in place of lr gives each compiled step its value, and compiles once."""
    ends = []
    for compile_it in (False, True):
        p = torch.nn.Parameter(torch.ones(3))
        optimizer = downslope.optim.SGD([p], lr=linear(4, start=1.0, end=0.0))
        counter = compiled(optimizer) if compile_it else None
        drive(optimizer, [[torch.ones(3)]] * 4)
        assert counter is None or counter.frame_count == 1
        ends.append(p)
    assert_same(ends[:1], ends[1:])


def test_undamped_first_step_comes_once() -> None:
    """The first step of a momentum buffer is undamped, in compiled code too, the next are not."""
    ends = []
    for compile_it in (False, True):
        p = torch.nn.Parameter(torch.ones(3))
        optimizer = downslope.optim.SGD([p], lr=0.1, momentum=0.9, dampening=0.5)
        if compile_it:
            compiled(optimizer)
        drive(optimizer, [[torch.ones(3)]] * 3)
        ends.append(p)
    assert_same(ends[:1], ends[1:])


def test_two_steps_in_one_graph_are_two() -> None:
    """Two calls in one compiled function read the hyperparameters twice."""
    p = torch.nn.Parameter(torch.ones(3))
    optimizer = downslope.optim.SGD([p], lr=linear(4, start=1.0, end=0.0))

    def twice() -> None:
        optimizer.step()
        optimizer.step()

    p.grad = torch.ones(3)
    torch.compile(twice, backend="aot_eager", fullgraph=True)()
    torch.testing.assert_close(p.detach(), torch.full((3,), 1 - 1.0 - 0.75))


def test_compiled_by_inductor() -> None:
    """The default compiler's code moves parameters as a plain step does, closure included."""
    ends = []
    for compile_it in (False, True):
        p = torch.nn.Parameter(torch.linspace(-1, 1, 40))
        optimizer = downslope.optim.AdamW([p], lr=0.1)
        step = torch.compile(optimizer.step, fullgraph=True) if compile_it else optimizer.step
        for _ in range(3):
            p.grad = p.detach().sin()
            step()
        ends.append(p)
    assert_same(ends[:1], ends[1:])


def test_changed_flag_is_refused() -> None:
    """A flag that changes after compiling raises and says what to do."""
    p = torch.nn.Parameter(torch.ones(3))
    optimizer = downslope.optim.SGD([p], lr=0.1, momentum=0.9)
    compiled(optimizer)
    drive(optimizer, [[torch.ones(3)]])
    optimizer.param_groups[0]["nesterov"] = True
    with pytest.raises(EngineError, match=r"torch\.compiler\.reset"):
        drive(optimizer, [[torch.ones(3)]])


def test_bad_value_is_refused() -> None:
    """A learning rate that became NaN raises in a compiled step too."""
    p = torch.nn.Parameter(torch.ones(3))
    optimizer = downslope.optim.SGD([p], lr=0.1)
    compiled(optimizer)
    drive(optimizer, [[torch.ones(3)]])
    optimizer.param_groups[0]["lr"] = float("nan")
    with pytest.raises(ValueError, match="lr"):
        drive(optimizer, [[torch.ones(3)]])
    assert torch.isfinite(p).all()
    assert torch.is_grad_enabled()


@pytest.mark.parametrize("beyond", [{"clip_norm": 1.0}, {"on_nonfinite": "skip"}])
def test_what_cannot_be_compiled_is_refused(beyond: dict[str, Any]) -> None:
    """Clipping and a look for NaN inside a compiled step are refused, and nothing moves."""
    p = torch.ones(3, requires_grad=True)
    optimizer = downslope.optim.SGD([p], lr=0.1, **beyond)
    compiled(optimizer)
    with pytest.raises(EngineError, match="cannot be compiled"):
        drive(optimizer, [[torch.ones(3)]])
    assert torch.equal(p.detach(), torch.ones(3))
