"""Optimizers on surfaces: the surfaces are what they say, and the fair race is fair."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from downslope.errors import InputError
from downslope.race import SURFACES, Surface, race, runners, surface


@pytest.mark.parametrize("where", SURFACES.values(), ids=SURFACES)
def test_the_gradient_is_zero_at_the_minima_only_there(where: Surface) -> None:
    """Each minimum that is named is one; the start is none."""
    for place, flat in [*((m, True) for m in where.minima), (where.start, False)]:
        at = torch.tensor(place, dtype=torch.float64, requires_grad=True)
        where.value(at[0], at[1]).backward()
        assert at.grad is not None
        assert bool(at.grad.abs().max() < 1e-4) is flat
        left, right, bottom, top = where.window
        assert left <= place[0] <= right
        assert bottom <= place[1] <= top


def test_each_runs_at_the_rate_that_suits_it_best() -> None:
    """No rate that is shown beside the best ends lower."""
    for lane in race(surface("beale"), steps=60):
        best = lane.paths[lane.best]
        assert best.score == min(path.score for path in lane.paths)
        assert 1 <= len(lane.paths) <= 5
        assert [path.lr for path in lane.paths] == sorted(path.lr for path in lane.paths)


def test_momentum_beats_plain_descent_in_a_valley() -> None:
    """What the picture is there to show."""
    plain, momentum = race(surface("rosenbrock"), runners(["sgd", "momentum"]))
    assert momentum.paths[momentum.best].score < plain.paths[plain.best].score / 2


def test_a_rare_feature_gets_its_gradient_seldom() -> None:
    """Plain descent moves along y in every tenth step only."""
    (lane,) = race(surface("sparse"), runners(["sgd"]), steps=30)
    moved = np.diff(lane.paths[lane.best].points[:, 1]) != 0
    assert np.flatnonzero(moved).tolist() == [0, 10, 20]


def test_the_race_is_the_same_each_time() -> None:
    """Noise comes from a seed."""
    first, second = (race(surface("noisy"), runners(["adam"]), steps=20) for _ in range(2))
    assert np.array_equal(first[0].paths[0].points, second[0].paths[0].points)


def test_bad_names_are_refused() -> None:
    """The nearest name is offered; what cannot run on two numbers says why."""
    with pytest.raises(InputError, match="Did you mean 'ravine'"):
        surface("ravin")
    with pytest.raises(InputError, match="Unknown optimizer 'adamm'"):
        runners(["adamm"])
    with pytest.raises(InputError, match="steps = 0"):
        race(surface("ravine"), steps=0)
