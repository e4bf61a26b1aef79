"""Prodigy's estimate: one for all parameters, whatever their groups, engines and gradients."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from downslope import optim
from downslope.errors import InputError
from downslope.schedules import linear

from .entries.prodigy import prodigy
from .harness import assert_same_bits, detached, drive, gradients, leaves, snapshot, zoo

#: For dev/mutate.py: these tests are about it.
CLASSES = ("Prodigy",)
START = zoo(torch.float64)
#: All of one sign, so that the way is long and the estimate grows.
ROWS = [tuple(g.abs() for g in row) for row in gradients(START, 8)]
FAST: dict[str, Any] = {"d0": 0.05}


def arrays(tensors: Any) -> list[Any]:
    return [t.detach().numpy() for t in tensors]


def assert_near(params: list[Tensor], expected: list[Any]) -> None:
    for p, e in zip(params, expected, strict=True):
        np.testing.assert_allclose(p.detach().numpy(), e, rtol=1e-11, atol=1e-11)


@pytest.mark.parametrize(
    "kwargs",
    [
        {},
        {"growth_rate": 1.2},
        {"use_bias_correction": True, "beta3": 0.8, "d_coef": 2.0, "growth_rate": 1.5},
    ],
    ids=str,
)
def test_groups_and_engines_share_the_estimate(kwargs: dict[str, Any]) -> None:
    """Tensors in groups of several engines go where the oracle takes them all together."""
    params = leaves(START)
    ways = ({}, {"foreach": True}, {"foreach": False}, {"fused": True})
    groups = [{"params": [p], **ways[k % 4]} for k, p in enumerate(params)]
    optimizer = optim.Prodigy(groups, **FAST, **kwargs)
    drive(optimizer, ROWS)
    state: dict[str, Any] = {}
    ends = arrays(START)
    for row in ROWS:
        ends = prodigy(ends, arrays(row), state, **FAST, **kwargs)
    assert_near(params, ends)
    assert state["d"] > 0.05
    assert len({float(s["d"]) for s in optimizer.state.values()}) == 1


@pytest.mark.parametrize("safeguard", [False, True])
def test_a_warmup_from_zero_follows_the_oracle(safeguard: bool) -> None:
    """With a schedule in place of lr each step has the oracle's numbers at that lr."""
    schedule = linear(4, start=0.0, end=1.0)
    kwargs = {**FAST, "safeguard_warmup": safeguard}
    params = leaves(START)
    drive(optim.Prodigy(params, lr=schedule, **kwargs), ROWS)
    state: dict[str, Any] = {}
    ends = arrays(START)
    for k, row in enumerate(ROWS):
        ends = prodigy(ends, arrays(row), state, lr=float(schedule(k)), **kwargs)
    assert_near(params, ends)


def test_a_parameter_without_gradient_keeps_the_estimate() -> None:
    """What is left out of some steps goes on with the estimate that the others found meanwhile."""
    params = leaves(START)
    optimizer = optim.Prodigy(params, **FAST)
    late = len(START) - 1
    masked = [(*row[:late], row[late] if k in (0, 6, 7) else None) for k, row in enumerate(ROWS)]
    drive(optimizer, masked)
    state: dict[str, Any] = {}
    ends = arrays(START)
    for row in masked:
        here = len(row) - (row[late] is None)
        lists = {n: v for n, v in state.items() if isinstance(v, list)}
        state |= {n: v[:here] for n, v in lists.items()}
        ends[:here] = prodigy(ends[:here], arrays(row[:here]), state, **FAST)
        state |= {n: [*state[n], *v[here:]] for n, v in lists.items()}
    assert_near(params, ends)


def test_a_group_added_later_starts_at_the_estimate() -> None:
    """A parameter that comes in the middle of a run has the others' estimate at once."""
    params = leaves(START)
    optimizer = optim.Prodigy(params[:-1], **FAST)
    drive(optimizer, [row[:-1] for row in ROWS[:4]])
    reached = float(optimizer.state[params[0]]["d"])
    optimizer.add_param_group({"params": [params[-1]]})
    drive(optimizer, ROWS[4:])
    states = optimizer.state.values()
    assert reached > 0.05
    for name in ("d", "d_max", "d_numerator"):
        assert len({float(s[name]) for s in states}) == 1


@pytest.mark.parametrize("safeguard", [False, True])
def test_a_group_at_rate_zero_adds_to_no_sum(safeguard: bool) -> None:
    """Beside parameters whose lr is 0, the others end where they do alone."""
    params, alone = leaves(START), leaves(START[:4])
    kwargs = {**FAST, "safeguard_warmup": safeguard}
    groups = [{"params": params[:4]}, {"params": params[4:], "lr": 0.0}]
    drive(optim.Prodigy(groups, **kwargs), ROWS)
    drive(optim.Prodigy(alone, **kwargs), [row[:4] for row in ROWS])
    assert_same_bits(detached(params[:4]), detached(alone))
    assert_same_bits(detached(params[4:]), START[4:])


def test_groups_with_other_estimates_are_refused() -> None:
    """What the estimate depends on must be the same in all groups; a later change raises too."""
    params = leaves(START[:2])
    groups = [{"params": [params[0]]}, {"params": [params[1]], "d_coef": 2.0}]
    with pytest.raises(InputError, match=r"d_coef must be the same .* 1\.0 in group 0 and 2\.0"):
        optim.Prodigy(groups)
    optimizer = optim.Prodigy([{"params": [p]} for p in params])
    optimizer.param_groups[1]["betas"] = (0.9, 0.99)
    with pytest.raises(InputError, match="beta2 must be the same"):
        drive(optimizer, [row[:2] for row in ROWS[:1]])


def test_resumed_in_the_middle_it_has_the_same_bits() -> None:
    """Saved and loaded after a step in which not all had gradients, a run ends at the same bits."""
    params = leaves(START)
    optimizer = optim.Prodigy(params, **FAST)
    drive(optimizer, [*ROWS[:3], (*ROWS[3][:-1], None)])
    other_params = leaves(params)
    other = optim.Prodigy(other_params, **FAST)
    other.load_state_dict(snapshot(optimizer))
    for each in (optimizer, other):
        drive(each, ROWS[4:])
    assert_same_bits(detached(other_params), detached(params))


@pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning")
def test_a_compiled_step_without_a_gradient_is_refused() -> None:
    """Inside ``torch.compile`` a known parameter without a gradient would keep an old estimate."""
    torch._dynamo.reset()
    optimizer = optim.Prodigy(leaves(START[:2]), **FAST)
    drive(optimizer, [row[:2] for row in ROWS[:2]])
    optimizer.step = torch.compile(optimizer.step, backend="eager", fullgraph=True)
    with pytest.raises(torch._dynamo.exc.InternalTorchDynamoError, match="one for all parameters"):
        drive(optimizer, [(ROWS[2][0], None)])
    torch._dynamo.reset()
