"""Every schedule against its textbook formula, written naively once more."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from downslope.schedules import (
    Schedule,
    cosine_restarts,
    cyclic,
    exponential,
    function,
    inverse_sqrt,
    multiplicative,
    multistep,
    one_cycle,
    one_minus_sqrt,
    polynomial,
    rex,
    step,
    warmup,
    wsd,
)

Pair = tuple[Schedule, Callable[[int], float]]
lengths, values, gammas = st.integers(1, 60), st.floats(-2, 2), st.floats(0, 1.5)


def ramp(weight: Callable[[float], float], steps: int, a: float, b: float, t: int) -> float:
    """From ``a`` to ``b`` by the weight of the share that is done."""
    return b + (a - b) * weight(min(t / steps, 1))


@st.composite
def ramps(draw: st.DrawFn) -> Pair:
    steps, a, b = draw(lengths), draw(values), draw(values)
    power = draw(st.floats(0.1, 4))
    make, weight = draw(
        st.sampled_from(
            [
                (lambda n, **k: polynomial(n, power=power, **k), lambda u: (1 - u) ** power),
                (one_minus_sqrt, lambda u: 1 - math.sqrt(u)),
                (rex, lambda u: (1 - u) / (0.5 + 0.5 * (1 - u))),
            ]
        )
    )
    return make(steps, start=a, end=b), lambda t: ramp(weight, steps, a, b, t)


@st.composite
def endless(draw: st.DrawFn) -> Pair:
    n, a, gamma = draw(lengths), draw(values), draw(gammas)
    bounds = sorted(draw(st.lists(st.integers(1, 80), max_size=5)))
    return draw(
        st.sampled_from(
            [
                (step(n, gamma=gamma, start=a), lambda t: a * gamma ** (t // n)),
                (
                    multistep(bounds, gamma=gamma, start=a),
                    lambda t: a * gamma ** sum(b <= t for b in bounds),
                ),
                (exponential(gamma, start=a), lambda t: a * gamma**t),
                (inverse_sqrt(n, start=a), lambda t: a * math.sqrt(n) / math.sqrt(n + t)),
                (function(math.cos, start=a), lambda t: a * math.cos(t)),
                (
                    multiplicative(math.cos, start=a),
                    lambda t: a * math.prod(math.cos(k) for k in range(1, t + 1)),
                ),
            ]
        )
    )


@st.composite
def cycles(draw: st.DrawFn) -> Pair:
    up, down, low, high, gamma = (draw(s) for s in (lengths, lengths, values, values, gammas))
    shape = draw(st.sampled_from(["triangular", "triangular2", "exp_range"]))

    def expected(t: int) -> float:
        cycle, at = t // (up + down), t % (up + down)
        height = at / up if at <= up else 1 - (at - up) / down
        scale = {"triangular": 1.0, "triangular2": 0.5**cycle, "exp_range": gamma**t}[shape]
        return low + (high - low) * height * scale

    return cyclic(up, down=down, low=low, high=high, shape=shape, gamma=gamma), expected


@st.composite
def restarts(draw: st.DrawFn) -> Pair:
    steps, mult, a, b = draw(lengths), draw(st.integers(1, 3)), draw(values), draw(values)

    def expected(t: int) -> float:
        length = steps
        while t >= length:
            t, length = t - length, length * mult
        return b + (a - b) * (1 + math.cos(math.pi * t / length)) / 2

    return cosine_restarts(steps, mult=mult, start=a, end=b), expected


@pytest.mark.parametrize("pairs", [ramps(), endless(), cycles(), restarts()])
def test_schedules_follow_the_textbook(pairs: st.SearchStrategy[Pair]) -> None:
    """Every step of random schedules has the naive formula's value."""

    @given(pairs)
    @settings(max_examples=60, deadline=None)
    def agree(pair: Pair) -> None:
        schedule, expected = pair
        found = schedule(np.arange(90))
        for t, value in enumerate(found):
            assert value == pytest.approx(expected(t), rel=1e-11, abs=1e-13)

    agree()


@pytest.mark.parametrize("make", [one_minus_sqrt, rex, polynomial])
def test_falls_are_exact_at_both_ends(make: Callable[..., Schedule]) -> None:
    """The first value is ``start`` and the last is ``end``, to the bit, for every length."""
    for steps in range(1, 200):
        schedule = make(steps, start=0.3, end=1e-6)
        assert (schedule(0), schedule(steps), schedule(10 * steps)) == (0.3, 1e-6, 1e-6)


def test_inverse_sqrt_after_a_warmup_is_the_transformers() -> None:
    """From the peak on: the peak times the root of the warmup over the step."""
    schedule = warmup(400, peak=1e-3) >> inverse_sqrt(400)
    for t in (400, 401, 1000, 40_000):
        assert schedule(t) == pytest.approx(1e-3 * math.sqrt(400 / t), rel=1e-12)


@pytest.mark.parametrize("decay", ["linear", "cosine", "1-sqrt"])
def test_wsd_rises_holds_and_falls_to_its_floor(decay: str) -> None:
    """The peak from the warmup's end to the decay's beginning, then down to the floor."""
    schedule = wsd(10, 50, 40, peak=0.5, end=0.01, decay=decay)  # type: ignore[arg-type]  # three words
    seen = schedule(np.arange(120))
    assert (np.diff(seen[:11]) > 0).all()
    assert set(seen[10:61]) == {0.5}
    assert (np.diff(seen[60:101]) < 0).all()
    assert set(seen[100:]) == {0.01}


def test_wsd_without_a_level_part_is_up_and_down() -> None:
    """``stable=0`` leaves no step at the peak but the one between the two ramps."""
    assert (wsd(10, 0, 40)(np.arange(60)) == 1).sum() == 1


def test_one_cycle_has_its_peak_and_its_ends() -> None:
    """The first step is a 25th of the peak, the last ten thousand times less than the first."""
    schedule = one_cycle(101, peak=0.5, rise=0.21)
    seen = schedule(np.arange(130))
    assert seen[0] == pytest.approx(0.02)
    assert seen.max() == pytest.approx(0.5, rel=1e-3)
    assert seen[100:] == pytest.approx([2e-6] * 30)


@pytest.mark.parametrize("steps", [1, 2, 3, 7])
@pytest.mark.parametrize("rise", [0.0, 0.3, 0.5, 1.0])
def test_one_cycle_of_few_steps_has_finite_values(steps: int, rise: float) -> None:
    """No division by zero where a part has no length, on which torch's class raises."""
    assert np.isfinite(one_cycle(steps, rise=rise)(np.arange(2 * steps))).all()


def test_a_function_is_asked_for_whole_steps() -> None:
    """It gets an ``int`` where the step is one, so that it can index a list."""
    assert function([0.5, 0.25].__getitem__, steps=1)([0, 1, 9]).tolist() == [0.5, 0.25, 0.25]


def test_multiplicative_asks_each_step_once() -> None:
    """A training loop that reads it step by step does not begin the product anew."""
    asked: list[int] = []

    def factor(t: int) -> float:
        asked.append(t)
        return 0.9

    schedule = multiplicative(factor)
    for t in range(50):
        schedule(t)
    assert asked == list(range(1, 50))
