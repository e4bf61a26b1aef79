"""Whether a difference is more than noise: exact tests and intervals for a handful of runs.

Times may be infinite: a run that never reached its target took longer than any that did.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from statistics import median

__all__ = [
    "ALPHA",
    "COVERAGE",
    "median_interval",
    "middle",
    "performance_profile",
    "rank_sum_p",
    "ranks",
    "tiers",
]

ALPHA = 0.05  #: largest p-value of a difference that is called one
COVERAGE = 0.9  #: least probability with which an interval holds the true median, if it can be had


def ranks(values: Sequence[float]) -> list[float]:
    """The rank of each value from 1, equal values sharing the mean of theirs.

    >>> ranks([0.3, math.inf, 0.1, math.inf])
    [2.0, 3.5, 1.0, 3.5]
    """
    ordered = sorted(values)
    return [ordered.index(v) + (ordered.count(v) + 1) / 2 for v in values]


def rank_sum_p(first: Sequence[float], second: Sequence[float]) -> float:
    """Two-sided p-value of the exact rank-sum test (Wilcoxon 1945; Mann and Whitney 1947).

    The share of all ways to deal the pooled values into groups of these sizes that bring the sum
    of the first group's ranks at least as far from its mean as it is. Nothing is assumed about how
    times are distributed; ties are counted as they are.

    >>> rank_sum_p([1, 2, 3, 4, 5], [6, 7, 8, 9, math.inf]) == 2 / math.comb(10, 5)
    True
    >>> rank_sum_p([1, 2], [1, 2])
    1.0
    """
    doubled = [round(2 * r) for r in ranks([*first, *second])]
    ways: list[Counter[int]] = [Counter({0: 1}), *(Counter() for _ in first)]
    for rank in doubled:  # ways[k][s]: how many choices of k values have ranks that sum to s
        for size in range(len(first), 0, -1):
            for total, count in ways[size - 1].items():
                ways[size][total + rank] += count
    mean = len(first) * (len(doubled) + 1)
    far = abs(sum(doubled[: len(first)]) - mean)
    extreme = sum(n for total, n in ways[-1].items() if abs(total - mean) >= far)
    return extreme / float(math.comb(len(doubled), len(first)))


def tiers(times: Mapping[str, Sequence[float]]) -> list[list[str]]:
    """Names in the order of their times, those together that cannot be told apart.

    A line is drawn between two neighbours only where everyone above it is faster than everyone
    below it, each pair by :func:`rank_sum_p` at :data:`ALPHA`.

    >>> tiers({"c": [9, 8, 9, 9, 8], "a": [1, 2, 3, 2, 1], "b": [2, 1, 2, 3, 2]})
    [['a', 'b'], ['c']]
    """
    pooled = ranks([t for values in times.values() for t in values])
    sums, at = {}, 0
    for name, values in times.items():
        sums[name] = sum(pooled[at : at + len(values)]) / len(values)
        at += len(values)
    order = sorted(times, key=lambda name: sums[name])
    found = [order[:1]]
    for k, name in enumerate(order[1:], start=1):
        apart = all(rank_sum_p(times[a], times[b]) < ALPHA for a in order[:k] for b in order[k:])
        if apart:
            found.append([name])
        else:
            found[-1].append(name)
    return found


def median_interval(values: Sequence[float]) -> tuple[float, float, float]:
    """Low, high and probability of an interval that holds the true median.

    Its ends are two of the values, as many below it as above: whatever the distribution, it misses
    the median if and only if too few values fall on one side. It is the narrowest such interval
    with at least :data:`COVERAGE`; of few values all of them, with less.

    >>> median_interval([5, 3, 1, 2, 4])
    (1, 5, 0.9375)
    """
    ordered, n = sorted(values), len(values)
    left_out = 0  # values on each side
    while left_out + 1 < (n + 1) // 2 and _covered(n, left_out + 1) >= COVERAGE:
        left_out += 1
    return ordered[left_out], ordered[n - 1 - left_out], _covered(n, left_out)


def _covered(n: int, left_out: int) -> float:
    """P(the median lies between the order statistics that leave out so many on each side)."""
    return max(0.0, 1 - 2 * sum(math.comb(n, k) for k in range(left_out + 1)) / 2.0**n)


def performance_profile(
    times: Mapping[str, Sequence[float]],
) -> dict[str, list[tuple[float, float]]]:
    """By name, corners of the curve: share of seeds solved within a multiple of the best time.

    Of each seed the fastest has the multiple 1; who missed has no corner for it. Dolan and Moré,
    Benchmarking Optimization Software with Performance Profiles, 2002.

    >>> performance_profile({"a": [10, 20], "b": [20, math.inf]})
    {'a': [(1.0, 1.0)], 'b': [(2.0, 0.5)]}
    """
    best = [min(seed) for seed in zip(*times.values(), strict=True)]
    profile = {}
    for name, values in times.items():
        ratios = [t / b for t, b in zip(values, best, strict=True) if math.isfinite(t)]
        profile[name] = [
            (ratio, sum(r <= ratio for r in ratios) / len(values)) for ratio in sorted({*ratios})
        ]
    return profile


def middle(values: Sequence[float]) -> float:
    """The median; infinite where half of the values are."""
    return float(median(values))
