"""What may be searched: ranges that follow from an optimizer's rule, and points in them."""

from __future__ import annotations

import inspect
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from .. import optim
from ..errors import unknown

if TYPE_CHECKING:
    from ..training import Recipe

__all__ = ["Dimension", "points", "space_of"]

AROUND = 5.0  #: a range reaches from a fifth of its centre to five times it
OFF_DECAY = (0.02, 1.0)  #: 1 - rate of a momentum that is off by default
OFF_PULL = (1e-5, 1e-1)  #: of a weight decay that is 0 by default


@dataclass(frozen=True)
class Dimension:
    """One number to search, uniform on a logarithmic scale.

    Args:
        key: the recipe's field (``lr``, ``weight_decay``) or the optimizer's argument.
        low, high: the range of what is drawn, both above 0.
        index: its place in the argument, where that is a tuple (``betas``).
        complement: whether 1 less the number is drawn, as suits decay rates: 0.9, 0.99, 0.999.
    """

    key: str
    low: float
    high: float
    index: int | None = None
    complement: bool = False

    @property
    def name(self) -> str:
        """How it is called in tables.

        >>> Dimension("betas", 0.02, 0.5, index=0).name
        'beta1'
        """
        return self.key if self.index is None else f"{self.key.removesuffix('s')}{self.index + 1}"

    def value(self, drawn: float) -> float:
        """The number itself, from what was drawn between ``low`` and ``high``."""
        return 1 - drawn if self.complement else drawn

    def complemented(self, number: float) -> float:
        """What is drawn, for a number: the inverse of :meth:`value`."""
        return 1 - number if self.complement else number

    def of(self, recipe: Recipe) -> float:
        """Its value in a recipe, or the optimizer's own default."""
        if self.key in type(recipe).model_fields and getattr(recipe, self.key) is not None:
            return float(getattr(recipe, self.key))
        value = _centres(optim.get(recipe.optimizer), recipe)[self.key]
        return float(value if self.index is None else value[self.index])

    def at(self, share: float) -> float:
        """The number at a share, from 0 to 1, of the range.

        >>> Dimension("lr", 1e-4, 1e-2).at(0.5)
        0.001
        """
        drawn = math.exp(math.log(self.low) + share * math.log(self.high / self.low))
        return self.value(float(f"{drawn:.4g}"))

    @property
    def range(self) -> tuple[float, float]:
        """The smallest and the largest number."""
        low, high = sorted((self.value(self.low), self.value(self.high)))
        return low, high


def space_of(recipe: Recipe, lr: float, search: Sequence[str] | None = None) -> list[Dimension]:
    """What can be searched for a recipe's optimizer.

    Derived from the rule's hyperparameters and the class's defaults: the learning rate around
    ``lr``; every decay rate (a number in [0, 1)), as 1 less it, around its default, and one that is
    off by default and turns a slot on (SGD's momentum) from 0 to 0.98; the weight decay around its
    default. What keeps denominators from zero, counts steps or limits stays as it is, and so do
    ranges around a default of 0 that mean something else.

    Args:
        recipe: names the optimizer; what it gives by name is the centre in place of the default.
        lr: the centre of the learning rate's range.
        search: names of those wanted; None: all.

    Raises:
        InputError: a name that is not among them.

    >>> from downslope import Recipe
    >>> [d.name for d in space_of(Recipe(optimizer="adamw"), lr=1e-3)]
    ['lr', 'beta1', 'beta2', 'weight_decay']
    >>> space_of(Recipe(optimizer="sgd"), lr=0.1, search=["momentum"])
    [Dimension(key='momentum', low=0.02, high=1.0, index=None, complement=True)]
    """
    cls = optim.get(recipe.optimizer)
    centres = _centres(cls, recipe)
    turned_on = {slot.when for slot in cls.rule.slots}
    found = []
    for hyper in cls.rule.hypers:
        if hyper.name == "lr":
            found.append(Dimension("lr", lr / AROUND, lr * AROUND))
            continue
        if hyper.group_key not in centres:
            continue
        centre = centres[hyper.group_key]
        centre = centre if hyper.index is None else centre[hyper.index]
        if isinstance(centre, bool) or not isinstance(centre, (int, float)):
            continue
        if (hyper.low, hyper.high) == (0, 1) and (centre or hyper.name in turned_on):
            low, high = ((1 - centre) / AROUND, (1 - centre) * AROUND) if centre else OFF_DECAY
            part = (hyper.group_key, low, min(high, 1.0), hyper.index)
            found.append(Dimension(*part, complement=True))
        elif hyper.name == "weight_decay":
            low, high = (centre / AROUND, centre * AROUND) if centre else OFF_PULL
            found.append(Dimension("weight_decay", low, high))
    if search is None:
        return found
    by_name = {d.name: d for d in found}
    for name in search:
        if name not in by_name:
            raise unknown(f"hyperparameter to search of {cls.__name__}", name, by_name)
    return [by_name[name] for name in dict.fromkeys(search)]


def points(dimensions: int, count: int, seed: int) -> list[list[float]]:
    """Quasi-random points of the unit cube: a scrambled Sobol sequence.

    Args:
        dimensions: of the cube.
        count: how many points.
        seed: of the scrambling.

    >>> sorted(int(4 * x) for [x] in points(1, 4, seed=0))
    [0, 1, 2, 3]
    """
    from torch.quasirandom import SobolEngine

    engine = SobolEngine(dimensions, scramble=True, seed=seed)  # type: ignore[no-untyped-call]  # torch's
    drawn: list[list[float]] = engine.draw(count).tolist() if count else []
    return drawn


def placed(recipe: Recipe, values: Mapping[Dimension, float]) -> Recipe:
    """The recipe with these numbers in it.

    >>> from downslope import Recipe
    >>> first = Dimension("betas", 0.02, 0.5, index=0, complement=True)
    >>> placed(Recipe(optimizer="adam"), {first: 0.8}).hyperparameters
    {'betas': (0.8, 0.999)}
    """
    fields: dict[str, Any] = {}
    arguments = dict(recipe.hyperparameters)
    centres = _centres(optim.get(recipe.optimizer), recipe)
    for dimension, value in values.items():
        if dimension.key in type(recipe).model_fields:
            fields[dimension.key] = value
        elif dimension.index is None:
            arguments[dimension.key] = value
        else:
            parts = list(arguments.get(dimension.key, centres[dimension.key]))
            parts[dimension.index] = value
            arguments[dimension.key] = tuple(parts)
    return recipe.replace(**fields, hyperparameters=arguments)


def _centres(cls: type[optim.Optimizer], recipe: Recipe) -> dict[str, Any]:
    """What the optimizer's arguments are, the recipe's before the class's own."""
    own = inspect.signature(cls).parameters.items()
    defaults = {k: p.default for k, p in own if p.default is not inspect.Parameter.empty}
    return {**defaults, **recipe.optimizer_arguments()}
