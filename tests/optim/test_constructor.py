"""Constructors: torch's signatures and refusals, and the mistakes that torch takes in silence."""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Callable
from typing import Any

import pytest
import torch

import downslope.optim
from downslope.errors import DownslopeError, InputError
from downslope.optim._beyond import Beyond

from .catalogue import CATALOGUE, DRIVEN, Entry, each
from .harness import build, drive, leaves, rows_of, start_of

TWINS = tuple(e for e in CATALOGUE if e.twinned)

FLAG_CLASHES = [
    {"fused": True, "foreach": True},
    {"fused": True, "differentiable": True},
]


def parameter() -> torch.nn.Parameter:
    """One small parameter."""
    return torch.nn.Parameter(torch.ones(2, 2))


def complaint(act: Callable[[], object]) -> BaseException | None:
    """The error that ``act`` raises, or the warning that it gives."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        try:
            act()
        except (Exception, Warning) as error:  # noqa: BLE001  # whatever it is, the tests compare it
            return error
    return None


@each(TWINS)
def test_signature_is_torchs(entry: Entry) -> None:
    """Names, kinds, order and defaults are torch's; what is ours comes last, switched off."""
    ours, theirs = (
        [(p.name, p.kind, p.default) for p in inspect.signature(c).parameters.values()]
        for c in (entry.ours, entry.torch)
    )
    beyond = {
        **dict.fromkeys(entry.ours.rule.switches, False),
        **dict.fromkeys(Beyond.__annotations__),
    }
    by_name = inspect.Parameter.KEYWORD_ONLY
    assert ours == theirs + [(name, by_name, default) for name, default in beyond.items()]


@each(TWINS)
def test_defaults_are_torchs(entry: Entry) -> None:
    """``optimizer.defaults`` holds torch's keys and values."""
    assert build(entry.ours, [parameter()]).defaults == build(entry.torch, [parameter()]).defaults


@each(CATALOGUE)
def test_is_a_torch_optimizer(entry: Entry) -> None:
    """Our classes are torch Optimizers, named and exported as in torch.optim."""
    assert issubclass(entry.ours, torch.optim.Optimizer)
    assert entry.ours.__name__ == entry.name
    assert entry.name in downslope.optim.__all__


@each(CATALOGUE)
def test_found_by_name(entry: Entry) -> None:
    """``optim.get`` finds the class by its name in any case, and ``names`` lists it."""
    assert downslope.optim.get(entry.name.lower()) is entry.ours
    assert downslope.optim.get(entry.name.upper()) is entry.ours
    assert entry.name.lower() in downslope.optim.names()


def test_catalogue_is_complete() -> None:
    """Every optimizer that the package lists has an entry in the catalogue."""
    assert {e.name.lower() for e in CATALOGUE} == set(downslope.optim.names())


def test_unknown_name_offers_the_nearest() -> None:
    """An unknown optimizer is refused with the nearest name."""
    with pytest.raises(InputError, match=r"'adagard'.*Did you mean 'adagrad'"):
        downslope.optim.get("adagard")


_REFUSED = [
    pytest.param(e, case, id=f"{e.name}-{case.optimizer_error_input.desc}")
    for e in TWINS
    for case in e.refused_by_torch()
]


@pytest.mark.parametrize(("entry", "case"), _REFUSED)
def test_refuses_what_torch_refuses(entry: Entry, case: Any) -> None:
    """Each of torch's own bad inputs gives the same type of error, in words that begin alike."""
    given = case.optimizer_error_input
    params = [parameter()] if given.params is None else given.params
    theirs, ours = (
        complaint(lambda cls=cls: build(cls, params, given.kwargs))
        for cls in (entry.torch, entry.ours)
    )
    assert isinstance(theirs, case.error_type)
    assert isinstance(ours, case.error_type)
    assert str(ours).startswith(str(theirs).rstrip("."))


_BAD = [
    pytest.param(e, {key: value}, id=f"{e.name}-{key}={value!r}")
    for e in CATALOGUE
    for key, values in e.bad.items()
    for value in values
]


@pytest.mark.parametrize(("entry", "kwargs"), _BAD)
def test_refuses_bad_hyperparameters(entry: Entry, kwargs: dict[str, Any]) -> None:
    """A value that would ruin the training is refused, and the message names class and argument."""
    ours = complaint(lambda: build(entry.ours, [parameter()], kwargs))
    assert isinstance(ours, DownslopeError)
    assert isinstance(ours, ValueError | TypeError)
    ((key, value),) = kwargs.items()
    assert key in str(ours) or "Invalid" in str(ours)
    assert str(value) in str(ours) or isinstance(value, tuple)
    assert "\n" not in str(ours)
    if not entry.twinned:
        return
    theirs = complaint(lambda: build(entry.torch, [parameter()], kwargs))
    if isinstance(theirs, ValueError):
        assert str(ours).startswith(str(theirs))


@pytest.mark.parametrize(("entry", "kwargs"), _BAD)
def test_refuses_bad_hyperparameters_of_one_group(entry: Entry, kwargs: dict[str, Any]) -> None:
    """The same value is refused when it comes with one parameter group."""
    groups = [{"params": [parameter()]}, {"params": [parameter()], **kwargs}]
    assert isinstance(complaint(lambda: build(entry.ours, groups)), DownslopeError)


_BAD_LATER = [
    row
    for row in _BAD
    if row.values[0] in DRIVEN and "initial_accumulator_value" not in row.values[1]  # used once
]


@pytest.mark.parametrize(("entry", "kwargs"), _BAD_LATER)
def test_refuses_bad_hyperparameters_set_later(entry: Entry, kwargs: dict[str, Any]) -> None:
    """The same value, set in a group after construction, is refused by the next step."""
    start = start_of(entry)
    params = leaves(start)
    optimizer = build(entry.ours, params)
    drive(optimizer, rows_of(entry, start, 1))
    before = [p.detach().clone() for p in params]
    optimizer.param_groups[0].update(kwargs)
    assert isinstance(complaint(optimizer.step), DownslopeError)
    assert all(torch.equal(p, b) for p, b in zip(params, before, strict=True))


@each(tuple(e for e in TWINS if "fused" in inspect.signature(e.torch).parameters))
@pytest.mark.parametrize("flags", FLAG_CLASHES, ids=lambda f: "+".join(f))
def test_clashing_flags(entry: Entry, flags: dict[str, bool]) -> None:
    """Implementation flags that exclude each other are refused as torch refuses them."""
    theirs = complaint(lambda: build(entry.torch, [parameter()], flags))
    ours = complaint(lambda: build(entry.ours, [parameter()], flags))
    assert theirs is not None
    assert ours is not None
    assert isinstance(ours, type(theirs))
    assert str(ours).startswith(str(theirs).rstrip("."))


@pytest.mark.parametrize("key", ["lr", "eps"])
def test_sparse_adam_refuses_zero(key: str) -> None:
    """SparseAdam wants a step size and an eps above zero, in torch's words."""
    for cls in (torch.optim.SparseAdam, downslope.optim.SparseAdam):
        with pytest.raises(ValueError, match=r"^Invalid (learning rate|epsilon value): 0\.0"):
            build(cls, [parameter()], {key: 0.0})


@each(tuple(e for e in TWINS if e.name == "SGD"))
@pytest.mark.parametrize("kwargs", [{}, {"momentum": 0.9, "dampening": 0.1}])
def test_nesterov_needs_undamped_momentum(entry: Entry, kwargs: dict[str, Any]) -> None:
    """Nesterov without momentum, or with dampening, is refused with torch's words."""
    with pytest.raises(
        InputError, match=r"^Nesterov momentum requires a momentum and zero dampening"
    ):
        build(entry.ours, [parameter()], kwargs, {"nesterov": True})


@each(CATALOGUE)
@pytest.mark.parametrize(
    ("params", "word"),
    [
        (lambda: {parameter()}, "set"),
        (lambda: [torch.zeros(2, 2, dtype=torch.int64)], "int64"),
        (lambda: [{"params": [parameter()], "lrs": 1}], "'lr'"),
        (lambda: [{"params": [parameter()], "learning_rate": 1}], "'lr'"),
        (lambda: torch.nn.Linear(2, 2), "got Linear: give its .parameters()"),
    ],
    ids=["set", "integers", "misspelt-key", "spelt-out-key", "model"],
)
def test_questionable_parameters(entry: Entry, params: Callable[[], Any], word: str) -> None:
    """A set, a model, integers and a misspelt group key are refused in words that help."""
    said = complaint(lambda: build(entry.ours, params()))
    assert isinstance(said, DownslopeError | UserWarning)
    assert word in str(said)


@each(CATALOGUE)
def test_nothing_to_train_is_not_silent(entry: Entry) -> None:
    """When nothing requires a gradient, the constructor or the first step says so."""
    frozen = parameter().requires_grad_(False)
    said = complaint(lambda: build(entry.ours, [frozen]).step())
    assert isinstance(said, DownslopeError | UserWarning)
    assert "requires_grad" in str(said)


@each(CATALOGUE)
def test_groups_may_carry_other_keys(entry: Entry) -> None:
    """A key of the user's own, as libraries put into groups, is kept in silence."""
    optimizer = build(entry.ours, [{"params": [parameter()], "layer": "head"}])
    assert optimizer.state_dict()["param_groups"][0]["layer"] == "head"


@each(CATALOGUE)
@pytest.mark.parametrize("params", [list, lambda: iter(()), lambda: [1.0], lambda: 3])
def test_unusable_parameters(entry: Entry, params: Callable[[], Any]) -> None:
    """No parameters, or something else than tensors, gives torch's type of error."""
    theirs = complaint(lambda: build(torch.optim.SGD, params()))
    ours = complaint(lambda: build(entry.ours, params()))
    assert theirs is not None
    assert isinstance(ours, type(theirs))


@each(CATALOGUE)
def test_no_gradient_at_all_is_not_silent(entry: Entry) -> None:
    """The first step for which no parameter has a gradient warns; the second does not again."""
    optimizer = build(entry.ours, [parameter()])
    with pytest.warns(UserWarning, match="no parameter has a gradient"):
        optimizer.step()
    optimizer.step()


@each(CATALOGUE)
def test_failed_construction_leaves_the_callers_groups(entry: Entry) -> None:
    """A constructor that fails changes nothing in the dict of the caller's group."""
    group: dict[str, Any] = {"params": [parameter()]}
    complaint(lambda: build(entry.ours, [group], {"lr": -1.0}))
    assert list(group) == ["params"]
