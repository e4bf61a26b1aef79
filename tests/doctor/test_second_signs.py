"""What one sign alone does not say, and what the doctor says where a second one is there too."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from .made import AT_ONCE, FALL, NOISE, causes_of, course, steep

STAYS = 1 + 0.1 * NOISE
MANY = {"event": "start", "train_size": 500}


def looking(events: list[dict[str, Any]], **facts: Any) -> list[dict[str, Any]]:
    """The same where every look saw these facts, too."""
    return [{**e, **facts} if e["event"] == "monitor" else e for e in events]


def told(events: list[dict[str, Any]], **facts: Any) -> list[dict[str, Any]]:
    """The same with these facts in the setup."""
    return [{**e, **facts} if e["event"] == "setup" else e for e in events]


def group(**settings: Any) -> dict[str, Any]:
    """A setup of one trained weight, with these settings."""
    tensors = {"w": {"group": 0, "trained": True, "kind": "weight"}}
    return {"groups": [settings], "tensors": tensors}


@pytest.mark.parametrize(
    ("losses", "spread", "said"),
    [(0.05 + FALL, 1e-4, False), (STAYS, 1e-4, True), (0.05 + FALL, 1e-8, True)],
    ids=["years", "nothing learnt", "up to rounding"],
)
def test_outputs_may_differ_by_little_beside_their_mean(
    losses: Any, spread: float, said: bool
) -> None:
    """Years differ by a thousandth; where the loss falls, that is enough to tell them apart."""
    events = looking(course(losses), output={"scale": 1.0, "spread": spread})
    assert ("constant outputs" in causes_of(events)) == said


@pytest.mark.parametrize(
    ("losses", "slope", "said"),
    [(0.05 + FALL, 20.0, False), (0.05 + FALL, 90.0, True), (STAYS, 20.0, True)],
    ids=["a gate", "too much gain", "nothing learnt"],
)
def test_a_gate_may_be_closed_at_first(losses: Any, slope: float, said: bool) -> None:
    """Biases close it; what too much gain saturates is steep, or learns nothing."""
    acts = {"gate": {"saturated": 1.0}}
    events = looking(course(losses), activations=acts, grad_norm=slope * losses[0])
    assert ("saturated activations" in causes_of(events)) == said


@pytest.mark.parametrize(
    ("losses", "dead", "said"),
    [(0.05 + FALL, 0.9, False), (STAYS, 0.9, True), (0.05 + FALL, 1.0, True)],
    ids=["sparse", "nothing learnt", "all"],
)
def test_a_sparse_layer_may_be_mostly_dead(losses: Any, dead: float, said: bool) -> None:
    """Eight of 512 units a row are enough for a sparse autoencoder."""
    events = looking(course(losses), activations={"code": {"dead": dead}})
    assert ("dead units" in causes_of(events)) == said


@pytest.mark.parametrize(("output", "cause"), [(True, "dead units"), (False, "lr too high")])
def test_a_relu_on_the_outputs_dies_at_any_rate(output: bool, cause: str) -> None:
    """It has no gradient once it is 0: the rate is not to blame, as it is for other layers."""
    events = course(STAYS, update=0.11)
    for event in events:
        if event["event"] == "monitor":
            event["activations"] = {"last": {"dead": float(event["step"] > 1), "output": output}}
    assert causes_of(events)[0] == cause


@pytest.mark.parametrize(
    ("slope", "checks", "said"),
    [(2.0, [0.5, 0.1, 0.1], False), (20.0, [0.5, 0.1, 0.1], True), (2.0, [1.0, 0.9, 0.9], True)],
    ids=["scaled inside", "felt", "nothing learnt"],
)
def test_a_model_may_scale_its_inputs_itself(slope: float, checks: Any, said: bool) -> None:
    """Pixels up to 255 are not felt by a model that begins by dividing them."""
    facts = {
        "rows": 32,
        "checksum": None,
        "std_max": 90.0,
        "std_min": 80.0,
        "mean_over_std": 1.0,
        "largest": 255.0,
    }
    losses = 0.05 + FALL
    events = looking(course(losses, checks), input=facts, grad_norm=slope * losses[0])
    assert ("inputs not scaled" in causes_of(events)) == said


@pytest.mark.parametrize(("std", "cause"), [(5e4, "inputs not scaled"), (1.0, "not a number")])
def test_what_overflows_in_the_first_step_came_in_so_large(std: float, cause: str) -> None:
    """The exponential of a salary is no number; of what is near 1 it is another fault."""
    facts = {
        "rows": 32,
        "checksum": None,
        "std_max": std,
        "std_min": 1.0,
        "mean_over_std": 0.1,
        "largest": 4 * std,
    }
    events = looking(course(np.full(40, np.nan)), input=facts, grad_norm=None)
    bad = {"event": "nonfinite", "step": 1, "kind": "loss", "where": "the loss function"}
    assert causes_of([*events, bad])[0] == cause


@pytest.mark.parametrize(
    ("repeated", "finest", "said"), [(1.0, 1.0, True), (0.63, 1.0, False), (1.0, 0.1, False)],
    ids=["joined twice", "drawn with replacement", "few values"],
)  # fmt: skip
def test_rows_that_are_all_there_twice_repeat(repeated: float, finest: float, said: bool) -> None:
    """Bootstrapped rows do in part, and those of few values by nature."""
    facts = {"rows": 600, "validation_rows": 100, "shared": 0.0}
    data = {"event": "data", **facts, "repeated": repeated, "finest": finest}
    assert ("data repeats" in causes_of([*course(FALL), data])) == said


def lowered(at: int, checks: Any, losses: Any = STAYS, to: float = 1e-3) -> list[str]:
    """What is said of a rate that is lowered to so little after this step."""
    events = course(losses, checks)
    for event in events:
        if event["event"] == "train" and event["step"] > at:
            event["lr"] *= to
    return causes_of(events)


@pytest.mark.parametrize(
    ("checks", "said"),
    [([0.9, 0.8, 0.7, 0.6, 0.6], True), ([0.7, 0.6, 0.61, 0.62, 0.6], False)],
    ids=["falling", "flat"],
)
def test_a_rate_is_lowered_in_time_where_validation_got_no_better(checks: Any, said: bool) -> None:
    """As ReduceLROnPlateau does it."""
    twice = [c for c in checks for _ in (0, 1)]
    assert ("schedule ended early" in lowered(110, twice)) == said


@pytest.mark.parametrize(("at", "said"), [(60, True), (110, False)])
def test_a_hundredth_of_the_rate_is_early_before_half_of_the_run(at: int, said: bool) -> None:
    """Exponential decay to a thousandth is there at two thirds."""
    assert ("schedule ended early" in lowered(at, [], to=0.01)) == said


@pytest.mark.parametrize(("total", "said"), [(200, True), (2000, False)])
def test_the_noise_of_one_row_averages_out_in_a_long_run(total: int, said: bool) -> None:
    """Two thousand rows with a loss that is mostly noise may well be learnt from."""
    losses = np.abs(np.random.default_rng(0).standard_normal(200)) * (0.1 + FALL)
    events = looking(course(losses), input={"rows": 1, "checksum": None})
    assert ("batch too small" in causes_of(told(events, total_steps=total))) == said


@pytest.mark.parametrize(
    ("metric", "cause"), [(0.64, "overfitting"), (0.26, "labels do not match")]
)
def test_labels_match_where_an_accuracy_is_above_chance(metric: float, cause: str) -> None:
    """The loss of sure outputs is worse than that of constant ones, also if most are right."""
    checks = [1.39, 1.5, 1.9, 2.2, 2.4, 2.5, 2.6, 2.6]
    metrics = [0.25] + [metric] * 7
    events = told(course(1.4 * AT_ONCE, checks, update=2e-3), constant_loss=1.386)
    known = iter(metrics)
    events = [{**e, "metric": next(known)} if e["event"] == "validation" else e for e in events]
    assert causes_of([MANY, *events])[0] == cause


@pytest.mark.parametrize(("late", "said"), [(3.0, False), (0.1, True)])
def test_a_loss_may_have_a_floor_near_where_it_begins(late: float, said: bool) -> None:
    """Of soft targets: outputs came to differ far more, and validation is no worse for it."""
    events = course(2.25 + 0.05 * AT_ONCE, [2.3, 2.25, 2.25, 2.25, 2.25, 2.25], update=5e-3)
    for event in events:
        if event["event"] == "monitor":
            event["output"] = {"scale": 4.0, "spread": 0.06 if event["step"] < 4 else late}
        if event["event"] == "validation":
            event["step"] -= 33
    assert ("labels do not match" in causes_of(events)) == said


def test_overfitting_may_begin_before_the_first_validation() -> None:
    """It was best before anybody looked, and the training loss is a tenth of that."""
    events = told(course(0.7 * AT_ONCE, [1.9, 2.5, 3.0, 3.2, 3.4, 3.5]), constant_loss=0.69)
    assert causes_of(events) == ["overfitting"]


def test_the_height_of_a_loss_below_zero_is_measured_by_what_was_gained() -> None:
    """Validation that ends at -2.6 after -2.8 is at a plateau: it came from 0."""
    checks = [-0.5, -2.0, -2.8, -2.7, -2.6, -2.7, -2.6, -2.6]
    losses = -2.5 * (1 - FALL**3) + 0.1 * NOISE
    events = course(losses, checks, update=5e-3)
    late = [{**e, "step": e["step"] + 128} for e in events if e["event"] == "monitor"]
    assert causes_of([*events, *late]) == []


@pytest.mark.parametrize(
    ("checks", "said"), [([1.5, 1.1, 1.0, 1.02, 1.0], False), ([1.5, 1.1, 1.0, 1.2, 1.25], True)]
)
def test_restless_weights_are_a_fault_where_validation_suffers(checks: Any, said: bool) -> None:
    """At the floor of the noise weights may go round in circles without harm."""
    events = course(1 + FALL**3 + 0.1 * NOISE, checks, update=0.03)
    late = [{**e, "step": e["step"] + 128} for e in events if e["event"] == "monitor"]
    assert ("lr not lowered" in causes_of([*events, *late])) == said


def test_a_search_wants_no_warmup_and_no_lower_rate() -> None:
    """LBFGS's first step goes far, and its last goes nowhere."""
    events = course(1 + FALL**3, update=0.3, optimizer="LBFGS")
    late = [{**e, "step": e["step"] + 128} for e in events if e["event"] == "monitor"]
    assert causes_of([*events, *late]) == []


def test_weights_that_go_far_without_moving_the_loss_move_no_output() -> None:
    """Softmax over the rows: the outputs are as good as constant whatever they are made of."""
    losses = 1.0986 + 1e-6 * NOISE
    assert causes_of(course(losses, update=0.02)) == ["constant outputs"]


def two(trained: str, update: float) -> list[dict[str, Any]]:
    """A course whose weight moves, beside a frozen one that does not; or a frozen one alone."""
    events = course(STAYS, update=update)
    frozen = {"group": None, "trained": False, "kind": "weight"}
    kinds = {"w": {"group": 0, "trained": True, "kind": trained}, "f": frozen, "g": frozen}
    still = {"weight_norm": 9.0, "update_norm": 0.0, "grad_norm": 50.0, "zero_share": 0.0}
    for event in events:
        if event["event"] == "monitor":
            event["tensors"] = {**event["tensors"], "f": still, "g": still}
            event["grad_norm"] = 70.0
    return told(events, tensors=kinds)


def test_frozen_weights_are_neither_slow_nor_steep() -> None:
    """Only what is trained says how far weights get, also if others keep old gradients."""
    assert causes_of(two("weight", 5e-3)) == []


def test_norms_alone_learn_little_where_all_weights_are_frozen() -> None:
    """The new head was frozen with the rest."""
    assert causes_of(two("norm", 5e-3))[0] == "parameters not trained"


def test_a_model_of_embeddings_moves_by_these() -> None:
    """Two tables whose rows were swapped: validation gets worse though they move."""
    kinds = {"w": {"group": 0, "trained": True, "kind": "embedding"}}
    checks = [0.94, 0.95, 0.96, 0.98, 1.0, 1.02, 1.04, 1.05]
    events = course(0.95 - 0.3 * (1 - FALL), checks, update=5e-3)
    late = [{**e, "step": e["step"] + 100} for e in events if e["event"] == "monitor"]
    found = causes_of([MANY, *told([*events, *late], tensors=kinds, constant_loss=0.95)])
    assert found == ["labels do not match"]


@pytest.mark.parametrize(("large", "said"), [(8.0, True), (0.5, False)])
def test_a_penalty_is_weighed_against_a_groups_whole_gradient(large: float, said: bool) -> None:
    """One matrix of norm 8 under a gradient of 1, beside smaller ones, is what Adam follows."""
    names = ("a", "b", "c")
    kinds = {name: {"group": 0, "trained": True, "kind": "weight"} for name in names}
    one = {"weight_norm": 0.5, "update_norm": 1e-3, "grad_norm": 1.0, "zero_share": 0.0}
    events = looking(course(FALL), tensors=dict.fromkeys(names[:2], one) | {
        "c": {**one, "weight_norm": large}})  # fmt: skip
    setup = {"groups": [{"weight_decay": 0.5}], "tensors": kinds}
    assert ("weight decay too strong" in causes_of(told(events, **setup))) == said


@pytest.mark.parametrize(
    ("optimizer", "decay", "said"),
    [("SGD", 0.05, True), ("SGD", 0.005, False), ("AdamW", 0.05, False)],
)
def test_what_sgd_takes_for_decay_is_a_tenth_of_what_others_do(
    optimizer: str, decay: float, said: bool
) -> None:
    """At a rate of 0.1 half of a percent a step is too much; at 0.1 of AdamW the rate is."""
    setup, *others = course(0.3 + FALL, optimizer=optimizer)
    events = [{**e, "lr": 0.1} if e["event"] == "train" else e for e in others]
    found = causes_of([{**setup, **group(weight_decay=decay)}, *events])
    assert ("weight decay too strong" in found) == said


@pytest.mark.parametrize(("constant", "said"), [(0.02, True), (0.9, False)])
def test_a_start_far_off_needs_less_steepness_to_be_a_gain(constant: float, said: bool) -> None:
    """Logits of 50 at a slope of 55, where sound models have up to 64."""
    events = told(steep(0.2 + 0.8 * FALL, 55), constant_loss=constant)
    assert ("exploding gradients" in causes_of(events)) == said


@pytest.mark.parametrize(("token", "said"), [(0.01, False), (1.0, True)])
def test_a_small_tensor_before_a_norm_is_not_steep(token: float, said: bool) -> None:
    """Its gradient is large because it is small: a change in its own size changes little."""
    events = steep(0.2 + 0.8 * FALL, 400)
    for event in events:
        if event["event"] == "monitor":
            steepest = {**event["tensors"]["w"], "weight_norm": token}
            still = {**steepest, "weight_norm": 1.0, "grad_norm": 0.1}
            event["tensors"] = {"token": steepest, "w": still}
    assert ("exploding gradients" in causes_of(events)) == said


@pytest.mark.parametrize(
    ("losses", "said"), [(FALL**2, False), (0.9 + 0.1 * FALL, True)], ids=["falls", "stays"]
)
def test_weights_may_be_replaced_by_the_first_steps(losses: Any, said: bool) -> None:
    """RMSprop's are ten times as long; a step of all that a weight is has done harm, or has not."""
    found = causes_of(course(losses, update=1.2, optimizer="RMSprop"))
    assert ("lr too high" in found) == said


@pytest.mark.parametrize(("last", "said"), [(4.9, False), (5.2, True)])
def test_a_loss_in_other_units_than_the_validations_has_a_floor(last: float, said: bool) -> None:
    """Of ranks among 128 rows and among 500: validation creeps down from its own beginning."""
    checks = [5.23, 5.15, 5.1, *([last] * 3)]
    events = course(3.7 + 0.4 * FALL, checks, update=5e-3)
    assert ("labels do not match" in causes_of(events)) == said


@pytest.mark.parametrize(
    ("losses", "update", "said"),
    [(0.05 + FALL, 1e-3, False), (STAYS, 1e-3, True), (STAYS, 1e-7, False)],
    ids=["learns", "stays", "nothing moves"],
)
def test_a_weak_first_gradient_may_do(losses: Any, update: float, said: bool) -> None:
    """Adam's steps are as long on it; and where no weight moves the rate is to blame."""
    events = course(losses, update=update)
    for event in events:
        if event["event"] == "monitor":
            one = event["tensors"]["w"]
            first = {**one, "grad_norm": 1e-3}
            event["tensors"] = {"a": first, "b": one, "c": one}
            event["output"] = {"scale": 1.0, "spread": 0.5}
    assert ("vanishing gradients" in causes_of(events)) == said


@pytest.mark.parametrize(
    ("last", "cause"), [(1.0, "constant outputs"), (1e4, "vanishing gradients")]
)
def test_rows_that_are_made_one_weaken_no_gradient(last: float, cause: str) -> None:
    """A maximum over the batch gives all rows the same outputs, and the first layer its share."""
    events = course(STAYS)
    for event in events:
        if event["event"] == "monitor":
            one = event["tensors"]["w"]
            event["tensors"] = {"a": one, "b": one, "c": {**one, "grad_norm": last}}
            event["output"] = {"scale": 1.0, "spread": 0.0}
    assert causes_of(events)[0] == cause


@pytest.mark.parametrize(("norm", "said"), [(0.1, True), (0.8, False)])
def test_weights_that_a_penalty_ate_are_seen_when_they_are_gone(norm: float, said: bool) -> None:
    """A tenth of the weights is left, and the loss where it was: less decay does harm as well."""
    setup, *others = course(STAYS, optimizer="Adam")
    for event in others:
        if event["event"] == "monitor" and event["step"] > 8:
            event["tensors"] = {"w": {**event["tensors"]["w"], "weight_norm": norm}}
    found = causes_of([{**setup, **group(weight_decay=0.1)}, *others])
    assert ("weight decay too strong" in found) == said


@pytest.mark.parametrize(("norm", "said"), [(0.0, True), (1.0, False)])
def test_adapters_whose_halves_are_both_zero_never_move(norm: float, said: bool) -> None:
    """The gradient of each is a product with the other."""
    still = {"weight_norm": norm, "update_norm": 0.0, "grad_norm": 0.0, "zero_share": 1.0}
    tensors = {"a": still, "b": still}
    kinds = {name: {"group": 0, "trained": True, "kind": "weight"} for name in tensors}
    events = looking(course(STAYS), tensors=tensors, output={"scale": 1.0, "spread": 0.5})
    assert ("parameters not trained" in causes_of(told(events, tensors=kinds))) == said


@pytest.mark.parametrize(("saturated", "said"), [(0.98, True), (0.1, False)])
def test_inputs_that_saturate_the_first_layer_are_felt(saturated: float, said: bool) -> None:
    """Also where the loss is so large for them that no gradient is steep beside it."""
    facts = {"rows": 32, "checksum": None, "std_max": 170.0, "std_min": 80.0}
    facts |= {"mean_over_std": 0.1, "largest": 600.0}
    acts = {"tanh": {"saturated": saturated}}
    losses = 0.05 + FALL
    events = looking(course(losses, [0.1]), input=facts, activations=acts, grad_norm=0.1)
    assert ("inputs not scaled" in causes_of(events)) == said


@pytest.mark.parametrize(("high", "said"), [(4, True), (1, False)])
def test_first_steps_that_doubled_the_loss_are_not_overcome_so_soon(high: int, said: bool) -> None:
    """Four times the untrained loss for some steps spoils what comes, also where it falls since."""
    losses = FALL**2
    losses[1 : 1 + high] = 4.0
    found = causes_of(course(losses, update=1.2, optimizer="RMSprop"))
    assert ("lr too high" in found) == said


@pytest.mark.parametrize(("optimizer", "said"), [("Adagrad", False), ("Adam", True)])
def test_adagrad_holds_no_rate(optimizer: str, said: bool) -> None:
    """It divides by the root of all squares so far."""
    events = course(1 + FALL**3, [1.5, 1.1, 1.0, 1.2, 1.25], update=0.03, optimizer=optimizer)
    late = [{**e, "step": e["step"] + 128} for e in events if e["event"] == "monitor"]
    assert ("lr not lowered" in causes_of([*events, *late])) == said
