"""Search spaces that follow from the rules."""

from __future__ import annotations

import pytest

from downslope import Recipe, optim
from downslope.errors import InputError
from downslope.tuning.space import placed, points, space_of

SEARCHED = [name for name in optim.names() if not optim.get(name).rule.needs and name != "lbfgs"]


@pytest.mark.parametrize("name", SEARCHED)
def test_every_point_of_every_space_is_a_recipe(name: str) -> None:
    """The corners of each derived space, and points inside, make an optimizer."""
    recipe = Recipe(optimizer=name)
    space = space_of(recipe, lr=0.01)
    corners = [[0.0] * len(space), [1.0] * len(space)]
    for at in [*corners, *points(len(space), 4, seed=0)]:
        values = {d: d.at(share) for d, share in zip(space, at, strict=True)}
        made = placed(recipe, values)
        group = made.build_optimizer([_parameter()]).param_groups[0]
        for d, value in values.items():
            found = group[d.key] if d.index is None else group[d.key][d.index]
            assert found == value


def test_ranges_lie_around_the_defaults() -> None:
    """A fifth of the default to five times it; of a decay rate, of 1 less it."""
    found = {d.name: d.range for d in space_of(Recipe(optimizer="adamw"), lr=3e-3)}
    assert found["lr"] == pytest.approx((6e-4, 1.5e-2))
    assert found["beta1"] == pytest.approx((0.5, 0.98))
    assert found["beta2"] == pytest.approx((0.995, 0.9998))
    assert found["weight_decay"] == pytest.approx((2e-3, 5e-2))


def test_a_momentum_that_is_off_by_default_is_searched_up_to_0_98() -> None:
    """SGD's and RMSprop's turn a slot on; Prodigy's third beta of 0 means something else."""
    found = {d.name: d.range for d in space_of(Recipe(optimizer="sgd"), lr=0.1)}
    assert found["momentum"] == pytest.approx((0, 0.98))
    assert "beta3" not in {d.name for d in space_of(Recipe(optimizer="prodigy"), lr=1.0)}


def test_a_recipes_own_value_is_the_centre() -> None:
    """Not the class's default."""
    recipe = Recipe(optimizer="sgd", hyperparameters={"momentum": 0.9}, weight_decay=1e-3)
    found = {d.name: (d.low, d.high) for d in space_of(recipe, lr=0.1)}
    assert found["momentum"] == pytest.approx((0.02, 0.5))
    assert found["weight_decay"] == pytest.approx((2e-4, 5e-3))


def test_a_name_that_cannot_be_searched_is_refused() -> None:
    """The error lists what can."""
    with pytest.raises(InputError, match="Allowed: beta1, beta2, lr, weight_decay"):
        space_of(Recipe(optimizer="adam"), lr=0.1, search=["lr", "momentum"])


def _parameter():  # type: ignore[no-untyped-def]
    import torch

    return torch.ones(2, 2, requires_grad=True)
