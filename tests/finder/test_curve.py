"""Reading a curve: the average, divergence, the steepest point, and when there is no answer."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from downslope.finder._curve import Answer, Average, decay, diverged, factor, memory, read

LRS = np.geomspace(1e-7, 10, 100).tolist()
SETTLED = memory(100)


def smoothed(losses: list[float]) -> list[float]:
    average = Average(decay(SETTLED))
    return [average.add(x) for x in losses]


def answer(losses: list[float], **changes: object) -> Answer:
    lrs = LRS[: len(losses)]
    given = {"diverged_at": None, "settled": SETTLED, "steps": 300, **changes}
    return read("sgd", lrs, losses, smoothed(losses), **given)  # type: ignore[arg-type]  # a dict


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
        found = answer(valley(at)).steepest
        assert found is not None
        assert at <= LRS.index(found) <= at + SETTLED


def test_the_steepest_point_comes_before_the_minimum() -> None:
    """A second, steeper fall after the curve has risen again does not count."""
    losses = valley(40)[:80] + [8.0 - 0.3 * k for k in range(20)]
    found = answer(losses)
    assert found.steepest is not None
    assert LRS.index(found.steepest) < 60


def test_the_band_is_a_tenth_to_a_half_of_the_steepest() -> None:
    """The tutorials' band follows from the steepest point alone."""
    found = answer(valley(60))
    assert found.steepest is not None
    assert found.band == (0.1 * found.steepest, 0.5 * found.steepest)


def test_the_suggestion_is_where_most_of_the_fall_is_done() -> None:
    """The learning rate at which 70% of the fall is done, divided by the optimizer's factor."""
    averages = smoothed(valley(60))
    at = int(np.argmax(np.array(averages) <= 2 - 0.7 * (2 - min(averages))))
    assert answer(valley(60)).suggestion == LRS[at] / factor("sgd", 300)


def test_a_flat_bottom_does_not_move_the_suggestion() -> None:
    """Where on the bottom the smallest average happens to lie makes no difference."""
    losses = valley(60)
    early, late = losses.copy(), losses.copy()
    early[70] -= 0.02
    late[82] -= 0.02
    assert answer(early).suggestion == answer(late).suggestion


def test_a_longer_run_gets_a_lower_suggestion() -> None:
    """Half a decade lower for 5 times the steps; a short run gets no higher one."""
    assert factor("adamw", 1500) / factor("adamw", 300) == pytest.approx(10**0.5, rel=0.03)
    assert factor("adamw", 50) == factor("adamw", 300)


def test_an_answer_does_not_depend_on_the_scale_of_the_loss() -> None:
    """The loss times 30 gives the same learning rates (a fixed default would fail)."""
    losses = valley(60, noise=0.05)
    once, scaled = answer(losses), answer([30 * x for x in losses])
    assert (once.steepest, once.suggestion) == (scaled.steepest, scaled.suggestion)


def test_an_unknown_optimizer_has_the_usual_factor() -> None:
    """A class that was not measured is served too."""
    assert factor("lamb", 300) == 3.0


def no_answer(found: Answer, reason: str) -> None:
    assert (found.steepest, found.band, found.suggestion) == (None, None, None)
    assert reason in found.reason


def test_a_flat_curve_has_no_answer() -> None:
    """A loss that never moves (Lightning suggests 0.83 there)."""
    for losses in ([0.7] * 100, [0.7 - 1e-6 * k for k in range(100)]):
        no_answer(answer(losses), "never fell by more than its noise between 1.0e-07 and 1.0e+01")


def test_noise_alone_has_no_answer() -> None:
    """Of 200 sweeps over pure noise at most 14 find something: 4% are expected."""
    rng = np.random.default_rng(1)
    found = [answer((2 + 0.3 * rng.normal(size=100)).tolist()) for _ in range(200)]
    assert sum(f.suggestion is not None for f in found) <= 14


def test_a_fall_clear_of_the_noise_has_an_answer() -> None:
    """Noise of a third of the fall leaves the suggestion within half a decade of the clean one."""
    clean, noisy = answer(valley(60)).suggestion, answer(valley(60, noise=0.3)).suggestion
    assert clean is not None
    assert noisy is not None
    assert abs(math.log10(noisy / clean)) < 0.5


def test_a_rise_from_the_start_has_no_answer() -> None:
    """The loss is lowest where the sweep began: it should begin lower."""
    losses = [1 + 0.1 * k for k in range(30)]
    no_answer(
        answer(losses, diverged_at=LRS[29]), "at the start, 1.0e-07, and diverged at 2.2e-05: start"
    )


def test_no_finite_loss_has_no_answer() -> None:
    """NaN before the first step is the data's fault or the model's."""
    no_answer(answer([], diverged_at=LRS[0]), "not a finite number before the first step")


def test_a_loss_that_still_falls_is_said() -> None:
    """The suggestion stands, with the advice to end higher."""
    found = answer(np.linspace(2, 1, 100).tolist())
    assert found.suggestion is not None
    assert "still falling at 1.0e+01" in found.reason


def test_a_clear_answer_has_no_reason() -> None:
    """``reason`` is empty where there is nothing to say."""
    assert answer(valley(60)).reason == ""
