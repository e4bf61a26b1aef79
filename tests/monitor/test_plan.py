"""Which steps are looked at, from what looks took."""

from __future__ import annotations

import pytest

from downslope.monitor.plan import BUDGET, CLOSELY, THOROUGH, Plan, next_sampled

USUAL = 0.001  # seconds of a step


def looks(plan: Plan, took: float, steps: int) -> list[int]:
    """The steps that a loop looks at which believes the plan, each look as long."""
    found, step = [], 1
    while step <= steps:
        thorough = plan.thorough(step)
        if thorough is None:
            step = plan.next_look(step)
            continue
        found.append(step)
        plan.looked(step, seconds=USUAL + took, usual=USUAL, thorough=thorough)
        step += 1
    return found


@pytest.mark.parametrize("took", [0.1 * USUAL, USUAL, 10 * USUAL])
def test_looks_take_no_more_than_their_budget(took: float) -> None:
    """Those before one that is not made in any case are paid for by then."""
    found = looks(Plan(None, BUDGET, 0), took, 20_000)
    for count, step in enumerate(found):
        if step & (step - 1):
            assert count * took <= BUDGET * USUAL * step * (1 + 1e-9)
    assert set(found) >= {1 << k for k in range(15)}


def test_looks_that_take_nothing_are_made_at_all_sampled_steps() -> None:
    """The plan says beforehand when the next one is."""
    sampled = [1]
    while sampled[-1] < 4000:
        sampled.append(next_sampled(sampled[-1], None))
    assert looks(Plan(None, BUDGET, 0), 0.0, sampled[-1]) == sampled


def test_looks_go_on_once_they_are_paid_for() -> None:
    """A look as long as four steps and a half, in the hundredth, is paid for by step 450."""
    plan = Plan(None, 0.01, 0)
    plan.looked(100, seconds=5.5 * USUAL, usual=USUAL)
    assert plan.thorough(448) is None
    assert plan.next_look(300) == 480
    assert plan.thorough(480) is False


def test_loading_and_compiling_are_not_charged() -> None:
    """A first look of a minute delays none of the others."""
    plans = Plan(None, BUDGET, 0), Plan(None, BUDGET, 0)
    for step in (1, 2, 4, 8):
        for plan, first in zip(plans, (60.0, USUAL), strict=True):
            plan.looked(step, seconds=USUAL + (first if step == 1 else USUAL), usual=USUAL)
    assert plans[0].next_look(40) == plans[1].next_look(40)
    assert plans[0].next_look(600) == 832  # four looks as long as a step are paid for by 800


def test_a_plan_never_waits_longer_than_for_a_power_of_two() -> None:
    """However much looks took; with no budget at all too."""
    for budget in (BUDGET, 0.0):
        plan = Plan(None, budget, 0)
        plan.looked(100, seconds=1e6, usual=USUAL)
        assert plan.next_look(101) == 128
        assert plan.thorough(128) is not None


def test_late_thorough_looks_are_as_far_apart_as_they_are_long() -> None:
    """Powers of two are looked at thoroughly at first, and then where that is paid for."""
    took = 2000 * THOROUGH * BUDGET * USUAL  # paid for by 2000 steps
    plan = Plan(None, BUDGET, 0)
    thorough = []
    for step in (1 << k for k in range(14)):
        if closely := plan.thorough(step):
            thorough.append(step)
        plan.looked(step, seconds=USUAL + took, usual=USUAL, thorough=bool(closely))
    assert thorough == [1 << k for k in range(CLOSELY.bit_length())] + [4096, 8192]


def test_steps_that_were_done_before_pay_for_nothing() -> None:
    """A run that is resumed begins with what looks may take anew."""
    plan = Plan(None, 0.01, 10_000)
    plan.looked(10_001, seconds=21 * USUAL, usual=USUAL)  # 20 steps' time, paid for by 2000
    assert plan.thorough(11_264) is None
    assert plan.thorough(12_288) is False


def test_looks_at_every_so_many_steps_ask_for_no_budget() -> None:
    """Who says how often has paid."""
    plan = Plan(5, BUDGET, 0)
    assert looks(plan, 100 * USUAL, 30) == [1, 5, 10, 15, 20, 25, 30]
