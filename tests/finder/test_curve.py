"""Reading a sweep's curve: the average, divergence, the steepest point and the band."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from downslope.finder._curve import Average, band, decay, diverged, memory, steepest

LRS = np.geomspace(1e-7, 10, 100).tolist()
SETTLED = memory(100)


def smoothed(losses: list[float]) -> list[float]:
    average = Average(decay(SETTLED))
    return [average.add(x) for x in losses]


def found(losses: list[float]) -> float | None:
    return steepest(LRS[: len(losses)], smoothed(losses), SETTLED)


def valley(at: int, *, depth: float = 1.0, noise: float = 0.0) -> list[float]:
    """Flat at 2, a fall around ``at``, then a rise."""
    steps = np.arange(100)
    losses = 2 - depth / (1 + np.exp(-(steps - at) / 2)) + np.exp((steps - 92.0) / 2)
    return (losses + noise * np.random.default_rng(0).normal(size=100)).tolist()


@given(st.lists(st.floats(-100, 100), min_size=1, max_size=40), st.floats(0.1, 0.99))
def test_the_average_is_the_weighted_mean(values: list[float], beta: float) -> None:
    """The k-th average is the mean of all values so far with weights ``beta ** age``."""
    average = Average(beta)
    for count, value in enumerate(values, start=1):
        weights = [beta**age for age in reversed(range(count))]
        expected = np.average(values[:count], weights=weights)
        assert average.add(value) == pytest.approx(expected, rel=1e-9, abs=1e-9)


def test_the_average_of_a_constant_is_the_constant() -> None:
    """From the first value on: a count that is off by one would start elsewhere."""
    average = Average(0.98)
    assert [average.add(0.83) for _ in range(5)] == pytest.approx([0.83] * 5, rel=1e-12)


def test_divergence_is_four_times_the_best() -> None:
    """The limit is 4 times the smallest average, not more and not less."""
    assert not diverged([1.0, 0.5, 2.0], settled=0)
    assert diverged([1.0, 0.5, 2.001], settled=0)


def test_noise_at_the_start_is_no_divergence() -> None:
    """Averages of few values neither diverge nor count as the best."""
    assert not diverged([0.1, 5.0], settled=2)
    assert not diverged([0.1, 5.0, 5.0, 6.0], settled=2)


def test_negative_losses_diverge_upwards() -> None:
    """A log-likelihood that improves below zero goes on; one that rises far stops."""
    assert not diverged([-1.0, -2.0, -3.0], settled=0)
    assert diverged([-1.0, -2.0, 4.5], settled=0)


def test_the_steepest_point_is_on_the_slope() -> None:
    """It lies at the fall of the curve, shifted by at most the average's memory."""
    for at in (40, 60, 75):
        lr = found(valley(at))
        assert lr is not None
        assert at <= LRS.index(lr) <= at + SETTLED


def test_the_steepest_point_comes_before_the_minimum() -> None:
    """A second, steeper fall after the curve has risen again does not count."""
    lr = found(valley(40)[:80] + [8.0 - 0.3 * k for k in range(20)])
    assert lr is not None
    assert LRS.index(lr) < 60


def test_the_steepest_point_does_not_depend_on_the_scale_of_the_loss() -> None:
    """The loss times 30 gives the same learning rate."""
    losses = valley(60, noise=0.05)
    assert found(losses) == found([30 * x for x in losses])


def test_a_rise_from_the_start_has_no_steepest_point() -> None:
    """The loss is lowest where the sweep began."""
    assert found([1 + 0.1 * k for k in range(30)]) is None
    assert found([]) is None


def test_the_band_is_a_tenth_to_a_half_of_the_steepest() -> None:
    """The tutorials' band follows from the steepest point alone."""
    assert band(0.2) == (pytest.approx(0.02), pytest.approx(0.1))
