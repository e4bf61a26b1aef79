"""Races: where they go, what they cost, what they say, and what is made of it."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from downslope.finder._races import Race, Races, Run, best, search
from downslope.finder._suggest import confidence, moved, planned_lr, usual_lr

COST = 10.0


def bowl(bottom: float, *, diverges: float = math.inf) -> Callable[[float], Race]:
    """A loss with its minimum at a learning rate, infinite from another one on, after one step."""

    def run(lr: float) -> Race:
        if lr >= diverges:
            return Race(lr, (), cost=1.0)
        return Race(lr, (1 + math.log10(lr / bottom) ** 2,), COST)

    return run


def races(*losses: float, first: float = 4.0, batches: int = 1, trained: float = math.inf) -> Races:
    """Races at 0.01, 0.1, 1... with these losses on each held-out batch."""
    return Races(
        tuple(
            Race(10.0 ** (k - 2), (loss,) * batches, trained=trained)
            for k, loss in enumerate(losses)
        ),
        steps=40,
        first=(first,) * batches,
        run=Run(labels=64),
    )


@given(st.floats(-4, 0), st.floats(-5, 1))
def test_the_search_finds_the_bottom(bottom: float, begin: float) -> None:
    """With enough to spend, the parabola's vertex is at the minimum, wherever it begins."""
    found = search(bowl(10**bottom), 10**begin, 1000, COST, first=30.0)
    if abs(bottom - begin) < 2:
        assert math.log10(best(Races(found, 40, (2.0,)))) == pytest.approx(bottom, abs=1e-6)


@given(st.floats(10, 200), st.floats(-4, 0))
def test_the_search_keeps_to_its_budget(budget: float, bottom: float) -> None:
    """All races together cost at most what was given."""
    found = search(bowl(10**bottom, diverges=0.1), 0.3, budget, COST, first=30.0)
    assert sum(race.cost for race in found) <= budget


def test_where_all_diverge_it_goes_far_down() -> None:
    """A start three decades too high is not the end."""
    found = search(bowl(1e-4, diverges=1e-3), 1.0, 60, COST, first=30.0)
    assert best(Races(found, 40, (2.0,))) < 1e-3


def test_a_steep_climb_is_followed_by_a_leap() -> None:
    """Where the rate below lost most of the fall, the third race is two steps up, not one."""
    steep = search(bowl(10.0), 0.1, 3 * COST, COST, first=10.0)
    shallow = search(bowl(10.0), 0.1, 3 * COST, COST, first=100.0)
    assert [round(math.log10(race.lr), 1) for race in steep] == [-1.7, -1.0, 0.4]
    assert [round(math.log10(race.lr), 1) for race in shallow] == [-1.7, -1.0, -0.3]


def test_the_vertex_stays_near_the_winner() -> None:
    """It is never nearer to a neighbour than to the race that won."""
    assert 10**-1.5 <= best(races(1.0, 0.999, 5.0)) <= 10**-0.5


def test_an_outermost_winner_is_the_answer() -> None:
    """Nothing is drawn through races on one side only, or through ones that diverged."""
    assert best(races(0.5, 1.0, 2.0)) == 0.01
    assert best(races(1.0, 0.5, math.inf)) == 0.1


NAMES = ["sgd", "adamw", "lion", "one of my own"]


@pytest.mark.parametrize("name", NAMES)
def test_the_usual_step_is_a_share_of_the_weights(name: str) -> None:
    """Steps 30 times as long give a 30th of the learning rate, weights twice as large twice it."""
    lr = usual_lr(name, 3.0, 0.5)
    assert lr is not None
    assert usual_lr(name, 3.0, 15.0) == pytest.approx(lr / 30)
    assert usual_lr(name, 6.0, 0.5) == pytest.approx(2 * lr)


@pytest.mark.parametrize("name", NAMES)
def test_a_longer_run_gets_a_lower_rate(name: str) -> None:
    """From 6 to 20 times the races it falls; from 25 times on it does not fall further."""
    by = [moved(name, ratio) for ratio in (6, 20, 25, 1e6)]
    assert by[0] > by[1] > by[2] == by[3]


@pytest.mark.parametrize("name", NAMES)
def test_a_run_on_classes_gets_a_lower_rate_than_one_on_values(name: str) -> None:
    """0.3 decades lower, and 0.5 in a run half a decade longer; between them without a word."""
    for ratio, apart in ((5, 0.3), (5.5 * 10**0.5, 0.5)):
        by = [moved(name, ratio, Run(classes=classes)) for classes in (True, None, False)]
        assert [shift - by[1] for shift in by] == pytest.approx([-apart / 2, 0, apart / 2])


@pytest.mark.parametrize("ratio", [5, 20])
def test_more_weights_a_target_get_a_lower_rate(ratio: float) -> None:
    """Within what was measured; as in the middle of it where they are not known."""
    counts = (None, 10**0.5, 1.0, 10.0, 30.0, 100.0, 0.3, 0.01)
    unknown, middle, one, ten, many, more, few, less = (
        moved("sgd", ratio, Run(capacity=count)) for count in counts
    )
    assert unknown == pytest.approx(middle)
    assert few > one > middle > ten > many
    assert (more, less) == pytest.approx((many, few), abs=0.02)


def test_a_deep_network_gets_a_lower_rate_in_a_short_run() -> None:
    """By 0.45 decades for each decade of layers; by 0.25 in a run half a decade longer."""
    near, far = ([moved("sgd", r, Run(depth=d)) for d in (2, 4, 7, 70)] for r in (5, 5.5 * 10**0.5))
    assert near[0] - near[1] == pytest.approx(0.45 * math.log10(2))
    assert near[1] > near[2] == pytest.approx(near[3], abs=0.01)
    assert far[0] - far[1] == pytest.approx(0.25 * math.log10(2))


def test_the_answer_is_moved_by_what_is_known_of_the_run() -> None:
    """Races judged by classes and by values differ by what the length of the run says."""
    found = races(2.0, 1.0, 2.0)
    lrs = [planned_lr("sgd", replace(found, run=Run(c)), 0.1, 40 * 5) for c in (True, False)]
    assert math.log10(lrs[1] / lrs[0]) == pytest.approx(0.3)


def test_the_scale_of_the_loss_does_not_matter() -> None:
    """All losses times 30 give the same learning rate."""
    small, large = races(1.0, 0.5, 0.8), races(30.0, 15.0, 24.0, first=120.0)
    lrs = [planned_lr("adamw", found, 0.1, 300) for found in (small, large)]
    assert lrs[0] == pytest.approx(lrs[1])


@pytest.mark.parametrize(("name", "pull"), [("sgd", 0.3), ("adamw", 0.2), ("lion", 0.45)])
def test_the_answer_lies_between_the_races_and_the_usual_rate(name: str, pull: float) -> None:
    """From 0.1 towards a usual 0.01 by that share, from further away as from 1.2 decades."""
    for usual, apart in ((0.01, 1.0), (1e-4, 1.2)):
        found = math.log10(planned_lr(name, races(2.0, 1.0, 2.0), usual, 800))
        assert found == pytest.approx(-1 - pull * apart + moved(name, 20, Run(labels=64)))


def test_where_rows_are_learnt_by_heart_the_usual_rate_says_more() -> None:
    """A fall of the held-out loss by less than a twentieth says little about the planned run."""
    small, large = (
        math.log10(planned_lr("sgd", races(3.9, x, 3.9, trained=1.0), 1.0, 200))
        for x in (3.81, 3.7)
    )
    assert small - large == pytest.approx(0.45)


def test_where_the_loss_fell_little_the_usual_rate_draws_up_but_not_down() -> None:
    """A fall by a tenth leaves a third of its pull down, and all of its pull up."""
    found = races(3.9, 3.6, 3.9)
    up, none, down = (math.log10(planned_lr("sgd", found, lr, 200)) for lr in (1.0, 0.1, 0.01))
    assert (up - none, none - down) == pytest.approx((0.3, 0.1))


def test_on_a_plateau_the_usual_rate_is_the_answer() -> None:
    """Where the training loss fell by less than a fifth too, however long the run is."""
    for steps in (200, 4000):
        assert planned_lr("sgd", races(3.9, 3.81, 3.9, trained=3.3), 0.02, steps) == 0.02
        assert planned_lr("sgd", races(3.9, 3.81, 3.9, trained=3.1), 0.02, steps) != 0.02
    assert races(3.9, 3.81, 3.9, trained=3.0).learnt == 0.25


def test_confidence_needs_a_fall_a_worse_rate_above_rows_and_a_run_not_too_long() -> None:
    """High; medium at the edge, for a long run or few rows; low for a small fall, none for none."""
    assert confidence(races(1.0, 0.5, 1.0), 400) == "high"
    assert confidence(races(0.5, 1.0, 2.0), 400) == "high"
    assert confidence(races(2.0, 1.0, 0.5), 400) == "medium"
    assert confidence(races(1.0, 0.5, 1.0), 401) == "medium"
    assert confidence(replace(races(1.0, 0.5, 1.0), run=Run(labels=63)), 400) == "medium"
    assert confidence(races(3.9, 3.8, 3.9), 400) == "low"
    assert confidence(races(4.0, 3.99, 4.0), 400) == "none"
    assert confidence(races(math.inf, math.inf), 400) == "none"
    assert races(1.0, 0.5, 1.0).fall == 0.875


def test_a_small_fall_counts_where_all_batches_agree() -> None:
    """Half a percent on each of eight batches is an answer, on half of them it is noise."""
    first = tuple(4.0 + 0.1 * k for k in range(8))

    def fallen(falls: tuple[float, ...]) -> Races:
        after = tuple(a - b for a, b in zip(first, falls, strict=True))
        return Races((Race(0.1, after),), 40, first)

    assert confidence(fallen((0.02, 0.03) * 4), 400) == "low"
    assert confidence(fallen((0.2, -0.15) * 4), 400) == "none"
    assert fallen((0.02, 0.03) * 4).certainty > 3 > fallen((0.2, -0.15) * 4).certainty


@pytest.mark.parametrize("scale", [1.0, 1e-6])
def test_certainty_is_the_fall_in_standard_errors(scale: float) -> None:
    """Falls of 1, 2, ... 8 are 4.5 over 0.866, whatever the unit."""
    first = tuple(scale * 10.0 for _ in range(8))
    after = tuple(scale * (10.0 - fall) for fall in range(1, 9))
    assert Races((Race(0.1, after),), 40, first).certainty == pytest.approx(4.5 / 0.8660254)
