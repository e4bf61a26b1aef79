"""The tests of comparisons, beside plain enumeration."""

from __future__ import annotations

import itertools
import math
import random
from collections.abc import Sequence

import pytest

from downslope.tuning.statistics import (
    ALPHA,
    median_interval,
    performance_profile,
    rank_sum_p,
    ranks,
    tiers,
)


def enumerated(first: Sequence[float], second: Sequence[float]) -> float:
    """The p-value from every way to deal the pooled values, one by one."""
    pooled = [*first, *second]
    rank = [(sum(w < v for w in pooled) + sum(w <= v for w in pooled) + 1) / 2 for v in pooled]
    mean = len(first) * (len(pooled) + 1) / 2
    far = abs(sum(rank[: len(first)]) - mean)
    deals = list(itertools.combinations(rank, len(first)))
    return sum(abs(sum(deal) - mean) >= far for deal in deals) / len(deals)


@pytest.mark.parametrize("sizes", [(1, 1), (2, 5), (4, 4), (6, 3)])
def test_the_p_value_is_that_of_plain_enumeration(sizes: tuple[int, int]) -> None:
    """With ties, with runs that missed the target, and with neither."""
    draw = random.Random(sum(sizes))
    for values in ([1, 2, 3, math.inf], range(1000), [math.inf]):
        first, second = ([draw.choice(values) for _ in range(n)] for n in sizes)
        assert rank_sum_p(first, second) == pytest.approx(enumerated(first, second), abs=1e-12)


def test_equal_optimizers_are_seldom_told_apart() -> None:
    """Of 400 comparisons of four equal ones at most 5 % claim any difference."""
    draw = random.Random(0)
    claims = sum(
        len(tiers({name: [draw.gauss(0, 1) for _ in range(5)] for name in "abcd"})) > 1
        for _ in range(400)
    )
    assert claims <= ALPHA * 400


def test_a_line_is_drawn_only_where_all_above_are_faster_than_all_below() -> None:
    """No line between two that overlap, though one is faster than all."""
    times = {
        "c": [15, 16, 17, 18, 30],
        "a": [1, 2, 3, 4, 5],
        "b": [13, 14, 15, 16, 17],
        "d": [math.inf] * 5,
    }
    assert tiers(times) == [["a"], ["b", "c"], ["d"]]


def test_neighbours_that_differ_are_not_enough_for_a_line() -> None:
    """All of b are before all of c, but one of a, the first, is behind them: no line at all."""
    times = {"a": [1, 1, 1, 1, 50], "b": [5, 6, 7, 8, 9], "c": [20, 21, 22, 23, 24]}
    assert rank_sum_p(times["b"], times["c"]) < ALPHA
    assert tiers(times) == [["a", "b", "c"]]


def test_the_interval_holds_the_median_as_often_as_it_says() -> None:
    """Of 4000 samples of 9 exponential numbers, to three standard errors."""
    draw = random.Random(1)
    true, hits, rounds = math.log(2), 0, 4000
    for _ in range(rounds):
        low, high, share = median_interval([draw.expovariate(1) for _ in range(9)])
        hits += low <= true <= high
    assert share >= 0.9
    assert abs(hits / rounds - share) < 3 * math.sqrt(share * (1 - share) / rounds)


def test_ranks_of_ties_are_their_mean() -> None:
    """Also of runs that never reached the target."""
    assert ranks([math.inf, 2, math.inf, 1]) == [3.5, 2, 3.5, 1]


def test_the_profile_counts_a_seed_that_nobody_solved_for_nobody() -> None:
    """It lowers every curve's end."""
    found = performance_profile({"a": [10, math.inf], "b": [30, math.inf]})
    assert found == {"a": [(1.0, 0.5)], "b": [(3.0, 0.5)]}
