"""The learning rate of each step."""

from __future__ import annotations

import pytest
import torch

from downslope import Recipe
from downslope.training.learning_rate import LearningRate, schedule


def optimizer() -> torch.optim.Optimizer:
    return torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("warmup-cosine", {0: 1 / 3, 1: 2 / 3, 2: 1.0, 11: 0.5, 20: 0.0}),
        ("cosine", {2: 1.0, 11: 0.5, 20: 0.0}),
        ("linear", {0: 1 / 3, 2: 1.0, 11: 0.5, 20: 0.0}),
        ("step", {2: 1.0, 7: 1.0, 8: 0.1, 13: 0.1, 14: 0.01, 19: 0.01}),
        ("constant", {0: 1 / 3, 2: 1.0, 20: 1.0}),
        ("plateau", {0: 1 / 3, 2: 1.0, 20: 1.0}),
    ],
)
def test_schedules_rise_and_fall_where_they_should(name: str, values: dict[int, float]) -> None:
    """Two steps of warmup, then the named shape over the other eighteen."""
    factor = schedule(Recipe(schedule=name, warmup=0.1), total_steps=20)  # type: ignore[arg-type]  # one of six words
    assert {step: factor(step) for step in values} == pytest.approx(values)


@pytest.mark.parametrize("name", ["warmup-cosine", "linear", "step", "constant", "plateau"])
def test_a_run_of_one_step_has_a_learning_rate(name: str) -> None:
    """The shortest run trains at the peak."""
    recipe = Recipe(lr=0.5, schedule=name, warmup=0.9)  # type: ignore[arg-type]  # one of six words
    assert LearningRate(optimizer(), recipe, total_steps=1).before_step(0) == 0.5


def test_all_groups_are_set() -> None:
    """Not the first one alone."""
    two = torch.optim.SGD([{"params": [torch.zeros(1)]}, {"params": [torch.zeros(1)]}], lr=1.0)
    LearningRate(two, Recipe(lr=0.25, schedule="constant", warmup=0.0), 10).before_step(0)
    assert [group["lr"] for group in two.param_groups] == [0.25, 0.25]


def plateau(own: torch.optim.Optimizer) -> LearningRate:
    recipe = Recipe(lr=1.0, schedule="plateau", warmup=0.1)
    return LearningRate(own, recipe, total_steps=100)


def test_a_plateau_divides_the_lr_by_ten() -> None:
    """After the first guide's five epochs without a lower loss; not while it warms up."""
    lr = plateau(optimizer())
    rates = []
    for step in range(0, 100, 10):
        rates.append(lr.before_step(step))
        lr.after_validation(step, validation_loss=1.0)
    assert rates == pytest.approx([1 / 11, *[1.0] * 8, 0.1])


def test_a_plateau_goes_on_from_its_state() -> None:
    """Four epochs before and two after a checkpoint are six."""
    first, second = optimizer(), optimizer()
    before = plateau(first)
    for step in range(0, 60, 10):
        before.before_step(step)
        before.after_validation(step, validation_loss=1.0)
    after = plateau(second)
    second.load_state_dict(first.state_dict())
    after.load_state_dict(before.state_dict())
    for step in range(60, 90, 10):
        after.before_step(step)
        after.after_validation(step, validation_loss=1.0)
    assert after.before_step(90) == pytest.approx(0.1)
