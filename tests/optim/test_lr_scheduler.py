"""The scheduler classes against torch's, and where they are better than torch's."""

from __future__ import annotations

import inspect
import math
import pickle
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.optim.lr_scheduler as theirs
from torch import Tensor
from torch.optim import Optimizer

from downslope import optim
from downslope.optim import lr_scheduler as ours
from downslope.schedules import Schedule, cosine, linear, step

from .lr_cases import (
    ADDED,
    BUILD,
    NAMES,
    STEPS,
    every_build,
    every_plateau,
    metric,
    momentums,
    now,
    run,
    same,
    sequential,
    sgd,
)


@every_build
@pytest.mark.parametrize("tensor", [False, True], ids=["float lr", "tensor lr"])
def test_sequences_equal_torchs(build: Callable[..., Any], tensor: bool) -> None:
    """200 epochs with two groups give torch's learning rates and momentums to rounding."""
    optimizers = [sgd(0.1, 0.03, tensor=tensor) for _ in range(2)]
    expected, found = (
        run(build(module, optimizer), STEPS, also=momentums)
        for module, optimizer in zip((theirs, ours), optimizers, strict=True)
    )
    assert same(found, expected)


@every_plateau
@pytest.mark.parametrize("tensor", [False, True], ids=["float lr", "tensor lr"])
def test_plateau_equals_torchs(arguments: dict[str, Any], tensor: bool) -> None:
    """200 epochs of a noisy metric give torch's learning rates exactly."""
    expected = run(
        theirs.ReduceLROnPlateau(sgd(0.1, 0.03, tensor=tensor), **arguments), STEPS, metric
    )
    got = run(ours.ReduceLROnPlateau(sgd(0.1, 0.03, tensor=tensor), **arguments), STEPS, metric)
    assert got == expected
    assert len({tuple(lrs) for lrs in got}) > 2


@every_build
@pytest.mark.parametrize("source", ["ours", "theirs"])
@pytest.mark.parametrize("at", [0, 6, 7, 131])
def test_state_dicts_go_both_ways(build: Callable[..., Any], source: str, at: int) -> None:
    """A run saved in one library and resumed in the other goes on as if never interrupted."""
    first, second = (ours, theirs) if source == "ours" else (theirs, ours)
    expected = run(build(ours, sgd(0.1, 0.03)), STEPS)
    before = build(first, sgd(0.1, 0.03))
    run(before, at)
    resumed = build(second, sgd(0.1, 0.03))
    resumed.load_state_dict(pickle.loads(pickle.dumps(before.state_dict())))
    resumed.optimizer.load_state_dict(before.optimizer.state_dict())
    assert same(run(resumed, STEPS - at), expected[at:])


@every_build
def test_state_keys_are_torchs(build: Callable[..., Any]) -> None:
    """After some epochs a state dict has torch's keys and torch's values."""
    states = []
    for module in (ours, theirs):
        scheduler = build(module, sgd(0.1, 0.03))
        run(scheduler, 95)
        states.append(scheduler.state_dict())
    assert flat(states[0]).keys() == flat(states[1]).keys()
    for key, value in flat(states[1]).items():
        same_value = flat(states[0])[key]
        if not isinstance(value, str):
            same_value = pytest.approx(same_value, rel=1e-9, abs=1e-12)
        assert value == same_value, key


def flat(state: Any, path: str = "") -> dict[str, Any]:
    """The leaves of nested dicts and lists, by path; functions are left out."""
    pairs = state.items() if isinstance(state, dict) else enumerate(state)
    leaves: dict[str, Any] = {}
    for key, value in pairs:
        if isinstance(value, dict | list):
            leaves |= flat(value, f"{path}/{key}")
        elif isinstance(value, bool | int | float | str):
            leaves[f"{path}/{key}"] = value
    return leaves


@every_plateau
@pytest.mark.parametrize("source", ["ours", "theirs"])
def test_plateau_states_go_both_ways(arguments: dict[str, Any], source: str) -> None:
    """A plateau saved in one library and resumed in the other keeps its counts."""
    first, second = (ours, theirs) if source == "ours" else (theirs, ours)
    expected = run(theirs.ReduceLROnPlateau(sgd(0.1, 0.03), **arguments), STEPS, metric)
    before = first.ReduceLROnPlateau(sgd(0.1, 0.03), **arguments)
    run(before, 77, metric)
    resumed = second.ReduceLROnPlateau(sgd(0.1, 0.03), **arguments)
    assert before.state_dict().keys() == resumed.state_dict().keys()
    resumed.load_state_dict(before.state_dict())
    resumed.optimizer.load_state_dict(before.optimizer.state_dict())
    assert run(resumed, STEPS - 77, lambda epoch: metric(epoch + 77)) == expected[77:]


@pytest.mark.parametrize("name", NAMES)
def test_classes_are_torchs(name: str) -> None:
    """Every class passes ``isinstance`` checks for torch's class of its name and LRScheduler."""
    assert issubclass(getattr(ours, name), getattr(theirs, name))
    assert issubclass(getattr(ours, name), theirs.LRScheduler)


@pytest.mark.parametrize("name", NAMES)
def test_arguments_are_torchs(name: str) -> None:
    """The arguments have torch's names, order and defaults; ours come after them."""
    mine = inspect.signature(getattr(ours, name)).parameters
    torchs = inspect.signature(getattr(theirs, name)).parameters
    assert [n for n in mine if n not in ADDED] == list(torchs)
    assert set(list(mine)[len(torchs) :]) <= ADDED
    for parameter in torchs.values():
        if parameter.default is not parameter.empty:
            assert mine[parameter.name].default == parameter.default


def test_the_module_has_every_name_of_torchs() -> None:
    """``optim.lr_scheduler`` of ours can replace torch's in an import."""
    assert set(theirs.__all__) <= set(ours.__all__)


@pytest.mark.parametrize("name", ["step", "linear warmup", "cosine with floor"])
@pytest.mark.parametrize("last", [0, 4, 29, 30, 61])
def test_last_epoch_resumes_at_the_closed_form(name: str, last: int) -> None:
    """Built with ``last_epoch``, a scheduler has the lr that an uninterrupted run has."""
    expected = run(BUILD[name](ours, sgd(0.1)), STEPS)
    optimizer = sgd(0.1)
    optimizer.param_groups[0]["initial_lr"] = 0.1
    built = BUILD[name](ours, optimizer)
    arguments = {k: getattr(built, k) for k in type(built)._keys}
    resumed = type(built)(optimizer, **arguments, last_epoch=last)
    optimizer.step()
    assert same(run(resumed, 20), expected[last + 1 : last + 22])


@pytest.mark.parametrize("last", [0, 4, 6, 7, 95])
def test_sequential_resumes_by_last_epoch(last: int) -> None:
    """Torch restarts the first scheduler (0.1 for 0.9); ours goes on to the bit."""
    expected = run(sequential(ours, sgd(0.1, 0.03)), STEPS)
    resumed = sequential(ours, sgd(0.1, 0.03), last_epoch=last)
    resumed.optimizer.step()
    assert run(resumed, 50) == expected[last + 1 : last + 52]


def nested(optimizer: Optimizer) -> Any:
    inner = [
        sequential(ours, optimizer),
        ours.SequentialLR(
            optimizer,
            [ours.LinearLR(optimizer), ours.StepLR(optimizer, 4)],
            milestones=[6],
        ),
    ]
    return ours.SequentialLR(optimizer, inner, milestones=[120])


def test_nesting_does_not_shift_the_schedule() -> None:
    """A SequentialLR inside another runs as it does alone (torch skips its first epoch)."""
    alone = run(sequential(ours, sgd()), 119)
    second = run(
        (lambda o: ours.SequentialLR(o, [ours.LinearLR(o), ours.StepLR(o, 4)], [6]))(sgd()), 80
    )
    assert run(nested(sgd()), STEPS) == [*alone, *second]


def test_a_chain_inside_a_sequence_does_not_shift() -> None:
    """A ChainedScheduler as a part begins at its own first epoch, as first part or later."""

    def chain(optimizer: Optimizer) -> Any:
        return ours.ChainedScheduler(
            [ours.LinearLR(optimizer, 0.1), theirs.ExponentialLR(optimizer, 0.9)]
        )

    def twice(optimizer: Optimizer) -> Any:
        return ours.SequentialLR(optimizer, [chain(optimizer), chain(optimizer)], [10])

    alone = run(chain(sgd()), 9)
    assert run(twice(sgd()), 19) == alone + alone


def test_sequential_does_not_alias_a_tensor_lr() -> None:
    """The optimizer keeps its own lr tensor, and reported learning rates are copies."""
    optimizer = sgd(0.1, tensor=True)
    lr = optimizer.param_groups[0]["lr"]
    scheduler = sequential(ours, optimizer)
    run(scheduler, 12)
    assert optimizer.param_groups[0]["lr"] is lr
    last = scheduler.get_last_lr()[0]
    assert isinstance(last, Tensor)
    last.zero_()
    assert lr.item() > 0
    assert optimizer.param_groups[0]["initial_lr"].item() == 0.1


@pytest.mark.parametrize("name", ["linear warmup", "cosine", "sequence"])
def test_load_order_does_not_matter(name: str) -> None:
    """Building the scheduler after loading the optimizer does not change the resumed lr."""
    before = BUILD[name](ours, sgd(0.1))
    expected = run(before, 20)[-1]
    optimizer = sgd(0.1)
    optimizer.load_state_dict(before.optimizer.state_dict())
    resumed = BUILD[name](ours, optimizer)
    resumed.load_state_dict(before.state_dict())
    assert now(optimizer) == expected


def test_loading_keeps_an_lr_that_something_else_set() -> None:
    """Where another hand changed the lr after the last step, loading leaves the optimizer's."""
    before = BUILD["cosine"](ours, sgd(0.1))
    run(before, 20)
    resumed = BUILD["cosine"](ours, sgd(0.1))
    resumed.optimizer.param_groups[0]["lr"] = 0.077
    resumed.load_state_dict(before.state_dict())
    assert now(resumed.optimizer) == [0.077]


def test_a_group_may_be_added_later() -> None:
    """A new group joins the schedule from the lr it came with."""
    scheduler = ours.CosineAnnealingLR(sgd(0.1), T_max=10)
    run(scheduler, 10)
    group = {"params": [torch.nn.Parameter(torch.zeros(1))], "lr": 0.02}
    scheduler.optimizer.add_param_group(group)
    assert len(run(scheduler, 30)[-1]) == 2


def test_cosine_reaches_the_floor_exactly() -> None:
    """At T_max the lr is eta_min to the bit, where torch's recursion is off by rounding."""
    scheduler = ours.CosineAnnealingLR(sgd(0.1), T_max=1000, eta_min=1e-6)
    assert run(scheduler, 1000)[-1] == [1e-6]


def test_cosine_climbs_again_after_t_max() -> None:
    """As torch's class: at 2 T_max the base lr is back."""
    scheduler = ours.CosineAnnealingLR(sgd(0.1), T_max=20, eta_min=1e-3)
    assert run(scheduler, 40)[-1] == pytest.approx([0.1], rel=1e-12)


def test_step_with_an_epoch_uses_the_closed_form() -> None:
    """The deprecated ``step(epoch)`` jumps to that epoch, with torch's warning."""
    scheduler = ours.StepLR(sgd(0.1), step_size=10)
    scheduler.optimizer.step()
    with pytest.warns(UserWarning, match="epoch parameter"):
        scheduler.step(25)
    assert now(scheduler.optimizer) == pytest.approx([1e-3])


def test_the_order_of_calls_is_still_watched() -> None:
    """``scheduler.step()`` before ``optimizer.step()`` gives torch's warning."""
    scheduler = ours.StepLR(sgd(0.1), step_size=10)
    with pytest.warns(UserWarning, match="`lr_scheduler.step.*before"):
        scheduler.step()


def test_verbose_prints_each_change(capsys: pytest.CaptureFixture[str]) -> None:
    """The first guide's ``verbose=True`` works: one line a change, none without it."""
    for verbose in (False, True):
        scheduler = ours.ReduceLROnPlateau(
            sgd(0.01), mode="min", factor=0.1, patience=5, verbose=verbose, min_lr=1e-6
        )
        run(scheduler, 14, lambda epoch: 1.0)
        expected = "Epoch 7: group 0: lr 0.01 -> 0.001\nEpoch 13: group 0: lr 0.001 -> 0.0001\n"
        assert capsys.readouterr().out == (expected if verbose else "")


def test_a_sequence_may_end_in_a_plateau() -> None:
    """Warmup, then ReduceLROnPlateau from the initial lr, driven by ``step(metric)``."""
    optimizer = sgd(0.1)
    parts = [
        ours.LinearLR(optimizer, 0.5, total_iters=4),
        ours.ReduceLROnPlateau(optimizer, patience=2),
    ]
    lrs = run(ours.SequentialLR(optimizer, parts, milestones=[4]), 12, lambda epoch: 1.0)
    flat_lrs = [lr for (lr,) in lrs]
    assert flat_lrs[:5] == pytest.approx([0.05, 0.0625, 0.075, 0.0875, 0.1])
    assert flat_lrs[5:] == pytest.approx([0.1] * 3 + [0.01] * 3 + [0.001] * 2)


def test_a_nan_metric_warns() -> None:
    """NaN is reported, and counts neither as an improvement nor as an epoch without one."""
    scheduler = ours.ReduceLROnPlateau(sgd(0.1), patience=0)
    scheduler.step(1.0)
    for bad in (math.nan, math.inf, -math.inf):
        with pytest.warns(UserWarning, match=f"metric is {bad}"):
            scheduler.step(bad)
    assert (scheduler.best, scheduler.num_bad_epochs, scheduler.last_epoch) == (1.0, 0, 4)
    assert now(scheduler.optimizer) == [0.1]


PAIRS: dict[str, tuple[Schedule, Callable[[Optimizer], Any]]] = {
    "step": (step(7, gamma=0.5), lambda o: ours.StepLR(o, 7, 0.5)),
    "linear": (linear(9, start=0.2, end=1.0), lambda o: ours.LinearLR(o, 0.2, total_iters=9)),
    "cosine": (cosine(30, end=0.01), lambda o: ours.CosineAnnealingLR(o, 30, eta_min=0.001)),
    "sequence": (
        linear(5, start=0.1, end=1.0) >> cosine(25),
        lambda o: ours.SequentialLR(
            o, [ours.LinearLR(o, 0.1, total_iters=5), ours.CosineAnnealingLR(o, 25)], [5]
        ),
    ),
}


@pytest.mark.parametrize(("schedule", "build"), PAIRS.values(), ids=PAIRS)
@pytest.mark.parametrize("kind", [optim.SGD, optim.AdamW])
def test_a_schedule_as_lr_trains_like_the_class(
    schedule: Schedule, build: Callable[[Optimizer], Any], kind: Any
) -> None:
    """``lr=0.1 * schedule`` and the class on ``lr=0.1`` give the same weights to rounding."""

    def trained(lr: Any, scheduler: Callable[[Optimizer], Any] | None) -> Tensor:
        p = torch.nn.Parameter(torch.linspace(-1, 1, 5, dtype=torch.float64))
        optimizer = kind([p], lr=lr)
        driver = scheduler(optimizer) if scheduler else None
        for k in range(30):
            p.grad = torch.cos(p.detach() + k)
            optimizer.step()
            if driver:
                driver.step()
        return p.detach()

    torch.testing.assert_close(
        trained(0.1 * schedule, None), trained(0.1, build), rtol=1e-10, atol=1e-12
    )
