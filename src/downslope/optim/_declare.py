"""From a rule to its optimizer class: constructor, defaults and documentation are the spec's."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from torch import Tensor

from ..errors import InputTypeError
from ..rules import Rule
from ..schedules import Schedule
from . import _beyond
from ._optimizer import Optimizer, ParamsT
from ._schedule_free import ScheduleFree

__all__ = ["FLAGS", "Declared", "Number", "annotation", "declare"]

#: A hyperparameter's value.
Number = float | Tensor | Schedule

#: torch's flags, which every rule has without knowing of them: name -> default.
FLAGS: Mapping[str, bool | None] = {
    "maximize": False,
    "foreach": None,
    "fused": None,
    "differentiable": False,
    "capturable": False,
}


class Declared(Optimizer):
    """An optimizer whose class was made by :func:`declare`: its constructor is its rule's."""

    if TYPE_CHECKING:

        def __init__(self, params: ParamsT, *values: Any, **options: Any) -> None: ...


def declare(rule: Rule, module: str | None = None) -> type[Declared]:
    """Make the optimizer class of a rule.

    The constructor takes the parameters, then the hyperparameters in the spec's order with the
    spec's defaults, then by name alone the rule's flags and torch's ``maximize``, ``foreach``,
    ``fused``, ``differentiable`` and ``capturable``, and what every class here takes beyond them.
    Everything else is what all classes here have: every engine, groups, schedules, checkpoints,
    checks of bad input.

    Args:
        rule: the formula and its spec, with a ``class_name`` and a default for every
            hyperparameter. :class:`~downslope.rules.Rule` says what a formula may do.
        module: the name of the module that holds the class under ``class_name``, so that it can be
            pickled; the caller's if not given.

    Returns:
        the class, a subclass of ``torch.optim.Optimizer``, and of :class:`ScheduleFree` if the rule
        has a ``blend``.

    Raises:
        TypeError: the rule has no ``class_name``, a hyperparameter no default; or one, a slot or a
            flag has a name of the engines' own.

    A rule of your own, the sign of the gradient:

    >>> import torch
    >>> from downslope.rules import Hyper, Rule
    >>> def sign_descent(xp, p, g, *, lr):
    ...     return (p - lr * xp.sign(g),)
    >>> SignDescent = declare(
    ...     Rule(
    ...         sign_descent,
    ...         "Steps of one length.",
    ...         class_name="SignDescent",
    ...         slots=(),
    ...         hypers=(Hyper("lr", "step size", "eta", default=0.1),),
    ...         counts_steps=False,
    ...     )
    ... )
    >>> w = torch.nn.Parameter(torch.tensor([1.0, -2.0]))
    >>> optimizer = SignDescent([w], lr=0.5)
    >>> (w**2).sum().backward()
    >>> optimizer.step()
    >>> w.data
    tensor([ 0.5000, -1.5000])
    """
    if not rule.class_name:
        raise TypeError(f"rule {rule.name}: give it a class_name, the name of its optimizer class")
    rule.check_names()
    parameters = _parameters(rule)
    signature = inspect.Signature(parameters)

    def __init__(self: Declared, params: ParamsT, *values: Any, **options: Any) -> None:  # noqa: N807  # the class's own, so that it can have a signature of its own
        try:
            given = signature.bind(params, *values, **options)
        except TypeError as error:
            takes = ", ".join(p.name for p in parameters)
            raise InputTypeError(f"{rule.class_name}: {error}. It takes {takes}") from None
        given.apply_defaults()
        defaults = {k: v for k, v in given.arguments.items() if k != "params"}
        super(made, self).__init__(params, defaults)

    me = inspect.Parameter("self", inspect.Parameter.POSITIONAL_OR_KEYWORD)
    vars(__init__)["__signature__"] = inspect.Signature([me, *parameters], return_annotation=None)
    __init__.__annotations__ = {p.name: p.annotation for p in parameters} | {"return": None}
    __init__.__qualname__ = f"{rule.class_name}.__init__"
    namespace = {
        "__doc__": f"{rule.summary}\n\n{_example(rule)}",
        "__init__": __init__,
        "__module__": module or sys._getframe(1).f_globals.get("__name__", "__main__"),
        "__qualname__": rule.class_name,
        "rule": rule,
    }
    bases = (ScheduleFree, Declared) if rule.blend else (Declared,)
    made: type[Declared] = type(rule.class_name, bases, namespace)
    return made


def _parameters(rule: Rule) -> list[inspect.Parameter]:
    """The constructor's parameters but ``self``."""
    ordinary, by_name = inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY
    positional = {hyper.group_key for hyper in rule.hypers}
    defaults: dict[str, Any] = {**rule.defaults, **FLAGS}
    return [
        inspect.Parameter("params", ordinary, annotation=ParamsT),
        *(
            inspect.Parameter(
                name,
                ordinary if name in positional else by_name,
                default=value,
                annotation=annotation(value),
            )
            for name, value in defaults.items()
        ),
        *_beyond.parameters(),
    ]


def annotation(default: Any) -> Any:
    """The type of an argument with this default."""
    if default is None:
        return bool | None
    if isinstance(default, bool):
        return bool
    if isinstance(default, tuple):
        return tuple.__class_getitem__((Number,) * len(default))
    return Number


def _example(rule: Rule) -> str:
    """A doctest: three steps go downhill."""
    lr = rule.defaults.get("lr")
    arguments = "" if lr is None else f", lr={lr}"
    return f""">>> import torch
>>> w = torch.nn.Parameter(torch.tensor([1.0, -2.0]))
>>> optimizer = {rule.class_name}([w]{arguments})
>>> losses = []
>>> for _ in range(3):
...     optimizer.zero_grad()
...     loss = (w**2).sum()
...     loss.backward()
...     optimizer.step()
...     losses.append(loss.item())
>>> losses[0] > losses[-1]
True"""
