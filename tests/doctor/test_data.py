"""What the doctor says of labels, rows, validation and decay, of records made by hand."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from downslope.doctor import History, diagnose, findings

from .made import AT_ONCE, FALL, NOISE, causes_of, course, judged, of_plain_sgd


def test_a_validation_loss_below_zero_may_rise() -> None:
    """Overfitting is found in a loss that is negative."""
    checks = [-2.0, -3.0, -2.8, -2.5, -2.0, -1.5, -1.0, -0.5]
    found = diagnose(course(-4 + 3.8 * FALL, checks))
    assert [finding.cause for finding in found] == ["overfitting"]


def test_learning_by_heart_is_seen_without_the_loss_of_constants() -> None:
    """A training loss that falls to nothing while validation never gets below where it began."""
    found = diagnose(course(2.3 * FALL, [2.4] * 8))
    assert [f.cause for f in found if f.severity != "note"] == ["overfitting"]


@pytest.mark.parametrize(("level", "causes"), [(2.35, ["labels do not match"]), (1.2, [])])
def test_labels_are_judged_without_the_loss_of_constants(level: float, causes: list[str]) -> None:
    """Where nobody told that loss, validation is compared with the loss before training."""
    found = diagnose(course(2.0 + 0.3 * FALL, [level] * 8))
    assert [f.cause for f in found if f.severity != "note"] == causes


def test_an_epochs_last_batch_does_not_hide_a_large_one() -> None:
    """The rows a step are the most that a look saw, though most looks fell on a rest."""
    looks = [{"event": "monitor", "step": k, "input": {"rows": 512 if k == 1 else 77}}
             for k in (1, 4, 8, 16)]  # fmt: skip
    assert History.of(looks).batch_rows == 512


@pytest.mark.parametrize(("update", "causes"),
                         [(5e-4, ["lr too low"]), (2e-3, ["labels do not match"])])  # fmt: skip
def test_labels_are_not_to_blame_where_weights_hardly_move(
    update: float, causes: list[str]
) -> None:
    """A noisy loss that does not fall, and weights that cannot get far: the rate is too low."""
    found = diagnose(course(2.3 + NOISE, [2.35] * 8, update=update))
    assert [f.cause for f in found if f.severity != "note"] == causes


@pytest.mark.parametrize(("step", "causes"), [(100, []), (200, ["labels do not match"])])
def test_labels_are_judged_when_weights_have_gone_some_way(step: int, causes: list[str]) -> None:
    """At a tenth of their norm nothing could be learnt yet; at a fifth something could."""
    whole = History.of(course(2.3 + NOISE, [2.35] * 8, update=1e-3))
    assert [f.cause for f in findings(whole.until(step))] == causes


@pytest.mark.parametrize(
    ("checks", "causes"),
    [(1.8 - np.arange(8) / 20, ["slow optimizer"]), ([1.8, 1.7, 1.5, 1.4, 1.5, 1.5, 1.6, 1.6], [])],
    ids=["falls", "gone by"],
)
def test_a_loss_that_still_falls_at_the_end_is_let_be_where_validation_rises(
    checks: Any, causes: list[str]
) -> None:
    """A faster optimizer would only be past its best sooner."""
    assert of_plain_sgd(3 - np.arange(200) / 200, checks, update=5e-3) == causes


def test_validations_at_every_step_are_judged_over_a_twentieth_of_the_run() -> None:
    """Three in a row that rise are three steps; over ten steps one is as low as ever."""
    steps = np.arange(200)
    checks = 0.5 + 0.5 * np.exp(-steps / 20) + 1e-4 * steps + np.where(steps % 8 < 2, 0, 0.4)
    assert not [f for f in diagnose(course(FALL, checks)) if f.cause == "overfitting"]


@pytest.mark.parametrize(("train", "causes"), [(0.82, []), (0.2, ["overfitting"])])
def test_a_metric_that_falls_is_no_overfitting_where_training_is_no_better(
    train: float, causes: list[str]
) -> None:
    """Validation rises by 4% and its metric falls; little is learnt by heart beyond it."""
    checks = [0.9, 0.8, 0.83, 0.84, 0.84, 0.84, 0.85, 0.85]
    events = course(train + (2 - train) * FALL, checks)
    found = diagnose(judged(events, 0.3, 0.5, 0.3, 0.3, 0.3, 0.3, 0.3, 0.3))
    assert [f.cause for f in found if f.severity != "note"] == causes


@pytest.mark.parametrize(("last", "remedy"), [(1.2, {}), (3.0, {"early_stop": 3, "lr": "x0.1"})])
def test_a_metric_over_few_rows_is_believed_where_its_loss_is_surely_bad(
    last: float, remedy: dict[str, Any]
) -> None:
    """6 of 100 rows fewer may be chance, but not at a loss above that of constant outputs."""
    checks = [1.0, 0.8, 0.9, 1.0, 1.1, last, last, last]
    events = judged(course(2 * FALL, checks), 0.8, 0.9, 0.9, 0.9, 0.9, 0.84, 0.84, 0.84)
    found = next(f for f in diagnose(events) if f.cause == "overfitting")
    assert dict(found.change) == remedy


@pytest.mark.parametrize(("update", "causes"), [(3e-3, []), (0.02, ["lr not lowered"])])
def test_validation_that_swings_by_itself_is_not_the_rates_doing(
    update: float, causes: list[str]
) -> None:
    """Drawn anew from few rows it differs by a third each time; weights hardly move."""
    checks = [0.6, 0.3, 0.1, 0.15, 0.1, 0.14, 0.09, 0.14, 0.1, 0.15, 0.1, 0.14]
    assert causes_of(course(0.1 + FALL, checks, update=update)) == causes


@pytest.mark.parametrize(
    ("first_rows", "few"), [(range(8), False), ([0, 1, 2, 3, 0, 4, 5, 1], True)]
)
def test_rows_are_counted_by_those_that_are_seen_again(first_rows: Any, few: bool) -> None:
    """2 of 28 pairs of looks began with the same row: there are some 14."""
    looks = [{"event": "monitor", "step": k, "input": {"rows": 8, "checksum": float(row)}}
             for k, row in enumerate(first_rows, 1)]  # fmt: skip
    assert History.of(looks).few_rows is few
    assert not History.of([*looks, {"event": "data", "rows": 1000}]).few_rows


def test_an_unlucky_first_batch_does_not_hide_labels_that_do_not_match() -> None:
    """Validation before the first step says what an untrained model is worth, not one batch."""
    losses = np.where(np.arange(200) == 0, 4.0, 2.3 + 0 * NOISE)
    check = {"event": "validation", "step": 0, "loss": 2.32}
    assert causes_of([*course(losses, [2.3] * 8), check])[:1] != ["labels do not match"]
    setup, *others = course(losses, [2.3] * 8)
    assert causes_of([setup, check, *others]) == ["labels do not match"]


@pytest.mark.parametrize(("constant", "causes"), [(1e-6, ["labels do not match"]), (2.3, [])])
def test_labels_that_are_all_the_same_are_seen_though_all_is_learnt(
    constant: float, causes: list[str]
) -> None:
    """The loss goes to 0, but so does that of constant outputs."""
    setup, *others = course(2.3 * AT_ONCE, [0.1, 1e-3, 1e-4, 1e-5])
    assert causes_of([{**setup, "constant_loss": constant}, *others])[:1] == causes


@pytest.mark.parametrize(("finest", "causes"), [(0.3, []), (0.99, ["data leak"])])
def test_rows_that_one_feature_tells_apart_do_not_repeat_by_nature(
    finest: float, causes: list[str]
) -> None:
    """Each row of a table is there twice, and was split then."""
    data = {"event": "data", "rows": 800, "validation_rows": 200, "repeated": 0.8, "shared": 0.8}
    assert causes_of([{**data, "finest": finest}]) == causes


@pytest.mark.parametrize(
    ("end", "causes"), [([2.6, 2.2, 5.7], []), ([2.6, 3.2, 4.1], ["overfitting"])]
)
def test_validation_that_goes_astray_is_not_overfitting(
    end: list[float], causes: list[str]
) -> None:
    """Means of a batch norm lag behind at a high rate; what is learnt by heart creeps."""
    found = causes_of(course(2.3 * FALL, [2.2, 1.8, 2.3, 2.4, 2.4, *end]))
    assert [c for c in found if c == "overfitting"] == causes


@pytest.mark.parametrize(("constant", "cause"), [(2.3, "labels do not match"), (0.5, "lr too low")])
def test_labels_are_not_to_blame_for_more_than_constants_lose(constant: float, cause: str) -> None:
    """Their mean needs no inputs, and is not reached: steps are too small for such targets."""
    setup, *others = course(2.3 + NOISE, [2.35] * 8, update=2e-3)
    assert causes_of([{**setup, "constant_loss": constant}, *others]) == [cause]


@pytest.mark.parametrize(
    ("optimizer", "decay", "causes"),
    [("Adam", 1.0, 1), ("Adam", 0.3, 0), ("AdamW", 1.0, 0)],
)
def test_decay_that_is_a_part_of_the_gradient_must_not_be_the_larger_part(
    optimizer: str, decay: float, causes: int
) -> None:
    """Weights of norm 1 with gradients of norm 0.5: Adam goes where the decay says."""
    setup, *others = course(2.3 * FALL, optimizer=optimizer)
    setup |= {"groups": [{"weight_decay": decay}], "tensors": {"w": {"group": 0, "trained": True}}}
    for event in others:
        if event["event"] == "monitor":
            event["tensors"] = {"w": {**event["tensors"]["w"], "grad_norm": 0.5}}
    assert causes_of([setup, *others]).count("weight decay too strong") == causes


@pytest.mark.parametrize(
    ("rows", "checks", "causes"),
    [(300, [1.0, 0.5, 0.3], 0), (150, [1.0, 2.0, 3.0], 1), (32, [1.0, 0.5, 0.3], 1)],
    ids=["all there is", "of many", "a small one"],
)
def test_a_batch_of_all_rows_may_be_the_same_each_time(
    rows: int, checks: list[float], causes: int
) -> None:
    """300 nodes of a graph in every step are no fault while more is learnt than these."""
    events = course(FALL, checks)
    for event in events:
        if event["event"] == "monitor":
            event["input"] = {"rows": rows, "checksum": 1.0}
    assert causes_of(events).count("data repeats") == causes
