"""What the doctor says of units, outputs and single layers, of records made by hand."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from .made import AT_ONCE, FALL, causes_of, course


@pytest.mark.parametrize(
    ("losses", "cause"), [(AT_ONCE, "constant outputs"), (2.3 - 0.1 * FALL, "lr too high")]
)
def test_outputs_that_became_constant_as_the_loss_asks_are_not_the_rates_doing(
    losses: Any, cause: str
) -> None:
    """Twins that are only drawn together agree on one answer, and units die on the way."""
    events = course(losses, update=0.11)
    for event in events:
        if event["event"] == "monitor":
            begun = event["step"] < 4
            event["output"] = {"scale": 1.0, "spread": 1.0 if begun else 0.01}
            event["activations"] = {"relu": {"dead": 0.1 if begun else 0.95}}
    assert causes_of(events) == [cause]


@pytest.mark.parametrize(("update", "causes"), [(0.01, ["not a number"]), (0.11, [])])
def test_weights_that_a_batch_spoilt_are_told_from_those_that_ran_away(
    update: float, causes: list[str]
) -> None:
    """A target that is infinite leaves no weight to trace it by, and no rate is to blame."""
    events = course(np.where(np.arange(60) < 59, 2.0, np.nan), update=update)
    events.append({"event": "nonfinite", "step": 60, "kind": "weights", "where": "2.bias"})
    assert [c for c in causes_of(events) if c == "not a number"] == causes


@pytest.mark.parametrize(("losses", "causes"), [(2 + 0 * FALL, 1), (2 * FALL, 0)])
def test_outputs_in_the_flat_part_are_a_fault_where_the_loss_stays(
    losses: Any, causes: int
) -> None:
    """A last sigmoid may be sure where it is right, and cannot reach targets beyond 1."""
    events = course(losses, update=0.01)
    for event in events:
        if event["event"] == "monitor":
            event["activations"] = {"out": {"kind": "sigmoid", "saturated": 1.0, "output": True}}
    assert causes_of(events).count("saturated activations") == causes
