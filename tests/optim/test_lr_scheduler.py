"""The scheduler classes against torch's, and where they are better than torch's."""

from __future__ import annotations

import inspect
import math
import pickle
from collections.abc import Callable
from typing import Any, cast

import pytest
import torch
import torch.optim.lr_scheduler as theirs
from torch import Tensor
from torch.optim import Optimizer

from downslope import optim
from downslope.errors import InputError, InputTypeError
from downslope.optim import lr_scheduler as ours
from downslope.schedules import Schedule, cosine, linear, step

STEPS = 200
NAMES = sorted(set(theirs.__all__) - {"LRScheduler"})
ADDED = {"verbose", "average"}


def sgd(*lrs: float, tensor: bool = False) -> Optimizer:
    """An optimizer with a group for each learning rate; its parameters have no gradient."""
    groups = [
        {
            "params": [torch.nn.Parameter(torch.zeros(1))],
            "lr": torch.tensor(lr, dtype=torch.float64) if tensor else lr,
        }
        for lr in lrs or (0.1,)
    ]
    return torch.optim.SGD(groups, momentum=0.9)


def now(optimizer: Optimizer) -> list[float]:
    return [float(group["lr"]) for group in optimizer.param_groups]


def run(
    scheduler: Any,
    steps: int,
    metrics: Callable[[int], float] | None = None,
    also: Callable[[Optimizer], list[float]] = lambda optimizer: [],
) -> list[Any]:
    """The learning rates of ``steps`` epochs, each read before the scheduler's step."""
    seen = []
    for epoch in range(steps):
        seen.append(now(scheduler.optimizer) + also(scheduler.optimizer))
        scheduler.optimizer.step()
        scheduler.step(*([metrics(epoch)] if metrics else []))
    return [*seen, now(scheduler.optimizer) + also(scheduler.optimizer)]


def momentums(optimizer: Optimizer) -> list[float]:
    return [float(group["momentum"]) for group in optimizer.param_groups]


def same(a: Any, b: Any, rel: float = 1e-9) -> bool:
    return torch.allclose(
        torch.tensor(a, dtype=torch.float64), torch.tensor(b, dtype=torch.float64), rel, 1e-15
    )


def sequential(module: Any, optimizer: Optimizer, **extra: Any) -> Any:
    parts = [
        module.LinearLR(optimizer, start_factor=0.1, total_iters=5),
        module.StepLR(optimizer, step_size=20, gamma=0.5),
        module.CosineAnnealingLR(optimizer, T_max=60, eta_min=1e-4),
    ]
    return module.SequentialLR(optimizer, parts, milestones=[7, 90], **extra)


def n(optimizer: Optimizer) -> int:
    return len(optimizer.param_groups)


def wave(epoch: int) -> float:
    return 1 + 0.5 * math.cos(epoch)


BUILD: dict[str, Callable[[Any, Optimizer], Any]] = {
    "lambda": lambda m, o: m.LambdaLR(o, wave),
    "lambda a group": lambda m, o: m.LambdaLR(o, [wave] * len(o.param_groups)),
    "multiplicative": lambda m, o: m.MultiplicativeLR(o, lambda e: 0.9 if e % 3 else 1.1),
    "multistep": lambda m, o: m.MultiStepLR(o, [7, 60, 60, 150], gamma=0.3),
    "multistep from 0": lambda m, o: m.MultiStepLR(o, [90, 30], gamma=1.5),
    "constant": lambda m, o: m.ConstantLR(o),
    "constant long": lambda m, o: m.ConstantLR(o, factor=0.25, total_iters=77),
    "exponential": lambda m, o: m.ExponentialLR(o, 0.97),
    "exponential growing": lambda m, o: m.ExponentialLR(o, 1.02),
    "polynomial": lambda m, o: m.PolynomialLR(o, total_iters=120, power=1.7),
    "polynomial default": lambda m, o: m.PolynomialLR(o),
    "restarts": lambda m, o: m.CosineAnnealingWarmRestarts(o, 13, eta_min=1e-3),
    "restarts growing": lambda m, o: m.CosineAnnealingWarmRestarts(o, 7, T_mult=2),
    "cyclic": lambda m, o: m.CyclicLR(o, 0.01, 0.3, 8, 15),
    "cyclic each group": lambda m, o: m.CyclicLR(o, [0.01] * n(o), [0.3, 0.2][: n(o)], 8),
    "triangular2": lambda m, o: m.CyclicLR(o, 0.01, 0.3, 8, mode="triangular2"),
    "exp_range": lambda m, o: m.CyclicLR(o, 0.01, 0.3, 8, mode="exp_range", gamma=0.99),
    "cyclic own": lambda m, o: m.CyclicLR(o, 0.01, 0.3, 8, scale_fn=wave, scale_mode="iterations"),
    "cyclic still": lambda m, o: m.CyclicLR(o, 0.01, 0.3, 8, cycle_momentum=False),
    "one cycle": lambda m, o: m.OneCycleLR(o, 0.3, total_steps=STEPS + 1),
    "one cycle linear": lambda m, o: m.OneCycleLR(
        o, 0.3, epochs=67, steps_per_epoch=3, pct_start=0.2, anneal_strategy="linear"
    ),
    "one cycle in three": lambda m, o: m.OneCycleLR(
        o, 0.3, total_steps=STEPS + 1, three_phase=True, cycle_momentum=False
    ),
    "step": lambda m, o: m.StepLR(o, step_size=30),
    "step each epoch": lambda m, o: m.StepLR(o, 1, gamma=0.97),
    "step gamma 0": lambda m, o: m.StepLR(o, 3, gamma=0),
    "step growing": lambda m, o: m.StepLR(o, step_size=7, gamma=1.3),
    "linear default": lambda m, o: m.LinearLR(o),
    "linear warmup": lambda m, o: m.LinearLR(o, start_factor=0.01, total_iters=50),
    "linear decay": lambda m, o: m.LinearLR(o, 1.0, 0.25, 120),
    "linear to zero": lambda m, o: m.LinearLR(o, start_factor=1.0, end_factor=0, total_iters=40),
    "linear one epoch": lambda m, o: m.LinearLR(o, start_factor=0.5, total_iters=1),
    "cosine": lambda m, o: m.CosineAnnealingLR(o, T_max=200),
    "cosine with floor": lambda m, o: m.CosineAnnealingLR(o, T_max=50, eta_min=1e-3),
    "cosine up and down": lambda m, o: m.CosineAnnealingLR(o, T_max=13, eta_min=1e-6),
    "cosine T_max 1": lambda m, o: m.CosineAnnealingLR(o, T_max=1, eta_min=1e-3),
    "cosine fractional": lambda m, o: m.CosineAnnealingLR(o, T_max=62.5, eta_min=1e-3),
    "cosine floor above": lambda m, o: m.CosineAnnealingLR(o, T_max=30, eta_min=2.0),
    "sequence": sequential,
    "sequence of one": lambda m, o: m.SequentialLR(o, [m.StepLR(o, 9)], milestones=[]),
    "sequence from 0": lambda m, o: m.SequentialLR(
        o, [m.LinearLR(o), m.StepLR(o, 50)], milestones=[0]
    ),
    "sequence with torch's": lambda m, o: m.SequentialLR(
        o,
        [m.LinearLR(o), theirs.ExponentialLR(o, 0.9), theirs.LambdaLR(o, lambda e: 1 / (1 + e))],
        milestones=[30, 100],
    ),
    "two together": lambda m, o: m.ChainedScheduler(
        [m.LinearLR(o, 0.1, total_iters=20), m.StepLR(o, 15, 0.5), m.CosineAnnealingLR(o, 150)]
    ),
}
every_build = pytest.mark.parametrize("build", BUILD.values(), ids=BUILD)

PLATEAU: dict[str, dict[str, Any]] = {
    "default": {"patience": 5},
    "guide": {"mode": "min", "factor": 0.1, "patience": 5, "min_lr": 1e-6},
    "max": {"mode": "max", "factor": 0.5, "patience": 3},
    "absolute": {"threshold_mode": "abs", "threshold": 0.05, "patience": 2, "factor": 0.7},
    "max absolute": {"mode": "max", "threshold_mode": "abs", "threshold": 0.01, "patience": 4},
    "cooldown": {"patience": 1, "cooldown": 6, "factor": 0.8},
    "several min_lr": {"patience": 2, "min_lr": [1e-2, 1e-3], "factor": 0.6},
    "eps": {"patience": 0, "eps": 1e-3, "factor": 0.5},
}
every_plateau = pytest.mark.parametrize("arguments", PLATEAU.values(), ids=PLATEAU)


def metric(epoch: int) -> float:
    """A loss that falls, jitters and stalls."""
    return 1 / (1 + 0.05 * min(epoch, 60)) + 0.02 * math.sin(12.9898 * epoch)


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


BAD: dict[str, tuple[Callable[[Optimizer], Any], str]] = {
    "step_size 0": (lambda o: ours.StepLR(o, 0), "step_size must be a whole number >= 1, got 0"),
    "step_size nan": (lambda o: ours.StepLR(o, cast(int, math.nan)), "step_size .* got nan"),
    "gamma nan": (lambda o: ours.StepLR(o, 3, math.nan), "gamma must be a finite number, got nan"),
    "gamma negative": (lambda o: ours.StepLR(o, 3, -1), "gamma .* >= 0, got -1"),
    "T_max 0": (lambda o: ours.CosineAnnealingLR(o, 0), "T_max must be a finite number > 0, got 0"),
    "T_max negative": (lambda o: ours.CosineAnnealingLR(o, -5), "T_max .* > 0, got -5"),
    "eta_min nan": (lambda o: ours.CosineAnnealingLR(o, 5, math.nan), "eta_min .* got nan"),
    "eta_min negative": (lambda o: ours.CosineAnnealingLR(o, 5, -1e-3), "eta_min .* >= 0"),
    "total_iters 0": (lambda o: ours.LinearLR(o, total_iters=0), "total_iters .* > 0, got 0"),
    "start_factor 0": (lambda o: ours.LinearLR(o, 0), "start_factor .* > 0 and <= 1, got 0"),
    "start_factor nan": (lambda o: ours.LinearLR(o, math.nan), "start_factor .* got nan"),
    "end_factor 2": (lambda o: ours.LinearLR(o, 0.1, 2), "end_factor .* >= 0 and <= 1, got 2"),
    "factor 1": (lambda o: ours.ReduceLROnPlateau(o, factor=1), "factor .* < 1, got 1"),
    "factor nan": (lambda o: ours.ReduceLROnPlateau(o, factor=math.nan), "factor .* got nan"),
    "patience -1": (lambda o: ours.ReduceLROnPlateau(o, patience=-1), "patience .* >= 0, got -1"),
    "min_lr nan": (lambda o: ours.ReduceLROnPlateau(o, min_lr=[math.nan]), "min_lr .* got nan"),
    "min_lr count": (lambda o: ours.ReduceLROnPlateau(o, min_lr=[0, 0]), "expected 1 min_lrs"),
    "mode": (
        lambda o: ours.ReduceLROnPlateau(o, mode=cast(Any, "mim")),
        "Unknown mode .*'mim'. Did you mean",
    ),
    "no parts": (lambda o: ours.SequentialLR(o, [], []), "at least one scheduler"),
    "milestone count": (
        lambda o: ours.SequentialLR(o, [ours.StepLR(o, 3)], [3]),
        "got 1 schedulers and 1 milestones",
    ),
    "milestones falling": (
        lambda o: ours.SequentialLR(o, [ours.StepLR(o, 3) for _ in range(3)], [5, 2]),
        r"must not decrease, got \[5, 2\]",
    ),
    "another optimizer": (
        lambda o: ours.SequentialLR(o, [ours.StepLR(sgd(), 3)], []),
        r"schedulers\[0\], a StepLR, is of another optimizer",
    ),
    "torch's plateau": (
        lambda o: ours.SequentialLR(o, [theirs.ReduceLROnPlateau(o)], []),
        "use downslope.optim.lr_scheduler.ReduceLROnPlateau",
    ),
    "replaying a plateau": (
        lambda o: ours.SequentialLR(o, [ours.ReduceLROnPlateau(o)], [], last_epoch=3),
        "last_epoch cannot resume a ReduceLROnPlateau",
    ),
}


@pytest.mark.parametrize(("build", "message"), BAD.values(), ids=BAD)
def test_bad_arguments_are_refused(build: Callable[[Optimizer], Any], message: str) -> None:
    """A ValueError says what came and what is allowed, and the optimizer keeps its lr."""
    optimizer = sgd(0.1)
    with pytest.raises(ValueError, match=message):
        build(optimizer)
    assert now(optimizer) == [0.1]


def test_the_second_guides_sequential_says_what_to_write() -> None:
    """Without optimizer and milestones, the error gives the call that was meant."""
    optimizer = sgd(0.1)
    parts = [
        ours.LinearLR(optimizer, start_factor=0.1, total_iters=5),
        ours.CosineAnnealingLR(optimizer, T_max=195),
    ]
    with pytest.raises(InputTypeError, match=r"Write SequentialLR\(optimizer, .*milestones=\[5\]"):
        ours.SequentialLR(parts)  # type: ignore[arg-type]  # the guide's mistake
    with pytest.raises(InputTypeError, match=r"milestones=\[5\]"):
        ours.SequentialLR(optimizer, parts)


def test_a_plateau_needs_its_metric() -> None:
    """Stepping a plateau phase without a metric is a clear error."""
    optimizer = sgd(0.1)
    scheduler = ours.SequentialLR(optimizer, [ours.ReduceLROnPlateau(optimizer)], [])
    with pytest.raises(InputTypeError, match=r"step\(val_loss\)"):
        scheduler.step()


def test_the_state_of_another_class_is_refused() -> None:
    """A state dict loads only into the class that wrote it (torch takes any)."""
    state = ours.StepLR(sgd(), 3).state_dict()
    for other in (
        ours.CosineAnnealingLR(sgd(), 5),
        ours.LinearLR(sgd()),
        ours.ReduceLROnPlateau(sgd()),
        sequential(ours, sgd()),
    ):
        with pytest.raises(InputError, match="is of another class: it has no"):
            other.load_state_dict(state)


def test_the_state_of_another_sequence_is_refused() -> None:
    """A SequentialLR's state needs as many schedulers as it was saved with."""
    optimizer = sgd()
    short = ours.SequentialLR(optimizer, [ours.StepLR(optimizer, 3)], [])
    with pytest.raises(InputError, match="of 3 schedulers, this one has 1"):
        short.load_state_dict(sequential(ours, sgd()).state_dict())
