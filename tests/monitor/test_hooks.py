"""What a model is called with, seen by a hook or by a tap."""

from __future__ import annotations

import copy
import gc
import pickle
import weakref
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from downslope.monitor.hooks import Noting, Tap


def noted(model: Callable[..., Any], noting: Noting, calls: int = 3) -> list[float]:
    """What the last two of some calls were given, by the first number."""
    for k in range(calls):
        model(torch.full((2, 3), float(k)))
    return [float((args or tuple(kwargs.values()))[0][0, 0]) for args, kwargs in noting.batches]


def settled(model: nn.Module) -> Noting:
    """A note that has made up its mind after one pass."""
    noting = Noting(model)
    model(torch.zeros(2, 3))
    noting.settle()
    return noting


def test_a_tap_takes_over_where_it_sees_all() -> None:
    """After one pass of a plain model no hook is left, and batches are noted as before."""
    model = nn.Linear(3, 2)
    noting = settled(model)
    assert not model._forward_pre_hooks
    assert noted(model, noting) == [1.0, 2.0]
    model(input=torch.full((2, 3), 7.0))
    assert noted(model, noting, 0) == [2.0, 7.0]
    noting.remove()
    assert noted(model, noting) == [2.0, 7.0]


def test_only_passes_with_gradients_are_noted() -> None:
    """By the tap as by the hook."""
    model = nn.Linear(3, 2)
    for noting in (Noting(model), settled(model)):
        noted(model, noting)
        with torch.no_grad():
            model(torch.full((2, 3), 9.0))
        assert noted(model, noting, 0) == [1.0, 2.0]
        noting.remove()


def test_only_passes_in_training_mode_are_told_of() -> None:
    """By the tap as by the hook: a look is not taken at a validation that makes gradients."""
    model, told = nn.Linear(3, 2), []
    for noting in (Noting(model), settled(model)):
        noting.then = lambda args, kwargs: told.append(args[0][0, 0].item())
        model.eval()(torch.full((2, 3), 9.0))
        model.train()(torch.full((2, 3), 8.0))
        noting.remove()
    assert told == [8.0, 8.0]


@pytest.mark.parametrize("whole", ["a function", "the model"])
def test_the_hook_stays_where_calls_go_past_a_tap(whole: str) -> None:
    """Inside what torch compiles, a tap would see nothing."""
    torch._dynamo.reset()
    model = nn.Linear(3, 2)
    compiled: Any
    if whole == "a function":
        compiled = torch.compile(lambda x: model(x).sum(), backend="eager")
    else:
        compiled = torch.compile(model, backend="eager")
    noting = Noting(model)
    compiled(torch.zeros(2, 3))
    noting.settle()
    assert len(model._forward_pre_hooks) == 1
    assert noted(compiled, noting) == [1.0, 2.0]


def test_a_place_that_is_taken_is_left_alone() -> None:
    """A model that compiled itself keeps what it compiled."""
    torch._dynamo.reset()
    model = nn.Linear(3, 2)
    model.compile(backend="eager")
    own = model._compiled_call_impl
    noting = settled(model)
    assert model._compiled_call_impl is own
    assert noted(model, noting) == [1.0, 2.0]
    noting.remove()
    assert model._compiled_call_impl is own


def test_a_model_that_is_compiled_later_is_seen_again_when_asked_anew() -> None:
    """Compiling takes the tap's place."""
    torch._dynamo.reset()
    model = nn.Linear(3, 2)
    noting = settled(model)
    model.compile(backend="eager")
    noting.ask()
    assert noted(model, noting) == [1.0, 2.0]


def test_accelerators_get_no_tap() -> None:
    """Replicas on other devices would run the original."""
    model = nn.Linear(3, 2, device="meta")
    assert not Tap(model).put()
    assert model._compiled_call_impl is None


@pytest.mark.parametrize("how", ["deepcopy", "pickle", "copy"])
def test_copies_have_no_tap(how: str) -> None:
    """They run, and nothing is noted of them."""
    model = nn.Linear(3, 2)
    noting = settled(model)
    noted(model, noting)
    made = {
        "deepcopy": copy.deepcopy,
        "pickle": lambda m: pickle.loads(pickle.dumps(m)),
        "copy": copy.copy,
    }[how](model)
    assert made._compiled_call_impl is None
    x = torch.full((2, 3), 9.0)
    assert torch.equal(made(x), model.forward(x))
    assert noted(model, noting, 0) == [1.0, 2.0]


class Keeping(nn.Linear):
    """Pickles all that it has."""

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__.copy()


def test_states_that_keep_everything_keep_no_tap() -> None:
    """A module whose state is its own dictionary can be pickled and copied as before."""
    model = Keeping(3, 2)
    settled(model)
    for other in (pickle.loads(pickle.dumps(model)), copy.deepcopy(model)):
        assert other._compiled_call_impl is None
        assert isinstance(other(torch.ones(2, 3)), Tensor)


@pytest.mark.parametrize("removed", [True, False])
def test_a_tap_keeps_no_model_alive(removed: bool) -> None:
    """Removed, it lets the model go at once, and the batches; else what collects garbage does."""
    model, batch = nn.Linear(3, 2), torch.ones(2, 3)
    noting = settled(model)
    model(batch)
    gone = weakref.ref(model), weakref.ref(batch)
    gc.disable()
    try:
        if removed:
            noting.remove()
        del model, noting, batch
        if not removed:
            gc.collect()
        assert [ref() for ref in gone] == [None, None]
    finally:
        gc.enable()


def test_a_tap_passes_on_what_a_call_raises() -> None:
    """And the next call is seen."""
    model = nn.Linear(3, 2)
    noting = settled(model)
    with pytest.raises(RuntimeError, match="shapes cannot be multiplied"):
        model(torch.zeros(2, 4))
    assert noted(model, noting) == [1.0, 2.0]
