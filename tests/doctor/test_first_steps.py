"""What the doctor says of first steps and steep beginnings, of records made by hand."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from downslope.doctor import diagnose

from .made import AT_ONCE, FALL, NOISE, causes_of, course, steep


@pytest.mark.parametrize(("optimizer", "causes"), [("LBFGS", []), ("Adam", ["lr too high"])])
def test_a_step_of_lbfgs_may_go_far(optimizer: str, causes: list[str]) -> None:
    """Its step is a whole search, so weights may change by more than themselves."""
    found = diagnose(course(0.9 + 0.1 * FALL, update=1.2, optimizer=optimizer))
    assert [f.cause for f in found if f.severity != "note"] == causes


@pytest.mark.parametrize(("optimizer", "causes"), [("Adagrad", []), ("Adam", ["warmup missing"])])
def test_adagrad_needs_no_warmup(optimizer: str, causes: list[str]) -> None:
    """Its first step is its largest, for it lowers the rate itself."""
    found = diagnose(course(0.07 + FALL, update=0.25, optimizer=optimizer))
    assert [f.cause for f in found if f.severity != "note"] == causes


@pytest.mark.parametrize(
    ("events", "causes"),
    [
        (steep(1 + 0.02 * NOISE, 150), []),
        (steep(np.where(np.arange(200) == 3, 9.0, 1.0), 150), []),
        (steep(1 + 9 * (1 - FALL), 50), ["lr too high"]),
        (steep(1 + 9 * (1 - FALL), 150), ["exploding gradients"]),
        (steep(1 + 0 * FALL, 150, dead=1.0), ["exploding gradients"]),
        (steep(1 + FALL, 150, update=0.15), ["exploding gradients"]),
        (steep(1 + 9 * (1 - FALL), 150, rows=1), ["batch too small"]),
    ],
    ids=["calm", "one batch", "not steep", "risen", "died", "fast", "one row"],
)
def test_what_rose_or_died_from_a_steep_beginning_wants_steps_of_their_own_length(
    events: list[dict[str, Any]], causes: list[str]
) -> None:
    """No rate of SGD suits a slope that falls a hundredfold; AdamW's steps are as long on it."""
    found = [f for f in diagnose(events) if f.severity != "note"]
    assert [f.cause for f in found if f.cause not in ("slow optimizer", "lr too low")] == causes
    if causes == ["exploding gradients"]:
        assert found[0].change["optimizer"] == "adamw"


def test_what_rose_by_steps_of_their_own_length_wants_shorter_ones() -> None:
    """After the change of the optimizer it is the rate's turn."""
    found = diagnose(steep(1 + 9 * (1 - FALL), 150, optimizer="AdamW"))[0]
    assert (found.cause, found.change["lr"]) == ("exploding gradients", "x0.1")
    assert "optimizer" not in found.change


def test_outputs_that_became_constant_were_killed_by_the_steps() -> None:
    """They differed at first, so nothing is cut off: the rate is to blame."""
    events = course(2.3 - 0.1 * FALL, update=0.02)
    for event in events:
        if event["event"] == "monitor":
            event["output"] = {"scale": 1.0, "spread": 1.0 if event["step"] < 4 else 0.0}
    assert [f.cause for f in diagnose(events) if f.severity != "note"] == ["lr too high"]


@pytest.mark.parametrize(
    ("update", "optimizer", "losses", "said"),
    [
        (0.3, "SGD", 0.07 + FALL, False),
        (0.3, "SGD", 0.9 + 0.1 * FALL, True),
        (0.3, "Adam", 0.07 + FALL, True),
        (0.15, "Adam", 0.07 + FALL, False),
    ],
    ids=["sgd", "sgd, and the loss stays", "adam", "adam, less far"],
)
def test_a_first_step_that_goes_far_has_done_harm_where_the_loss_stays(
    update: float, optimizer: str, losses: Any, said: bool
) -> None:
    """A step of SGD is long where there is far to go; Adam's is as long anywhere."""
    setup, *others = course(losses, update=update, optimizer=optimizer)
    found = causes_of([{**setup, "tensors": {}, "groups": [{}]}, *others])
    assert ("warmup missing" in found) == said


def test_a_cold_start_by_heavy_momentum_is_mended_by_less_of_it() -> None:
    """The rate is left alone where momentum multiplies it by a hundred."""
    setup, *others = course(0.9 + 0.1 * FALL, update=0.25, optimizer="SGD")
    setup |= {"tensors": {}, "groups": [{"momentum": 0.99}]}
    found = next(f for f in diagnose([setup, *others]) if f.cause == "warmup missing")
    assert dict(found.change) == {"warmup": 0.1, "momentum": 0.9}


@pytest.mark.parametrize(
    ("update", "losses", "causes"),
    [
        (0.2, 0.07 + AT_ONCE, []),
        (0.25, 0.07 + FALL, ["warmup missing"]),
        (0.4, 0.07 + AT_ONCE, []),
        (0.4, 0.07 + AT_ONCE + (AT_ONCE < 1e-9), ["lr too high"]),
        (0.4, 0.9 + 0.1 * FALL, ["lr too high"]),
        (0.4, 0.1 - 0.3 * np.tile([0, 1, 0, 2, 0], 40), ["lr too high"]),
    ],
    ids=[
        "falls",
        "hardly falls",
        "falls by far steps",
        "comes back",
        "hardly falls by far steps",
        "goes to and fro below 0",
    ],
)
def test_first_steps_that_go_far_are_let_be_where_the_loss_falls_at_once(
    update: float, losses: Any, causes: list[str]
) -> None:
    """One layer, or targets of size 300: weights must become other ones, and that is all."""
    found = causes_of(course(losses, update=update))
    assert [c for c in found if c in ("warmup missing", "lr too high")] == causes


@pytest.mark.parametrize(("level", "causes"), [(0.0, []), (0.5, ["exploding gradients"])])
def test_steepness_means_nothing_where_a_loss_goes_below_zero(
    level: float, causes: list[str]
) -> None:
    """A policy's loss is near 0 by its making, and any gradient is steep beside it."""
    found = causes_of(steep(level + 0.05 * (1 + NOISE) + 0.3 * np.minimum(NOISE, 0), 400))
    assert [c for c in found if c == "exploding gradients"] == causes


def test_batches_that_differ_are_no_rise_from_a_steep_beginning() -> None:
    """The loss goes to and fro around its first by more than it doubles."""
    losses = 0.1 + np.abs(np.random.default_rng(3).standard_normal(200))
    losses[0] = 0.3
    assert "exploding gradients" not in causes_of(steep(losses, 150))


@pytest.mark.parametrize(("constant", "causes"), [(0.9, []), (0.002, ["exploding gradients"])])
def test_a_start_far_above_constant_outputs_is_a_gain_too_large(
    constant: float, causes: list[str]
) -> None:
    """Steep, and 500 times as bad as saying nothing, though the loss falls by small steps."""
    setup, *others = steep(0.2 + 0.8 * FALL, 150)
    assert causes_of([{**setup, "constant_loss": constant}, *others]) == causes


def test_a_rate_is_not_lowered_for_how_the_model_was_made() -> None:
    """A start far off is flagged in every run of the model; healing would lower it each time."""
    setup, *others = steep(0.2 + 0.8 * FALL, 150)
    (found,) = diagnose([{**setup, "constant_loss": 0.002}, *others])
    assert found.change == {"clip_norm": 1.0}


@pytest.mark.parametrize(("slope", "causes"), [(0.1, []), (5.0, ["warmup missing"])])
def test_a_step_that_can_hardly_change_the_loss_needs_no_warmup(
    slope: float, causes: list[str]
) -> None:
    """Weights that must grow a thousandfold for targets of 100,000 do so from the first step."""
    found = causes_of(steep(0.07 + FALL, slope, update=0.25, optimizer="Adam"))
    assert [c for c in found if c == "warmup missing"] == causes


@pytest.mark.parametrize(("layers", "causes"), [(1, []), (2, ["warmup missing"])])
def test_where_one_layer_begins_says_nothing(layers: int, causes: list[str]) -> None:
    """A logistic regression moves far at once, and its loss falls by half in the first steps."""
    events = course(0.07 + np.exp(-np.arange(200) / 8), update=0.25)
    for event in events:
        if event["event"] == "monitor":
            tensor = event["tensors"]["w"]
            event["tensors"] = {f"w{k}": tensor for k in range(layers)}
    assert [c for c in causes_of(events) if c == "warmup missing"] == causes
