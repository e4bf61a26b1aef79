"""Where torch's scheduler classes surprise people: what torch gives, and what ours give."""

from __future__ import annotations

import copy
import gc
import math
import pickle
import warnings
import weakref
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
import torch.optim.lr_scheduler as theirs
from torch.amp.grad_scaler import GradScaler
from torch.optim import Optimizer

from downslope import optim
from downslope.errors import InputError
from downslope.optim import lr_scheduler as ours

from .lr_cases import BUILD, momentums, now, run, sgd

Step = Callable[[float], None]


@pytest.fixture(params=[torch.optim.SGD, optim.SGD, optim.AdamW], ids=["torch", "SGD", "AdamW"])
def scaled(request: pytest.FixtureRequest) -> tuple[Optimizer, Step]:
    """An optimizer, and a step of a GradScaler with a gradient that may be infinite."""
    p = torch.nn.Parameter(torch.ones(3))
    optimizer = request.param([p], lr=0.1)
    scaler = GradScaler("cpu", init_scale=4.0)

    def step(gradient: float) -> None:
        optimizer.zero_grad()
        scaler.scale((p * gradient).sum()).backward()  # type: ignore[no-untyped-call]  # torch's
        scaler.step(optimizer)
        scaler.update()

    return optimizer, step


def test_a_skipped_step_does_not_advance_the_schedule(scaled: tuple[Optimizer, Step]) -> None:
    """Three updates and two skipped ones: the lr of epoch 3. torch's is that of epoch 5."""
    optimizer, step = scaled
    scheduler = ours.ExponentialLR(optimizer, 0.5)
    for gradient in (1.0, math.inf, 1.0, math.nan, 1.0):
        step(gradient)
        scheduler.step()
    assert now(optimizer) == [0.1 * 0.5**3]
    assert scheduler.last_epoch == 3


@pytest.mark.parametrize("composed", [False, True])
def test_a_first_step_that_is_skipped_neither_warns_nor_advances(
    scaled: tuple[Optimizer, Step], composed: bool
) -> None:
    """Where a GradScaler begins too high, torch warns of a wrong order of calls."""
    optimizer, step = scaled
    scheduler: Any = ours.ExponentialLR(optimizer, 0.5)
    if composed:
        scheduler = ours.ChainedScheduler([ours.SequentialLR(optimizer, [scheduler], [])])
    for gradient in (math.inf, math.inf, 1.0):
        step(gradient)
        scheduler.step()
    assert now(optimizer) == [0.05]


def test_torch_advances_on_a_skipped_step(scaled: tuple[Optimizer, Step]) -> None:
    """The wart: so that the two tests above are about something."""
    optimizer, step = scaled
    scheduler = theirs.ExponentialLR(optimizer, 0.5)
    step(1.0)
    scheduler.step()
    step(math.inf)
    scheduler.step()
    assert now(optimizer) == [0.025]


def test_two_calls_for_one_step_are_two_epochs() -> None:
    """Accelerate steps a scheduler once a process for each step; finite gradients stay about."""
    p = torch.nn.Parameter(torch.ones(3))
    optimizer = torch.optim.SGD([p], lr=0.1)
    scheduler = ours.ExponentialLR(optimizer, 0.5)
    p.sum().backward()
    optimizer.step()
    scheduler.step()
    scheduler.step()
    assert scheduler.last_epoch == 2


def test_schedulers_of_torchs_may_watch_the_same_optimizer() -> None:
    """Whichever was built first, both see the steps, and neither warns."""
    for first, second in ((ours, theirs), (theirs, ours)):
        optimizer = sgd(0.1)
        schedulers = [first.ExponentialLR(optimizer, 0.5), second.ExponentialLR(optimizer, 0.5)]
        for _ in range(3):
            optimizer.step()
            for scheduler in schedulers:
                scheduler.step()
        assert now(optimizer) == pytest.approx([0.1 * 0.5**6])


def test_a_watched_optimizer_is_freed_and_copied() -> None:
    """A scheduler keeps no optimizer alive beside itself; copies step on their own."""
    p = torch.nn.Parameter(torch.zeros(2))
    p.grad = torch.zeros(2)
    optimizer = optim.SGD([p], lr=0.1)
    scheduler = ours.StepLR(optimizer, 3)
    run(scheduler, 2)
    other = copy.deepcopy(optimizer)
    pickle.loads(pickle.dumps(optimizer.state_dict()))
    other.param_groups[0]["params"][0].grad = torch.ones(2)
    other.step()
    assert optimizer.param_groups[0]["params"][0].tolist() == [0.0, 0.0]
    gone = weakref.ref(optimizer)
    del optimizer, scheduler
    gc.collect()
    assert gone() is None


@pytest.mark.parametrize("composed", ["SequentialLR", "ChainedScheduler"])
def test_a_plateau_may_be_a_part(composed: str) -> None:
    """Torch refuses it with a ValueError."""

    def build(module: Any) -> Any:
        optimizer = sgd(0.1)
        parts = [module.ReduceLROnPlateau(optimizer, patience=0)]
        if composed == "SequentialLR":
            return module.SequentialLR(optimizer, parts, [])
        return module.ChainedScheduler(parts, optimizer)

    with pytest.raises(ValueError, match="does not support `ReduceLROnPlateau`"):
        build(theirs)
    assert run(build(ours), 2, lambda epoch: 1.0) == [[0.1], [0.1], [pytest.approx(0.01)]]


def test_one_cycle_stays_where_it_ended() -> None:
    """Torch raises one step past the end."""
    for module in (theirs, ours):
        scheduler = module.OneCycleLR(sgd(0.1), max_lr=0.5, total_steps=10)
        end = run(scheduler, 9)[-1]
        scheduler.step()
        if module is theirs:
            with pytest.raises(ValueError, match="Tried to step 11 times"):
                scheduler.step()
        else:
            assert run(scheduler, 20) == [end] * 21
            assert momentums(scheduler.optimizer) == [0.95]


@pytest.mark.parametrize("pct_start", [0.0, 0.1, 1.0])
def test_one_cycle_of_few_steps(pct_start: float) -> None:
    """A part without a length is passed over; torch divides by zero."""
    with pytest.raises(ZeroDivisionError):
        theirs.OneCycleLR(sgd(0.1), max_lr=0.5, total_steps=10, pct_start=0.1)
    for total in (1, 2, 10):
        scheduler = ours.OneCycleLR(sgd(0.1), 0.5, total_steps=total, pct_start=pct_start)
        assert all(math.isfinite(lr) for lrs in run(scheduler, total) for lr in lrs)


def test_loading_says_that_the_function_is_another() -> None:
    """Torch's LambdaLR goes on in silence with whatever function it has."""
    before = ours.LambdaLR(sgd(0.1), lambda epoch: 1 / (1 + epoch))
    run(before, 5)
    resumed = ours.LambdaLR(sgd(0.1), lambda epoch: 0.9**epoch)
    with pytest.warns(UserWarning, match=r"saved run had lr .* functions give .* hold no func"):
        resumed.load_state_dict(before.state_dict())
    same = ours.LambdaLR(sgd(0.1), lambda epoch: 1 / (1 + epoch))
    same.load_state_dict(before.state_dict())
    assert run(same, 3)[1:] == run(before, 3)[1:]


@pytest.mark.parametrize("build", BUILD.values(), ids=BUILD)
def test_a_group_may_be_added_to_any(build: Any) -> None:
    """Its lr follows the schedule; torch's classes die in a zip, or leave it out."""
    if build is BUILD["sequence with torch's"]:
        pytest.skip("torch's own LambdaLR is a part of it")
    scheduler = build(ours, sgd(0.1))
    run(scheduler, 10)
    late = {"params": [torch.nn.Parameter(torch.zeros(1))], "lr": 0.02, "momentum": 0.9}
    scheduler.optimizer.add_param_group(late)
    lrs = run(scheduler, 150)
    assert all(len(row) == 2 for row in lrs)
    assert len({a for a, _ in lrs}) == 1 or len({b for _, b in lrs}) > 1


def test_torch_dies_on_an_added_group() -> None:
    """The wart: an opaque error of zip."""
    scheduler = theirs.LambdaLR(sgd(0.1), lambda epoch: 1.0)
    scheduler.optimizer.add_param_group({"params": [torch.nn.Parameter(torch.zeros(1))]})
    scheduler.optimizer.step()
    with pytest.raises(ValueError, match="zip"):
        scheduler.step()


def test_a_group_added_to_a_chain_has_the_lr_it_came_with() -> None:
    """The base of every part is the lr before the first of them has changed it."""
    optimizer = sgd(0.1)
    parts = [ours.MultiplicativeLR(optimizer, lambda epoch: 0.5), ours.LambdaLR(optimizer, float)]
    scheduler = ours.ChainedScheduler(parts)
    optimizer.add_param_group({"params": [torch.nn.Parameter(torch.zeros(1))], "lr": 0.25})
    optimizer.step()
    scheduler.step()
    assert now(optimizer) == [0.1, 0.25]


def test_an_added_group_needs_its_function() -> None:
    """With a function a group there is none for the new one: an error that says so."""
    scheduler = ours.LambdaLR(sgd(0.1, 0.2), [lambda epoch: 1.0, lambda epoch: 0.5])
    scheduler.optimizer.add_param_group({"params": [torch.nn.Parameter(torch.zeros(1))]})
    scheduler.optimizer.step()
    with pytest.raises(InputError, match=r"a parameter group was added.*Append its function"):
        scheduler.step()
    scheduler.lr_lambdas.append(lambda epoch: 0.25)
    scheduler.step()


def test_a_factor_of_zero_comes_back() -> None:
    """Torch's ConstantLR divides by it."""
    scheduler = ours.ConstantLR(sgd(0.1), factor=0, total_iters=3)
    assert run(scheduler, 4) == [[0.0], [0.0], [0.0], [0.1], [0.1]]
    with pytest.raises(ZeroDivisionError):
        run(theirs.ConstantLR(sgd(0.1), factor=0, total_iters=3), 4)


@pytest.mark.parametrize("tensor", [False, True])
def test_a_chain_does_not_pass_zero(tensor: bool) -> None:
    """Below another's floor a cosine that climbs again leads down; torch's then climbs the loss."""

    def lowest(module: Any) -> float:
        optimizer = sgd(0.1, tensor=tensor)
        cosine = module.CosineAnnealingLR(optimizer, 4, eta_min=0.01)
        chain = module.ChainedScheduler([module.StepLR(optimizer, 1, 0.5), cosine])
        return min(lrs[0] for lrs in run(chain, 12))

    assert lowest(theirs) < -0.002
    assert lowest(ours) == 0.0


def test_restarts_resume_in_a_later_cycle() -> None:
    """With ``last_epoch`` torch takes epoch 23 of cycles of 5, 10 and 20 for the second cycle."""
    seen = {}
    for module in (theirs, ours):
        whole = module.CosineAnnealingWarmRestarts(sgd(0.1), 5, T_mult=2)
        expected = run(whole, 24)[24]
        optimizer = sgd(0.1)
        optimizer.param_groups[0]["initial_lr"] = 0.1
        module.CosineAnnealingWarmRestarts(optimizer, 5, T_mult=2, last_epoch=23)
        seen[module] = now(optimizer) == pytest.approx(expected)
    assert seen == {theirs: False, ours: True}


@pytest.mark.parametrize("cycle", [1, 2, 3, 4])
def test_restarts_jump_to_a_cycles_first_epoch(cycle: int) -> None:
    """``step(epoch)`` at a cycle's beginning has the base lr; torch rounds a logarithm there."""
    scheduler = ours.CosineAnnealingWarmRestarts(sgd(0.1), 3, T_mult=3)
    begin = 3 * (3**cycle - 1) // 2
    scheduler.step(begin)
    assert (now(scheduler.optimizer), scheduler.T_cur) == ([0.1], 0)
    scheduler.step(begin - 0.5)
    assert now(scheduler.optimizer)[0] < 0.01


VERBOSE: dict[str, Callable[[Optimizer], Any]] = {
    "StepLR": lambda o: ours.StepLR(o, 1, verbose=True),
    "MultiStepLR": lambda o: ours.MultiStepLR(o, [1, 2], verbose=True),
    "LinearLR": lambda o: ours.LinearLR(o, verbose=True),
    "ConstantLR": lambda o: ours.ConstantLR(o, total_iters=2, verbose=True),
    "ExponentialLR": lambda o: ours.ExponentialLR(o, 0.5, verbose=True),
    "PolynomialLR": lambda o: ours.PolynomialLR(o, verbose=True),
    "CosineAnnealingLR": lambda o: ours.CosineAnnealingLR(o, 4, verbose=True),
    "LambdaLR": lambda o: ours.LambdaLR(o, lambda e: 1 / (1 + e), verbose=True),
    "MultiplicativeLR": lambda o: ours.MultiplicativeLR(o, lambda e: 0.5, verbose=True),
    "CosineAnnealingWarmRestarts": lambda o: ours.CosineAnnealingWarmRestarts(o, 4, verbose=True),
    "CyclicLR": lambda o: ours.CyclicLR(o, 0.1, 0.5, 4, verbose=True),
    "OneCycleLR": lambda o: ours.OneCycleLR(o, 0.5, 10, verbose=True),
    "SequentialLR": lambda o: ours.SequentialLR(o, [ours.StepLR(o, 1)], [], verbose=True),
    "ChainedScheduler": lambda o: ours.ChainedScheduler([ours.StepLR(o, 1)], verbose=True),
}


@pytest.mark.parametrize("build", VERBOSE.values(), ids=VERBOSE)
def test_verbose_prints_a_line_at_each_change(
    build: Callable[[Optimizer], Any], capsys: pytest.CaptureFixture[str]
) -> None:
    """Torch has removed the argument; here it says which group went from where to where."""
    optimizer = sgd(0.1)
    scheduler = build(optimizer)
    before = now(optimizer)[0]
    assert capsys.readouterr().out == ""
    optimizer.step()
    scheduler.step()
    optimizer.step()
    scheduler.step()
    lines = capsys.readouterr().out.splitlines()
    after = now(optimizer)[0]
    assert lines[0].startswith(("Epoch 1: group 0: lr ", "Epoch 2: group 0: lr "))
    assert f"{before:g} -> " in lines[0]
    assert lines[-1].endswith(f" -> {after:g}")


def test_a_plateau_watches_a_mean_of_training_losses() -> None:
    """Noise around a level is one metric every ten steps: it reduces after two such means."""
    scheduler = ours.ReduceLROnPlateau(sgd(0.1), patience=1, threshold=0.1, average=10)
    noise = torch.rand(50, generator=torch.Generator().manual_seed(0)).tolist()
    seen = [lr for (lr,) in run(scheduler, 50, lambda step: 1 + noise[step])]
    assert seen[:30] == [0.1] * 30
    assert seen[30] == pytest.approx(0.01)
    assert scheduler.last_epoch == 5


def test_a_window_leaves_out_what_is_not_finite() -> None:
    """A NaN among training losses is reported and does not make the mean NaN."""
    scheduler = ours.ReduceLROnPlateau(sgd(0.1), average=2)
    scheduler.step(3.0)
    with pytest.warns(UserWarning, match="metric is nan"):
        scheduler.step(math.nan)
    assert (scheduler.best, scheduler.last_epoch) == (3.0, 1)
    for _ in range(2):
        with pytest.warns(UserWarning, match="metric is nan"):
            scheduler.step(math.nan)
    assert (scheduler.best, scheduler.num_bad_epochs, scheduler.last_epoch) == (3.0, 0, 2)


def test_torch_counts_nan_as_a_plateau() -> None:
    """The wart: NaN reduces the lr, in silence."""
    scheduler = theirs.ReduceLROnPlateau(sgd(0.1), patience=0)
    scheduler.step(1.0)
    scheduler.step(math.nan)
    assert now(scheduler.optimizer) == pytest.approx([0.01])


@pytest.fixture(autouse=True)
def _warnings_are_errors() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield


def test_a_function_is_needed() -> None:
    """What is no function is a TypeError, before the first epoch."""
    for cls in (ours.LambdaLR, ours.MultiplicativeLR):
        with pytest.raises(TypeError, match=r"lr_lambda must be a function of the epoch.*got 0.5"):
            cls(sgd(0.1), 0.5)
