"""Schedules: values, boundaries, composition, printing, and what they refuse."""

from __future__ import annotations

import dataclasses
import math
import pickle
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from downslope import schedules
from downslope.errors import InputError, InputTypeError
from downslope.schedules import (
    Schedule,
    constant,
    cosine,
    cosine_restarts,
    cyclic,
    exponential,
    function,
    inverse_sqrt,
    linear,
    multiplicative,
    multistep,
    one_cycle,
    one_minus_sqrt,
    polynomial,
    rex,
    sequence,
    step,
    warmup,
    wsd,
)

EXAMPLES = {
    "constant": constant(value=0.3),
    "constant(steps)": constant(7, value=0.3),
    "step": step(3, gamma=0.37, start=0.9),
    "linear": linear(997, start=0.1, end=0.7),
    "cosine": cosine(1009, start=0.3, end=1e-5),
    "warmup": warmup(13, peak=0.2),
    "multistep": multistep([3, 30, 30, 90], gamma=0.5, start=0.3),
    "exponential": exponential(0.993, start=0.3),
    "inverse sqrt": inverse_sqrt(50, steps=400, start=0.3),
    "polynomial": polynomial(997, power=1.7, end=0.01),
    "one minus sqrt": one_minus_sqrt(997, start=0.3, end=1e-5),
    "rex": rex(997, start=0.3, end=1e-5),
    "restarts": cosine_restarts(11, mult=2, start=0.4, end=0.01),
    "cyclic": cyclic(7, down=13, low=0.2, high=0.9, shape="triangular2"),
    "exp_range": cyclic(7, shape="exp_range", gamma=0.99),
    "one cycle": one_cycle(301, peak=0.4),
    "one cycle linear": one_cycle(301, start=0.01, end=0.0, rise=0.1, shape="linear"),
    "wsd": wsd(13, 400, 100, peak=1e-3, end=1e-5, decay="1-sqrt"),
    "function": function(math.cos, steps=500, start=0.7),
    "multiplicative": multiplicative(math.cos, start=0.7),
    "chain": warmup(13, peak=1e-3) >> constant(50) >> cosine(200, end=1e-6),
    "sequence": sequence([step(5), linear(30, start=0.5)], milestones=[17]),
    "scaled": 1e-3 * (warmup(13) >> cosine(200)),
    "product": cosine(100) * linear(70),
    "nested": sequence([warmup(4) >> cosine(9), warmup(2) >> linear(5)], milestones=[11]),
}
every_example = pytest.mark.parametrize("schedule", EXAMPLES.values(), ids=EXAMPLES)


def naive(steps: int, start: float, end: float, t: int, *, curve: str) -> float:
    """The textbook formulas, in exact fractions where there is no cosine."""
    if curve == "cosine":
        return end + (start - end) * (1 + math.cos(math.pi * min(t, steps) / steps)) / 2
    share = Fraction(min(t, steps), steps)
    return float(Fraction(start) * (1 - share) + Fraction(end) * share)


@pytest.mark.parametrize("curve", ["linear", "cosine"])
@given(steps=st.integers(1, 500), start=st.floats(-2, 2), end=st.floats(-2, 2))
@settings(max_examples=25, deadline=None)
def test_ramps_follow_the_textbook(curve: str, steps: int, start: float, end: float) -> None:
    """Linear and cosine agree with the naive formula at every step and beyond."""
    schedule = getattr(schedules, curve)(steps, start=start, end=end)
    expected = [naive(steps, start, end, t, curve=curve) for t in range(steps + 3)]
    np.testing.assert_allclose(schedule(np.arange(steps + 3)), expected, rtol=0, atol=1e-14)


@pytest.mark.parametrize("factory", [linear, cosine])
def test_ramps_are_exact_at_both_ends(factory: type) -> None:
    """The first value is ``start`` and the last is ``end``, to the bit, for every length."""
    for steps in range(1, 400):
        schedule = factory(steps, start=0.3, end=1e-6)
        assert (schedule(0), schedule(steps), schedule(10 * steps)) == (0.3, 1e-6, 1e-6)


def test_cosine_keeps_its_precision_near_the_end() -> None:
    """One step before the end of a million, the value still has 10 digits."""
    expected = math.sin(math.pi / 2 / 1_000_000) ** 2
    assert cosine(1_000_000)(999_999) == pytest.approx(expected, rel=1e-10)


def test_step_changes_at_exact_multiples() -> None:
    """The value drops at ``every``, ``2 * every``..., not a step before or after."""
    assert step(30, gamma=0.5)([0, 29, 30, 59, 60]).tolist() == [1, 1, 0.5, 0.5, 0.25]


def test_warmup_wastes_no_step_and_repeats_no_peak() -> None:
    """With what follows, the values rise by equal increments from one increment to the peak."""
    values = (warmup(4) >> constant(1))(np.arange(5))
    np.testing.assert_allclose(values, np.arange(1, 6) / 5, rtol=1e-15)


def test_warmup_of_no_steps_is_no_warmup() -> None:
    """``warmup(0) >> s`` gives the values of ``s`` from the first step."""
    steps = np.arange(12)
    assert np.array_equal((warmup(0) >> cosine(9))(steps), cosine(9)(steps))


@every_example
@pytest.mark.parametrize("count", [1, 2, 3, 7, 8, 17, 1200])
def test_one_step_and_many_have_equal_bits(schedule: Schedule, count: int) -> None:
    """A vector of steps gives the very numbers that the steps give one by one."""
    steps = np.arange(count)
    assert schedule(steps).tolist() == [schedule(int(t)) for t in steps]
    assert schedule(steps[::-1]).tolist() == schedule(steps)[::-1].tolist()


@every_example
def test_values_are_float64(schedule: Schedule) -> None:
    """A number in gives a Python float, an array gives float64 of its shape."""
    assert type(schedule(3)) is float
    assert type(schedule(np.int64(3))) is float
    values = schedule(np.arange(6, dtype=np.float32).reshape(2, 3))
    assert (values.dtype, values.shape) == (np.float64, (2, 3))


@every_example
def test_repr_builds_the_schedule_again(schedule: Schedule) -> None:
    """``eval(repr(schedule))`` is an equal schedule, and prints the same."""
    again = eval(repr(schedule), {**vars(math), **vars(schedules)})
    assert again == schedule
    assert repr(again) == repr(schedule)


@every_example
def test_schedules_survive_pickling(schedule: Schedule) -> None:
    """A copy from another process is equal and gives equal bits."""
    copy = pickle.loads(pickle.dumps(schedule))
    assert copy == schedule
    assert hash(copy) == hash(schedule)
    assert copy(np.arange(50)).tolist() == schedule(np.arange(50)).tolist()


@every_example
def test_schedules_are_immutable(schedule: Schedule) -> None:
    """No argument can be set after construction."""
    name = dataclasses.fields(schedule)[0].name  # type: ignore[arg-type]  # all are dataclasses
    with pytest.raises(dataclasses.FrozenInstanceError):
        setattr(schedule, name, 1)


@every_example
def test_the_end_is_held_from_length_on(schedule: Schedule) -> None:
    """From ``length`` on the value does not change; one that never ends has no length."""
    if schedule.length is not None:
        end = schedule(schedule.length)
        assert set(schedule(schedule.length + np.arange(300)).tolist()) == {end}


def test_chain_reads_as_it_runs() -> None:
    """The repr is the expression, with the arguments that were given."""
    chain = warmup(500) >> cosine(9_500, end=1e-6)
    assert repr(chain) == "warmup(500) >> cosine(9500, end=1e-06)"
    assert repr(2 * chain) == "(warmup(500) >> cosine(9500, end=1e-06)) * 2.0"


def test_no_step_is_shared_or_skipped_at_a_boundary() -> None:
    """Each step is the next local step of exactly one part."""
    parts = [linear(3, start=10, end=20), linear(5, start=30, end=40), linear(2, start=50, end=60)]
    chain = parts[0] >> parts[1] >> parts[2]
    expected = [part(t) for part, n in zip(parts, (3, 5, 3), strict=True) for t in range(n)]
    assert chain(np.arange(11)).tolist() == expected


def test_chaining_is_associative() -> None:
    """``(a >> b) >> c`` and ``a >> (b >> c)`` are equal."""
    a, b, c = warmup(3, peak=0.1), cosine(5, end=0.05), linear(4)
    assert (a >> b) >> c == a >> (b >> c)


def test_a_part_goes_on_from_where_the_last_one_ended() -> None:
    """Without a ``start`` of its own a part begins at the end of the one before it."""
    chain = warmup(5, peak=1e-3) >> constant(5) >> cosine(10, end=1e-5) >> step(2, gamma=0.5)
    explicit = (
        warmup(5, peak=1e-3)
        >> constant(5, value=1e-3)
        >> cosine(10, start=1e-3, end=1e-5)
        >> step(2, gamma=0.5, start=1e-5)
    )
    assert chain(np.arange(30)).tolist() == explicit(np.arange(30)).tolist()


def test_a_given_start_is_kept() -> None:
    """A part with a ``start`` of its own begins there, whatever came before it."""
    assert (warmup(5, peak=1e-3) >> cosine(10, start=0.5))(5) == 0.5


def test_length_of_a_chain_is_the_sum() -> None:
    """The parts' lengths add up; the last may be endless."""
    assert (warmup(3) >> constant(4) >> cosine(5)).length == 12
    assert (warmup(3) >> constant()).length is None


def test_product_multiplies_at_each_step() -> None:
    """The product of two schedules is the product of their values, and ends with the longer."""
    product = cosine(10) * linear(20, end=0.5)
    assert product.length == 20
    assert product(7) == cosine(10)(7) * linear(20, end=0.5)(7)


def test_numbers_scale_from_either_side() -> None:
    """Python and numpy numbers multiply from left and right, as does ``scaled``."""
    expected = cosine(9)(4) * 0.5
    for schedule in (
        cosine(9) * 0.5,
        0.5 * cosine(9),
        np.float64(0.5) * cosine(9),
        cosine(9) * np.float32(0.5),
        cosine(9).scaled(0.5),
    ):
        assert schedule(4) == expected


def test_a_function_may_give_numpys_numbers() -> None:
    """Any real number that is finite is a value, of numpy's types too."""
    halves = function(lambda t: np.float32(0.5) ** t)
    assert halves([0, 3]).tolist() == [1.0, 0.125]


BAD = {
    "steps 0": (lambda: linear(0), "linear: steps must be a whole number >= 1, got 0"),
    "steps negative": (lambda: cosine(-5), "cosine: steps .* got -5"),
    "steps fractional": (lambda: cosine(2.5), "cosine: steps .* got 2.5"),
    "steps nan": (lambda: warmup(math.nan), "warmup: steps .* >= 0, got nan"),
    "steps infinite": (lambda: linear(math.inf), "linear: steps .* got inf"),
    "warmup negative": (lambda: warmup(-1), "warmup: steps .* >= 0, got -1"),
    "every 0": (lambda: step(0), "step: every .* got 0"),
    "gamma nan": (lambda: step(3, gamma=math.nan), "step: gamma must be a finite number, got nan"),
    "start nan": (lambda: linear(3, start=math.nan), "linear: start .* got nan"),
    "end infinite": (lambda: cosine(3, end=math.inf), "cosine: end .* got inf"),
    "peak nan": (lambda: warmup(3, peak=math.nan), "warmup: peak .* got nan"),
    "value nan": (lambda: constant(value=math.nan), "constant: value .* got nan"),
    "factor nan": (lambda: cosine(3) * math.nan, "a schedule's factor .* got nan"),
    "endless part": (lambda: step(3) >> cosine(4), r"step\(3\) never ends"),
    "milestones missing": (lambda: sequence([step(3), cosine(4)], []), "need 1 milestones"),
    "milestones falling": (
        lambda: sequence([step(3), step(4), step(5)], [5, 5]),
        r"must increase, got \[5, 5\]",
    ),
    "milestone 0": (lambda: sequence([step(3), step(4)], [0]), "a milestone .* >= 1, got 0"),
    "steps of 400 digits": (lambda: cosine(10**400), "cosine: steps .* got 1000"),
    "power 0": (
        lambda: polynomial(5, power=0),
        "polynomial: power must be a finite number > 0, got 0",
    ),
    "gamma negative": (
        lambda: exponential(-0.1),
        "exponential: gamma must be a finite number >= 0, got -0.1",
    ),
    "cycle's shape": (lambda: cyclic(5, shape="triangle"), "Unknown shape .*Did you mean 'triang"),  # type: ignore[arg-type]  # on purpose
    "cycle of none": (lambda: cyclic(0), "cyclic: up .* got 0"),
    "rise 2": (
        lambda: one_cycle(5, rise=2),
        "one_cycle: rise must be a finite number >= 0 and <= 1, got 2",
    ),
    "restarts' mult": (lambda: cosine_restarts(5, mult=0), "mult .* >= 1, got 0"),
    "wsd's decay": (lambda: wsd(1, 1, 1, decay="sqrt"), "Unknown decay for wsd 'sqrt'"),  # type: ignore[arg-type]  # on purpose
    "stairs falling": (lambda: multistep([5, 3]), r"must not decrease, got \[5, 3\]"),
    "function's value": (lambda: function(lambda t: math.nan)(3), r"\(3\) must be a finite .* nan"),
    "nothing to draw": (lambda: step(3).sampled(), "never ends: say how many steps to draw"),
    "step negative": (lambda: cosine(3)(-1), r"cosine\(3\): a step must be .* >= 0 .* got -1"),
    "step nan": (lambda: cosine(3)(math.nan), "got nan"),
    "value of 400 digits": (lambda: exponential(1.1)(10_000), "the largest float at step 10000"),
    "values of 400 digits": (
        lambda: (1e-3 * step(1, gamma=10)).sampled(400),
        r"step\(1, gamma=10.0\) \* 0.001 is beyond the largest float at step 309",
    ),
    "step infinite": (lambda: cosine(3)([1.0, math.inf]), "got .*inf"),
}


@pytest.mark.parametrize(("build", "message"), BAD.values(), ids=BAD)
def test_bad_values_are_refused(build, message: str) -> None:  # type: ignore[no-untyped-def]  # a table
    """The error says what came and what is allowed."""
    with pytest.raises(InputError, match=message):
        build()


BAD_TYPES = {
    "steps text": (lambda: linear("5"), "linear: steps .* got '5' .str."),
    "steps bool": (lambda: linear(True), "linear: steps .* got True .bool."),
    "end text": (lambda: linear(5, end="0"), "linear: end .* got '0' .str."),
    "step text": (lambda: linear(5)("x"), "a step must be a number, got 'x'"),
    "function of text": (lambda: function("0.9"), "function needs a function .* got '0.9'"),  # type: ignore[arg-type]  # on purpose
    "milestones as a number": (lambda: multistep(5), "must be a list of steps, got 5"),  # type: ignore[arg-type]  # on purpose
    "sequence of numbers": (lambda: sequence([0.1, 0.2], [3]), "a list of at least one schedule"),
    "a sequence of no list": (lambda: sequence(cosine(5), [3]), "a list of at least one schedule"),  # type: ignore[arg-type]  # on purpose
    "empty sequence": (lambda: sequence([], []), "a list of at least one schedule"),
    "chain with a number": (lambda: linear(5) >> 3, "unsupported operand"),
    "product with text": (lambda: linear(5) * "x", "multiply"),
}


@pytest.mark.parametrize(("build", "message"), BAD_TYPES.values(), ids=BAD_TYPES)
def test_bad_types_are_refused(build, message: str) -> None:  # type: ignore[no-untyped-def]  # a table
    """A value of another type is a TypeError with the same words."""
    with pytest.raises(TypeError, match=message):
        build()


def test_our_type_errors_are_downslopes() -> None:
    """A wrong type given to a factory can be caught as one of the package's errors."""
    with pytest.raises(InputTypeError):
        linear("5")  # type: ignore[arg-type]  # on purpose
