"""Resuming a scheduler: at every step, in every composition, in either order of building."""

from __future__ import annotations

import copy
import math
import warnings
from collections.abc import Callable
from typing import Any

import pytest
import torch.optim.lr_scheduler as theirs
from torch.optim import Optimizer

from downslope.optim import lr_scheduler as ours

from .lr_cases import BUILD, PLATEAU, metric, momentums, now, sequential, sgd, wave

EPOCHS = 100


def chained(o: Optimizer) -> Any:
    parts = [ours.LinearLR(o, 0.1, total_iters=20), ours.StepLR(o, 15, 0.5), ours.ConstantLR(o)]
    return ours.ChainedScheduler([*parts, ours.CosineAnnealingLR(o, 80)])


def nested(o: Optimizer) -> Any:
    inner = ours.SequentialLR(o, [ours.LinearLR(o), ours.ExponentialLR(o, 0.9)], [6])
    return ours.SequentialLR(o, [chained(o), inner, sequential(ours, o)], [33, 61])


def with_momentum(o: Optimizer) -> Any:
    parts = [ours.OneCycleLR(o, 0.3, 40), ours.CyclicLR(o, 0.01, 0.2, 9), ours.LambdaLR(o, wave)]
    return ours.SequentialLR(o, parts, [41, 80])


def ending_in_a_plateau(o: Optimizer) -> Any:
    plateau = ours.ReduceLROnPlateau(o, patience=3, factor=0.7, cooldown=2, threshold=0.03)
    return ours.SequentialLR(o, [ours.LinearLR(o, 0.5), plateau], [9])


def plateau_in_a_chain(o: Optimizer) -> Any:
    plateau = ours.ReduceLROnPlateau(o, patience=3, factor=0.7, threshold=0.03)
    return ours.ChainedScheduler([ours.CosineAnnealingLR(o, 70), plateau])


def averaging(o: Optimizer) -> Any:
    return ours.ReduceLROnPlateau(o, patience=1, factor=0.7, threshold=0.05, average=7)


COMPOSED: dict[str, Callable[[Optimizer], Any]] = {
    "chain": chained,
    "nested": nested,
    "with momentum": with_momentum,
    "ending in a plateau": ending_in_a_plateau,
    "plateau in a chain": plateau_in_a_chain,
    "averaging": averaging,
    **{
        f"plateau {name}": lambda o, kwargs=kwargs: ours.ReduceLROnPlateau(o, **kwargs)
        for name, kwargs in PLATEAU.items()
    },
}
ALL: dict[str, Callable[[Optimizer], Any]] = {
    **{name: (lambda o, build=build: build(ours, o)) for name, build in BUILD.items()},
    **COMPOSED,
}
every_schedule = pytest.mark.parametrize("build", ALL.values(), ids=ALL)


def follow(scheduler: Any, begin: int, end: int) -> list[list[float]]:
    """Learning rates and momentums from one epoch to another, both ends included."""
    takes_metric = ours.SequentialLR, ours.ChainedScheduler, ours.ReduceLROnPlateau
    optimizer = scheduler.optimizer
    seen = [now(optimizer) + momentums(optimizer)]
    for epoch in range(begin, end):
        optimizer.step()
        scheduler.step(*([metric(epoch)] if isinstance(scheduler, takes_metric) else []))
        seen.append(now(optimizer) + momentums(optimizer))
    return seen


def saved_at_every_epoch(build: Callable[[Optimizer], Any]) -> tuple[list[Any], list[Any]]:
    """The whole run, and the states of optimizer and scheduler at each of its epochs."""
    scheduler = build(sgd(0.1, 0.03))
    seen, states = follow(scheduler, 0, 0), []
    for epoch in range(EPOCHS):
        states.append(copy.deepcopy((scheduler.optimizer.state_dict(), scheduler.state_dict())))
        seen += follow(scheduler, epoch, epoch + 1)[1:]
    return seen, states


def scheduler_first(build: Callable[[Optimizer], Any], optimizer: Optimizer, states: Any) -> Any:
    scheduler = build(optimizer)
    optimizer.load_state_dict(states[0])
    scheduler.load_state_dict(states[1])
    return scheduler


def optimizer_first(build: Callable[[Optimizer], Any], optimizer: Optimizer, states: Any) -> Any:
    optimizer.load_state_dict(states[0])
    scheduler = build(optimizer)
    scheduler.load_state_dict(states[1])
    return scheduler


def scheduler_loaded_first(
    build: Callable[[Optimizer], Any], optimizer: Optimizer, states: Any
) -> Any:
    scheduler = build(optimizer)
    scheduler.load_state_dict(states[1])
    optimizer.load_state_dict(states[0])
    return scheduler


@every_schedule
@pytest.mark.parametrize("load", [scheduler_first, optimizer_first, scheduler_loaded_first])
def test_resumed_at_every_epoch_the_rest_has_the_same_bits(build: Any, load: Any) -> None:
    """Learning rates and momentums, whatever was built or loaded first (torch: the last loaded)."""
    expected, states = saved_at_every_epoch(build)
    for epoch in range(EPOCHS):
        resumed = load(build, sgd(0.1, 0.03), copy.deepcopy(states[epoch]))
        end = EPOCHS if epoch % 10 == 0 else min(epoch + 3, EPOCHS)
        assert follow(resumed, epoch, end) == expected[epoch : end + 1], epoch


@pytest.mark.parametrize("build", BUILD.values(), ids=BUILD)
def test_last_epoch_resumes_at_the_same_bits(build: Any) -> None:
    """Built with ``last_epoch``, without a state dict, on an optimizer that was loaded."""
    whole = build(ours, sgd(0.1, 0.03))
    if isinstance(whole, ours.ChainedScheduler):
        pytest.skip("torch's ChainedScheduler has no last_epoch")
    expected, states = saved_at_every_epoch(lambda o: build(ours, o))
    for last in (0, 3, 6, 7, 30, 59, 89, 95):
        optimizer = sgd(0.1, 0.03)
        optimizer.load_state_dict(copy.deepcopy(states[last][0]))
        resumed = again(build, optimizer, last)
        assert follow(resumed, last + 1, EPOCHS) == expected[last + 1 :], last


def again(build: Any, optimizer: Optimizer, last: int) -> Any:
    """The scheduler once more, with ``last_epoch``: the outermost of a sequence alone."""

    class Resuming:
        def __getattr__(self, name: str) -> Any:
            cls = getattr(ours, name)
            outer = name == "SequentialLR" or build not in SEQUENCES
            return lambda *args, **kwargs: cls(
                *args, **kwargs, **({"last_epoch": last} if outer else {})
            )

    return build(Resuming(), optimizer)


SEQUENCES = [build for name, build in BUILD.items() if "sequence" in name]


def test_the_optimizer_may_be_built_with_another_lr() -> None:
    """A resumed run has the saved learning rates, not the constructor's."""
    for build in ALL.values():
        expected, states = saved_at_every_epoch(build)
        resumed = scheduler_first(build, sgd(7.0, 5.0), copy.deepcopy(states[50]))
        assert follow(resumed, 50, EPOCHS) == expected[50:]


def test_torchs_sequence_resumes_elsewhere() -> None:
    """What torch gives: 0.1 where an uninterrupted run has 0.9; ours has 0.9."""
    seen = {}
    for module in (theirs, ours):
        optimizer = sgd(1.0)

        def build(o: Optimizer, module: Any = module, **extra: Any) -> Any:
            parts = [
                module.ConstantLR(o, factor=0.1, total_iters=2),
                module.ExponentialLR(o, gamma=0.9),
            ]
            return module.SequentialLR(o, parts, milestones=[2], **extra)

        scheduler = build(optimizer)
        for _ in range(3):
            optimizer.step()
            scheduler.step()
        whole = now(optimizer)
        resumed = sgd(1.0)
        resumed.param_groups[0]["initial_lr"] = 1.0
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            build(resumed, last_epoch=2)
        seen[module] = (whole, now(resumed))
    assert seen[ours][0] == seen[ours][1] == pytest.approx([0.9])
    assert seen[theirs][1] == pytest.approx([0.1])


def test_a_scheduler_does_not_drift() -> None:
    """After ten thousand epochs the lr has the closed form's bits; torch's product does not."""
    ends = {}
    for module in (theirs, ours):
        scheduler = module.ExponentialLR(sgd(0.1), gamma=0.9999)
        for _ in range(10_000):
            scheduler.optimizer.step()
            scheduler.step()
        ends[module] = now(scheduler.optimizer)[0]
    assert ends[ours] == 0.1 * math.pow(0.9999, 10_000)
    assert ends[theirs] != ends[ours]
