"""What the doctor says of learning rates and how far weights get, of records made by hand."""

from __future__ import annotations

import numpy as np
import pytest

from downslope.doctor import History, diagnose

from .made import FALL, causes_of, course, of_plain_sgd

UNSETTLED = (1.5, 1.1, 1.0, 1.2, 1.22)  # validations past their best


def test_a_loss_below_zero_is_judged_by_how_it_falls() -> None:
    """A log-likelihood that falls from -0.2 to -4 and stays there gives no finding."""
    noise = 0.2 * np.random.default_rng().standard_normal(200)
    checks = [-2.9, -3.9, -3.8, -4.0, -3.9, -3.9, -3.8, -3.9]
    assert not diagnose(course(-4 + 3.8 * FALL + noise, checks, update=1e-4))


def test_a_loss_below_zero_that_hardly_falls_has_too_low_a_rate() -> None:
    """The other way round: at -3 with tiny steps it is found that nothing happens."""
    found = diagnose(course(-3 - 0.01 * np.arange(200) / 200, update=1e-6))
    assert [finding.cause for finding in found] == ["lr too low"]


@pytest.mark.parametrize(("update", "causes"), [(3e-3, []), (0.05, ["lr too high"])])
def test_a_loss_that_rises_by_small_steps_is_another_aim(update: float, causes: list[str]) -> None:
    """A generator's loss rises as its opponent learns; a rate that is too high moves weights."""
    found = diagnose(course(2 - FALL, update=update))
    assert [f.cause for f in found if f.severity != "note"] == causes


def test_weights_travel_by_their_updates_in_proportion_to_the_rate() -> None:
    """Of 100 steps that begin with 1% each and end at a rate of 0: half of the sum, and no more."""
    steps = np.arange(1, 101)
    rates = 1 - (steps - 1) / 100
    tensors = [{"w": {"weight_norm": 2.0, "update_norm": 0.02 * r}} for r in rates]
    events = [
        *({"event": "train", "step": int(k), "loss": 1.0, "lr": r}
          for k, r in zip(steps, rates, strict=True)),
        *({"event": "monitor", "step": k, "tensors": tensors[k - 1]} for k in (1, 8, 64)),
    ]  # fmt: skip
    history = History.of(events)
    assert history.travelled == pytest.approx(0.01 * rates.sum())
    assert history.reach(100) == pytest.approx(history.travelled)
    assert history.until(50).reach(100) == pytest.approx(0.01 * (rates[:50].sum() + 50))


@pytest.mark.parametrize(("constant", "causes"), [(0.2, ["lr too low"]), (2.3, [])])
def test_a_model_that_was_trained_before_may_move_slowly(
    constant: float, causes: list[str]
) -> None:
    """At a loss far below that of constant outputs little is left to learn."""
    setup, *others = course(0.1 + 0 * FALL, update=1e-5)
    assert [f.cause for f in diagnose([{**setup, "constant_loss": constant}, *others])] == causes


@pytest.mark.parametrize(
    ("update", "momentum", "severities"),
    [(5e-3, 0.9, ["note"]), (0.03, 0.9, ["warning"]), (5e-3, 0.99, ["warning"])],
    ids=["calm", "restless", "heavy"],
)
def test_a_held_rate_is_a_fault_where_weights_never_rest(
    update: float, momentum: float, severities: list[str]
) -> None:
    """A loss that falls no more is worth a note, unless steps are long or heap up to long ones."""
    setup, *others = course(1 + FALL**3, UNSETTLED, update=update, optimizer="SGD")
    setup |= {"tensors": {}, "groups": [{"momentum": momentum}]}
    late = [{**e, "step": e["step"] + 128} for e in others if e["event"] == "monitor"]
    found = diagnose([setup, *others, *late])
    assert [f.severity for f in found if f.cause == "lr not lowered"] == severities


@pytest.mark.parametrize(("update", "causes"), [(2e-3, ["slow optimizer"]), (5e-3, [])])
def test_weights_that_get_no_further_than_half_their_norm_are_slow(
    update: float, causes: list[str]
) -> None:
    """200 steps without momentum at a loss of two thirds of the first; longer ones are let be."""
    assert of_plain_sgd(2 + FALL, update=update) == causes


def test_a_few_steps_get_nowhere_at_any_rate() -> None:
    """Of a run of 20 steps it is not said that its rate is too low."""
    assert of_plain_sgd(2 + FALL[:20], update=2e-3) == []


def test_it_is_never_late_in_a_run_whose_length_nobody_told() -> None:
    """A rate that is held is judged by the plan, not by the steps so far."""
    losses, checks = 1 + FALL**3, UNSETTLED

    def said(total: int | None) -> list[str]:
        setup, *others = course(losses, checks, update=0.03)
        late = [{**e, "step": e["step"] + 128} for e in others if e["event"] == "monitor"]
        return causes_of([{**setup, "total_steps": total}, *others, *late])

    assert "lr not lowered" in said(200)
    assert "lr not lowered" not in said(None)


@pytest.mark.parametrize(("spread", "causes"), [(0.4, ["lr too low"]), (2.5, [])])
def test_outputs_tell_that_a_model_was_trained_before(spread: float, causes: list[str]) -> None:
    """They differ by more than is left to learn, where nobody told the loss of constant ones."""
    events = course(0.8 + 0 * FALL, update=1e-5)
    for event in events:
        if event["event"] == "monitor":
            event["output"] = {"scale": 3.0, "spread": spread}
    assert causes_of(events) == causes


def test_what_fell_in_the_first_steps_counts_as_fallen() -> None:
    """At a tenth of the untrained loss a slow end is no slow optimizer."""
    losses = 0.06 + 0.02 * FALL + np.exp(-np.arange(200) / 2)
    assert of_plain_sgd(losses - np.arange(200) / 1e4, update=5e-3) == []


@pytest.mark.parametrize(("update", "causes"), [(6e-3, ["slow optimizer"]), (0.05, [])])
def test_weights_that_went_ten_times_their_norm_are_not_slow(
    update: float, causes: list[str]
) -> None:
    """A loss that still falls at the end wants more steps, not longer ones."""
    assert of_plain_sgd(3 - np.arange(200) / 200, update=update) == causes


@pytest.mark.parametrize(("total", "causes"), [(200, ["lr too low"]), (1500, [])])
def test_a_small_step_is_judged_by_how_many_there_will_be(total: int, causes: list[str]) -> None:
    """At half a thousandth of the weights a step little happens in 200 steps, and much in 1,500."""
    setup, *others = course(2.3 - np.arange(200) / 4000, update=5e-4)
    assert causes_of([{**setup, "total_steps": total}, *others]) == causes


@pytest.mark.parametrize(("late", "causes"), [(2e-3, []), (0.05, ["lr too high"])])
def test_a_rise_is_the_rates_doing_where_steps_are_long_just_before(
    late: float, causes: list[str]
) -> None:
    """Other rows come in at step 120; by then steps are small, though they were not at first."""
    losses = np.where(np.arange(200) < 120, 2 * FALL, 6.0)
    events = course(losses, update=0.05)
    look = next(e for e in events if e["event"] == "monitor")
    tensors = {"w": {**look["tensors"]["w"], "update_norm": late}}
    found = causes_of([*events, *({**look, "step": k, "tensors": tensors} for k in (64, 112))])
    assert [c for c in found if c == "lr too high"] == causes


def test_a_long_runs_loss_is_smoothed_by_blocks() -> None:
    """As the running median over a twentieth of the steps, to within its noise, in little time."""
    count = 100_000
    rng = np.random.default_rng(1)
    losses = 1 + np.sin(np.arange(count) / 20_000) + 0.1 * rng.standard_normal(count)
    told = {"event": "steps", "step": range(1, count + 1), "loss": losses, "lr": [1.0] * count}
    steps, medians = History.of([told]).smoothed
    width = count // 20
    assert len(steps) == len(medians) <= 2000
    for at in (0, len(steps) // 2, len(steps) - 1):
        exact = np.median(losses[steps[at] - width : steps[at]])
        assert medians[at] == pytest.approx(exact, abs=0.01)


def test_one_late_look_is_enough_where_momentum_is_heavy() -> None:
    """Looks at powers of two see one step in the second half; the loss is back where it began."""
    setup, *others = course(np.where(np.arange(200) < 20, 1.0, 2.3), update=5e-3, optimizer="SGD")
    setup |= {"tensors": {}, "groups": [{"momentum": 0.99}]}
    look = next(e for e in others if e["event"] == "monitor")
    assert "lr not lowered" in causes_of([setup, *others, {**look, "step": 128}])
