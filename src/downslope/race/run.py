"""Optimizers on a surface: where each goes, at several learning rates."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from .. import optim
from ..errors import InputError
from .surfaces import Surface

__all__ = ["RUNNERS", "Lane", "Path", "race", "runners"]

Float64 = npt.NDArray[np.float64]

#: Half decades of the learning rate that are tried.
RATES = tuple(float(f"{10 ** (k / 4):.3g}") for k in range(-16, 5))
SHOWN = 2  # rates on either side of the best that a page offers
FAR = 1e3  # outside of this the path has diverged
STEPS = 200
SEED = 0

#: Name -> class and arguments.
RUNNERS: dict[str, tuple[str, dict[str, Any]]] = {
    "sgd": ("SGD", {}),
    "momentum": ("SGD", {"momentum": 0.9}),
    "nesterov": ("SGD", {"momentum": 0.9, "nesterov": True}),
    "adagrad": ("Adagrad", {}),
    "rmsprop": ("RMSprop", {}),
    "adam": ("Adam", {}),
    "lion": ("Lion", {"weight_decay": 0.0}),
}


@dataclass(frozen=True)
class Path:
    """Where an optimizer went at one learning rate.

    Args:
        lr: the rate.
        points: [steps + 1, 2], the start first; cut where it diverged.
        values: the surface there.
    """

    lr: float
    points: Float64
    values: Float64

    @property
    def score(self) -> float:
        """The mean value over the last tenth of the steps; infinite where it diverged."""
        return float(self.values[-max(1, len(self.values) // 10) :].mean())


@dataclass(frozen=True)
class Lane:
    """One optimizer's paths, in the order of their rates, and which of them is the best."""

    name: str
    paths: tuple[Path, ...]
    best: int


def runners(names: Sequence[str]) -> dict[str, tuple[str, dict[str, Any]]]:
    """Classes and arguments of optimizers by name: those of :data:`RUNNERS`, or any other of ours.

    Raises:
        InputError: an unknown name, or one that cannot run on two numbers.

    >>> runners(["momentum", "adamw"])
    {'momentum': ('SGD', {'momentum': 0.9}), 'adamw': ('AdamW', {})}
    """
    found = {}
    for name in names:
        if name in RUNNERS:
            found[name] = RUNNERS[name]
            continue
        cls = optim.get(name)
        if cls.rule.needs:
            raise InputError(f"race: {cls.__name__} needs {cls.rule.needs}; choose another one.")
        found[name] = (cls.__name__, {})
    return found


def race(
    surface: Surface,
    optimizers: Mapping[str, tuple[str, dict[str, Any]]] | None = None,
    *,
    steps: int = STEPS,
) -> list[Lane]:
    """Let optimizers run from one place, each at the rate of a grid that suits it best.

    The best rate is that with the lowest mean value over the last tenth of the steps. Two rates on
    either side of it are kept as well. Random numbers are the same for all.

    Args:
        surface: where they run.
        optimizers: name -> class and arguments; None takes :data:`RUNNERS`.
        steps: how far.

    Raises:
        InputError: ``steps`` is below 1.

    >>> from downslope.race import surface
    >>> lanes = race(surface("ravine"), runners(["sgd", "momentum"]), steps=50)
    >>> [(lane.name, lane.paths[lane.best].score < 0.1) for lane in lanes]
    [('sgd', True), ('momentum', True)]
    """
    if steps < 1:
        raise InputError(f"race: steps = {steps}, but it counts steps: 1 or more.")
    noise = surface.noise * np.random.default_rng(SEED).normal(size=(steps, 2))
    lanes = []
    for name, (kind, arguments) in (optimizers or RUNNERS).items():
        paths = [_path(surface, kind, {**arguments, "lr": lr}, noise) for lr in RATES]
        best = min(range(len(paths)), key=lambda k: (paths[k].score, RATES[k]))
        low = max(0, min(best - SHOWN, len(paths) - 2 * SHOWN - 1))
        shown = tuple(paths[low : low + 2 * SHOWN + 1])
        lanes.append(Lane(name, shown, best - low))
    return lanes


def _path(surface: Surface, kind: str, arguments: dict[str, Any], noise: Float64) -> Path:
    point = torch.tensor(surface.start, dtype=torch.float64, requires_grad=True)
    optimizer = getattr(optim, kind)([point], **arguments, foreach=False)
    points = [surface.start]
    for step, extra in enumerate(noise):
        optimizer.zero_grad()
        surface.value(point[0], point[1]).backward()
        assert point.grad is not None
        point.grad += torch.from_numpy(extra)
        if surface.seen > 1:
            point.grad[1] *= surface.seen * (step % surface.seen == 0)
        optimizer.step()
        x, y = point.tolist()
        if not (math.isfinite(x) and math.isfinite(y)) or max(abs(x), abs(y)) > FAR:
            values = [surface.value(*p) for p in points]
            return Path(arguments["lr"], np.array(points), np.array([*values[:-1], math.inf]))
        points.append((x, y))
    return Path(arguments["lr"], np.array(points), np.array([surface.value(*p) for p in points]))
