"""A step inside ``torch.compile``: one graph, compiled once, with the numbers of a plain step."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import nullcontext
from typing import Any

import pytest
import torch
from torch._dynamo.testing import CompileCounter

import downslope.optim
from downslope.errors import EngineError, NonfiniteGradientError
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


CLIPS: tuple[dict[str, Any], ...] = (
    {"clip_norm": 0.5},
    {"clip_norm": linear(4, start=2.0, end=0.1)},
    {"clip_value": 0.2},
    {"clip_agc": 0.05},
    {"clip_norm": 0.7, "clip_value": 0.4, "clip_agc": 0.3, "maximize": True},
    {"clip_norm": float("inf")},
)


@pytest.mark.parametrize("beyond", CLIPS, ids=str)
def test_clips_as_the_plain_step(beyond: dict[str, Any]) -> None:
    """Every kind of clipping has the plain step's numbers and norm, and compiles once."""
    ends = []
    for compile_it in (False, True):
        params = leaves(START)
        groups = [{"params": params[:1]}, {"params": params[1:]}]
        optimizer = downslope.optim.AdamW(groups, lr=0.05, **beyond)
        counter = compiled(optimizer) if compile_it else None
        drive(optimizer, ROWS)
        assert counter is None or counter.frame_count == 1
        ends.append((params, snapshot(optimizer), optimizer.grad_norm))
    (plain, plain_state, plain_norm), (params, state, norm) = ends
    assert_same(params, plain)
    assert_equal_state(state, plain_state)
    assert norm == pytest.approx(plain_norm)


def test_groups_are_clipped_alone_or_together() -> None:
    """A group's own threshold is taken over its own gradients, in compiled code too."""
    ends = []
    for compile_it in (False, True):
        params = leaves(START)
        groups = [{"params": [params[0]], "clip_norm": 0.1}, {"params": params[1:]}]
        optimizer = downslope.optim.SGD(groups, lr=0.5, clip_norm=0.4)
        if compile_it:
            compiled(optimizer)
        drive(optimizer, ROWS)
        ends.append(params)
    assert_same(ends[1], ends[0])


@pytest.mark.parametrize("bad_at", [0, 1])
def test_a_gradient_that_is_not_finite_is_skipped(bad_at: int) -> None:
    """Parameters, state, counts and schedules stay as they are; the first step comes later."""
    rows = [list(row) for row in ROWS]
    rows[bad_at][1] = torch.full_like(rows[bad_at][1], torch.nan)
    ends = []
    for compile_it in (False, True):
        params = leaves(START)
        optimizer = downslope.optim.SGD(
            params, lr=linear(4, start=1.0, end=0.0), momentum=0.9, dampening=0.5,
            on_nonfinite="skip",
        )  # fmt: skip
        if compile_it:
            compiled(optimizer)
        with pytest.warns(UserWarning, match="skipped_steps counts them"):
            drive(optimizer, rows)
        assert optimizer.skipped_steps == 1
        ends.append((params, optimizer.param_groups[0]["schedule_step"]))
    assert_same(ends[1][0], ends[0][0])
    assert ends[1][1] == ends[0][1] == len(rows) - 1


def test_a_count_stays_when_a_step_is_skipped() -> None:
    """Adam's count of steps is that of the steps taken."""
    p = torch.ones(3, requires_grad=True)
    optimizer = downslope.optim.Adam([p], on_nonfinite="skip")
    compiled(optimizer)
    with pytest.warns(UserWarning, match="skipped_steps counts them"):
        drive(optimizer, [[torch.ones(3)], [torch.full((3,), torch.inf)], [torch.ones(3)]])
    assert optimizer.state[p]["step"] == 2


def test_a_gradient_that_is_not_finite_raises() -> None:
    """The error names the parameter, nothing has moved, and autograd is on."""
    params = leaves(START)
    optimizer = downslope.optim.SGD(params, lr=0.1, on_nonfinite="raise", clip_norm=1.0)
    compiled(optimizer)
    bad = [*ROWS[0][:2], torch.full_like(ROWS[0][2], torch.nan)]
    with pytest.raises(NonfiniteGradientError, match="parameter 2 of group 0"):
        drive(optimizer, [bad])
    assert_same(params, START)
    assert torch.is_grad_enabled()


def test_clipped_by_inductor() -> None:
    """The default compiler's code clips and skips as the plain step does."""
    ends = []
    for compile_it in (False, True):
        p = torch.nn.Parameter(torch.linspace(-1, 1, 40))
        optimizer = downslope.optim.AdamW([p], lr=0.1, clip_norm=0.5, on_nonfinite="skip")
        step = torch.compile(optimizer.step, fullgraph=True) if compile_it else optimizer.step
        for k in range(3):
            p.grad = p.detach().sin() if k != 1 else torch.full_like(p, torch.nan)
            with pytest.warns(UserWarning, match="skipped") if k == 1 else nullcontext():
                step()
        ends.append(p)
    assert_same(ends[:1], ends[1:])


@pytest.mark.parametrize("change", [{"clip_value": 1.0}, {"clip_norm": 1.0}])
def test_another_kind_of_clipping_is_refused(change: dict[str, Any]) -> None:
    """Clipping that begins after compiling raises and says what to do; nothing has moved."""
    p = torch.ones(3, requires_grad=True)
    optimizer = downslope.optim.SGD([p], lr=0.1)
    compiled(optimizer)
    drive(optimizer, [[torch.ones(3)]])
    before = p.detach().clone()
    optimizer.param_groups[0].update(change, clip_norm_over="group")
    with pytest.raises(EngineError, match=r"torch\.compiler\.reset"):
        drive(optimizer, [[torch.ones(3)]])
    assert torch.equal(p.detach(), before)
