"""Our optimizers and schedulers in Accelerate: prepared, accumulating, clipping."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from downslope import Monitor

from . import problem
from .problem import CASES, WHOSE, Case

accelerate = pytest.importorskip("accelerate")


def train(case: Case, whose: Any, *, accumulate: int, clip: float | None) -> list[list[Tensor]]:
    """The weights after every step of a loop as Accelerate's documentation has it."""
    accelerator = accelerate.Accelerator(cpu=True, gradient_accumulation_steps=accumulate)
    model = problem.network()
    optimizer, scheduler = problem.stepping(case, whose, model.parameters())
    model, optimizer, loader, scheduler = accelerator.prepare(
        model, optimizer, problem.loader(), scheduler
    )
    trajectory = []
    for _ in range(2):
        for x, y in loader:
            with accelerator.accumulate(model):
                loss = (model(x) - y).square().mean()
                accelerator.backward(loss)
                if clip is not None and accelerator.sync_gradients:
                    accelerator.clip_grad_norm_(model.parameters(), clip)
                optimizer.step()
                scheduler.step()
                optimizer.zero_grad()
            trajectory.append(problem.weights(model))
    return trajectory


@pytest.mark.parametrize("case", CASES, ids=lambda case: "-".join(case[::2]))
@pytest.mark.parametrize(("accumulate", "clip"), [(1, None), (3, 0.5)])
def test_trajectories_are_torchs(case: Case, accumulate: int, clip: float | None) -> None:
    """Step by step, with and without accumulation and clipping."""
    mine, torchs = (train(case, whose, accumulate=accumulate, clip=clip) for whose in WHOSE)
    problem.assert_equal_trajectories(mine, torchs)


def test_a_saved_state_is_taken_up(tmp_path: Any) -> None:
    """save_state in the middle, load_state into fresh objects: the same bits at the end."""
    case = CASES[1]

    def prepared() -> tuple[Any, ...]:
        accelerator = accelerate.Accelerator(cpu=True)
        model = problem.network()
        stepping = problem.stepping(case, WHOSE[0], model.parameters())
        return accelerator, *accelerator.prepare(model, *stepping)

    def steps(model: Any, optimizer: Any, scheduler: Any, accelerator: Any, part: slice) -> None:
        for x, y in list(problem.loader())[part]:
            accelerator.backward((model(x) - y).square().mean())
            optimizer.step()
            scheduler.step()
            optimizer.zero_grad()

    accelerator, *whole = prepared()
    steps(*whole, accelerator, slice(0, 3))
    accelerator.save_state(str(tmp_path / "state"))
    steps(*whole, accelerator, slice(3, 6))
    accelerator, *resumed = prepared()
    accelerator.load_state(str(tmp_path / "state"))
    steps(*resumed, accelerator, slice(3, 6))
    for a, b in zip(problem.weights(whole[0]), problem.weights(resumed[0]), strict=True):
        assert torch.equal(a, b)


@pytest.mark.parametrize("whose", WHOSE)
def test_the_monitor_takes_a_prepared_optimizer(whose: Any) -> None:
    """What wraps it has no hooks; what is measured is what the optimizer itself does."""
    model = problem.network()
    optimizer, _ = problem.stepping(CASES[1], whose, model.parameters())
    model, prepared = accelerate.Accelerator(cpu=True).prepare(model, optimizer)
    events: list[dict[str, Any]] = []
    with Monitor(model, prepared, on_event=[events.append]) as monitor:
        for x, y in problem.loader():
            loss = (model(x) - y).square().mean()
            prepared.zero_grad()
            loss.backward()
            norm = torch.cat([p.grad.flatten() for p in model.parameters()]).norm().item()
            prepared.step()
            monitor.step(loss)
            break
    look = next(e for e in events if e["event"] == "monitor")
    assert look["grad_norm"] == pytest.approx(norm, rel=1e-5)
    assert all(t["update_norm"] > 0 for t in look["tensors"].values())
