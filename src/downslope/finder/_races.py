"""Races: short runs at a few learning rates from one place, and the best rate among them.

Pure functions of numbers; a race is run by the caller.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

__all__ = ["Race", "Races", "best", "search"]

STEP = 0.4  # decades between two candidates at first, half of it at last
MOST = 8  # races, however large the budget


@dataclass(frozen=True)
class Race:
    """A short run at one learning rate; where it diverged, the losses are infinite.

    Args:
        lr: the rate.
        halfway: the loss on the held-out batches after half of its steps.
        loss: the same after all of them.
        cost: what it took, in training iterations.
    """

    lr: float
    halfway: float
    loss: float
    cost: float = 0.0


@dataclass(frozen=True)
class Races:
    """All races that were run, in the order of their learning rates.

    Args:
        races: at least one.
        steps: of a whole race.
        first: the loss on the held-out batches before the first step.
    """

    races: tuple[Race, ...]
    steps: int
    first: float

    @property
    def winner(self) -> Race:
        """The lowest loss; the lower rate among equals."""
        return min(self.races, key=lambda race: (race.loss, race.lr))

    @property
    def bracketed(self) -> bool:
        """Whether there is a race on either side of the winner."""
        return 0 < self.races.index(self.winner) < len(self.races) - 1

    @property
    def halfway(self) -> Races:
        """The races as they stood after half of their steps."""
        return replace(self, races=tuple(replace(r, loss=r.halfway) for r in self.races))


def search(
    run: Callable[[float], Race], start: float, budget: float, whole: float
) -> tuple[Race, ...]:
    """Race around a learning rate until the best lies between two others, then closer by.

    Args:
        run: runs a race.
        start: the rate to begin with.
        budget: what all races together may cost; one that diverges early costs less.
        whole: what one costs that does not.

    >>> def bowl(lr):
    ...     loss = (math.log10(lr) + 1.3) ** 2
    ...     return Race(lr, loss, loss, cost=10)
    >>> [round(math.log10(race.lr), 3) for race in search(bowl, 0.1, budget=60, whole=10)]
    [-1.8, -1.6, -1.4, -1.2, -1.0]
    """
    done: dict[int, Race] = {}  # by the distance from the start in half steps
    left = budget

    def tried(place: int) -> bool:
        nonlocal left
        if place not in done:
            if left < whole or len(done) == MOST:
                return False
            done[place] = run(start * 10 ** (place * STEP / 2))
            left -= done[place].cost
        return True

    def leader() -> int:
        return min(done, key=lambda place: (done[place].loss, place))

    tried(0)
    while not math.isfinite(done[leader()].loss) and tried(min(done) - 4):
        pass  # all have diverged: far down
    while True:
        at = leader()
        new = [place for place in (at - 2, at + 2) if place not in done]
        if not new or not tried(new[0]):
            break
    for place in (leader() + 1, leader() - 1):
        tried(place)
    return tuple(done[place] for place in sorted(done))


def best(races: Races) -> float:
    """The learning rate at the vertex of the parabola through the winner and its neighbours.

    It stays nearer to the winner than to them. Without finite losses on both sides it is the
    winner's.
    """
    finite = [race for race in races.races if math.isfinite(race.loss)]
    index = finite.index(races.winner) if finite else 0
    near = finite[max(index - 1, 0) : index + 2]
    if len(near) < 3 or near[1] != races.winner:
        return races.winner.lr
    x = np.log([race.lr for race in near])
    bend, slope, _ = np.polyfit(x - x[1], [race.loss for race in near], 2)
    if bend <= 0:
        return races.winner.lr
    low, high = (x[0] - x[1]) / 2, (x[2] - x[1]) / 2
    return float(races.winner.lr * math.exp(min(max(-slope / (2 * bend), low), high)))
