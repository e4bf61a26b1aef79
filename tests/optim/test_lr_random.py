"""Schedulers put together at random, and resumed anywhere."""

from __future__ import annotations

import copy
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.optim import Optimizer

from downslope.optim import lr_scheduler as ours

from .lr_cases import BUILD, sgd
from .test_lr_resume import follow, optimizer_first, scheduler_first, scheduler_loaded_first

EPOCHS = 25
Build = Callable[[Optimizer], Any]


def single(name: str, optimizer: Optimizer) -> Any:
    return BUILD[name](ours, optimizer)


def chain(parts: list[Build], optimizer: Optimizer) -> Any:
    return ours.ChainedScheduler([build(optimizer) for build in parts])


def sequence(parts: list[Build], milestones: list[int], optimizer: Optimizer) -> Any:
    return ours.SequentialLR(optimizer, [build(optimizer) for build in parts], milestones)


def composed(parts: st.SearchStrategy[Build]) -> st.SearchStrategy[Build]:
    """Chains and sequences of some builders."""

    def in_order(chosen: list[Build]) -> st.SearchStrategy[Build]:
        count = len(chosen) - 1
        bounds = st.lists(st.integers(0, 14), min_size=count, max_size=count).map(sorted)
        return bounds.map(lambda milestones: partial(sequence, chosen, milestones))

    several = st.lists(parts, min_size=1, max_size=3)
    return several.map(lambda chosen: partial(chain, chosen)) | several.flatmap(in_order)


NAMES = [name for name in BUILD if "sequence" not in name and "together" not in name]
SINGLES = st.sampled_from(NAMES).map(lambda name: partial(single, name))
TREES = st.recursive(SINGLES, composed, max_leaves=5)


@pytest.mark.parametrize("load", [scheduler_first, optimizer_first, scheduler_loaded_first])
@given(build=TREES, cut=st.integers(0, EPOCHS))
@settings(max_examples=40, deadline=None)
def test_any_composition_resumes_to_the_same_bits(load: Any, build: Build, cut: int) -> None:
    """Learning rates and momentums, however deeply the schedulers are nested."""
    expected = follow(build(sgd(0.1, 0.03)), 0, EPOCHS)
    stopped = build(sgd(0.1, 0.03))
    follow(stopped, 0, cut)
    states = copy.deepcopy((stopped.optimizer.state_dict(), stopped.state_dict()))
    assert follow(load(build, sgd(0.1, 0.03), states), cut, EPOCHS) == expected[cut:]
