"""Classes declared from rules: their constructors are the specs', and nothing else is needed."""

from __future__ import annotations

import importlib.util
import inspect
import pickle
from pathlib import Path
from typing import Any

import pytest
import torch

from downslope import optim
from downslope.errors import InputTypeError
from downslope.optim import declare, declared
from downslope.rules import RULES, Flag, Hyper, Rule

STUBS = Path(__file__).parents[2] / "dev" / "stubs.py"
HERE = [getattr(optim, name) for name in declared.__all__]
each_class = pytest.mark.parametrize("cls", HERE, ids=lambda c: c.__name__)


def slide(xp: Any, p: Any, g: Any, *, lr: Any, push: Any, pull: Any, flip: bool) -> tuple[Any]:
    """A formula of no use."""
    return (p + lr * g if flip else p - lr * (push - pull) * g,)


def _slide_rule(**changes: Any) -> Rule:
    spec: dict[str, Any] = {
        "class_name": "Slide",
        "slots": (),
        "hypers": (
            Hyper("push", "forth", "a", key="forces", index=0, default=2.0),
            Hyper("pull", "back", "b", key="forces", index=1, default=1.0),
            Hyper("lr", "step size", "eta", default=0.5),
        ),
        "flags": (Flag("flip", key="upward", meaning="go up"),),
        "counts_steps": False,
    }
    return Rule(slide, "A slide.", **spec | changes)


Slide = declare(_slide_rule())


def test_the_constructor_is_the_specs() -> None:
    """Hyperparameters in the spec's order with its defaults, then flags by name alone."""
    parameters = list(inspect.signature(Slide).parameters.values())
    assert [(p.name, p.default) for p in parameters[1:4]] == [
        ("forces", (2.0, 1.0)),
        ("lr", 0.5),
        ("upward", False),
    ]
    by_name = [p.name for p in parameters if p.kind is p.KEYWORD_ONLY]
    assert by_name[:2] == ["upward", "maximize"]
    assert inspect.signature(Slide.__init__).parameters["lr"].default == 0.5


def test_values_are_taken_by_place_and_by_name() -> None:
    """The group holds what was given, and the defaults for the rest."""
    group = Slide([torch.zeros(1, requires_grad=True)], (3.0, 1.0), upward=True).param_groups[0]
    assert (group["forces"], group["lr"], group["upward"]) == ((3.0, 1.0), 0.5, True)


@pytest.mark.parametrize(
    ("call", "word"),
    [
        (lambda p: Slide(p, momentum=0.9), "'momentum'"),
        (lambda p: Slide(p, (1.0, 2.0), 0.1, True), "too many positional"),
        (lambda p: Slide(p, (1.0, 2.0), forces=(1.0, 2.0)), "'forces'"),
    ],
)
def test_a_wrong_call_says_what_is_taken(call: Any, word: str) -> None:
    """An unknown, doubled or surplus argument is an error with the list of arguments."""
    with pytest.raises(InputTypeError, match=rf"Slide: .*{word}.*It takes params, forces, lr, up"):
        call([torch.zeros(1, requires_grad=True)])


def test_the_documentation_is_the_specs() -> None:
    """Summary, every argument's meaning and the flag's are in the docstring."""
    said = inspect.getdoc(Slide) or ""
    assert said.startswith("A slide.\n")
    assert all(text in said for text in ("forth", "back", "step size", "upward: go up."))


def test_it_is_pickled_by_its_name_in_the_callers_module() -> None:
    """A class that a user declares belongs to the user's module."""
    assert Slide.__module__ == __name__
    assert pickle.loads(pickle.dumps(Slide)) is Slide


def test_a_subclass_may_have_another_constructor() -> None:
    """Its own constructor calls the declared one."""

    class Fast(Slide):
        def __init__(self, params: Any, speed: float) -> None:
            super().__init__(params, lr=speed)

    assert Fast([torch.zeros(1, requires_grad=True)], 7.0).param_groups[0]["lr"] == 7.0


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({"class_name": ""}, "class_name"),
        ({"hypers": tuple(Hyper(n, "", "x") for n in ("push", "pull", "lr"))}, "push.*by_default"),
    ],
)
def test_an_unfinished_spec_is_refused(changes: dict[str, Any], word: str) -> None:
    """A rule without a class's name or a default cannot be declared, and the error says so."""
    with pytest.raises(TypeError, match=word):
        declare(_slide_rule(**changes))


def test_every_rule_has_one_class() -> None:
    """Each collected rule is the rule of just one class of ``optim``."""
    classes = [optim.get(name) for name in optim.names()]
    for name, rule in RULES.items():
        assert [c.rule for c in classes].count(rule) == 1, name


@each_class
def test_a_declared_class_is_its_modules(cls: type[optim.Optimizer]) -> None:
    """It is exported, named and documented as a class written by hand."""
    assert cls.__name__ in optim.__all__
    assert cls.__module__ == declared.__name__
    assert cls.rule.paper in (cls.__doc__ or "")


def test_the_stub_is_up_to_date() -> None:
    """``make stubs`` would change nothing."""
    spec = importlib.util.spec_from_file_location("stubs", STUBS)
    assert spec is not None
    assert spec.loader is not None
    stubs = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(stubs)
    assert stubs.PATH.read_text(encoding="utf-8") == stubs.text()
