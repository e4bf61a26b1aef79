"""Races: short runs at a few learning rates from one place, and the best rate among them.

Pure functions of numbers; a race is run by the caller.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

__all__ = ["Race", "Races", "Run", "best", "search"]

STEP = 0.7  # decades between two candidates at first, half of it at last
LEAP = 0.3  # of the fall: a step up that gained more is followed by one twice as wide
MOST = 8  # races, however large the budget
FEWEST_TO_COMPARE = 6  # held-out batches, or their spread says nothing


@dataclass(frozen=True)
class Race:
    """A short run at one learning rate; where it diverged, the loss is infinite.

    Args:
        lr: the rate.
        losses: after its steps, on each of the held-out batches; empty where it diverged.
        cost: what it took, in training iterations.
        trained: the mean of its last training losses; infinite where it diverged.
    """

    lr: float
    losses: tuple[float, ...]
    cost: float = 0.0
    trained: float = math.inf

    @property
    def loss(self) -> float:
        """The mean over the held-out batches."""
        mean = sum(self.losses) / len(self.losses) if self.losses else math.inf
        return mean if math.isfinite(mean) else math.inf


@dataclass(frozen=True)
class Run:
    """What is known of a run beforehand.

    Args:
        classes: whether the targets are classes, not values; None where there is no telling.
        labels: how many targets the races are judged by; 0 where they cannot be counted.
        capacity: weights for each target that there is to train on; None where it is not known.
        depth: how many matrices and larger tensors there are to train.
    """

    classes: bool | None = None
    labels: int = 0
    capacity: float | None = None
    depth: int = 0


@dataclass(frozen=True)
class Races:
    """All races that were run, in the order of their learning rates.

    Args:
        races: at least one.
        steps: of a whole race.
        first: the losses on the held-out batches before the first step.
        run: what is known of them beforehand.
    """

    races: tuple[Race, ...]
    steps: int
    first: tuple[float, ...]
    run: Run = Run()

    @property
    def winner(self) -> Race:
        """The lowest loss; the lower rate among equals."""
        return min(self.races, key=lambda race: (race.loss, race.lr))

    @property
    def bounded(self) -> bool:
        """Whether a higher rate than the winner's was tried and was worse."""
        return self.winner.lr < self.races[-1].lr

    @property
    def fall(self) -> float:
        """The share by which the held-out loss fell in the best race."""
        return self._fallen(self.winner.loss)

    @property
    def learnt(self) -> float:
        """The largest share by which the training loss fell in any race."""
        return self._fallen(min(race.trained for race in self.races))

    def _fallen(self, loss: float) -> float:
        first = sum(self.first) / len(self.first)
        if not math.isfinite(loss):
            return -math.inf
        return (first - loss) / abs(first) if first else 0.0

    @property
    def certainty(self) -> float:
        """That fall in standard errors over the held-out batches; 0 where they are too few."""
        falls = np.array(self.first[: len(self.winner.losses)]) - np.array(self.winner.losses)
        if len(falls) < FEWEST_TO_COMPARE:
            return 0.0
        error = float(falls.std(ddof=1)) / math.sqrt(len(falls))
        return float(falls.mean()) / error if error > 0 else 0.0


def search(
    run: Callable[[float], Race], start: float, budget: float, whole: float, first: float
) -> tuple[Race, ...]:
    """Race around a learning rate until the best lies between two others, then closer by.

    The rate below is tried before the one above: the short run likes higher rates than the planned
    one.

    Args:
        run: runs a race.
        start: the rate to begin with.
        budget: what all races together may cost; one that diverges early costs less.
        whole: what one costs that does not.
        first: the loss before any step.

    >>> def bowl(lr):
    ...     return Race(lr, ((math.log10(lr) + 1.3) ** 2,), cost=10)
    >>> [round(math.log10(race.lr), 3) for race in search(bowl, 0.1, 60, whole=10, first=2)]
    [-1.7, -1.35, -1.0, -0.65, -0.3]
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

    def climbs(at: int) -> bool:
        """Whether the rate below had far less of the fall: the best is further up."""
        lost = done[at - 2].loss - done[at].loss
        return lost > LEAP * (first - done[at].loss)

    tried(0)
    while not math.isfinite(done[leader()].loss) and tried(min(done) - 2):
        pass  # all have diverged: further down
    while True:
        at = leader()
        new = [place for place in (at - 2, at + 2) if place not in done]
        if not new:
            break
        if new == [at + 2] and at == max(done) and climbs(at):
            new = [at + 4]
        if not tried(new[0]):
            break
    at = leader()
    known = {side: done[at + 2 * side].loss for side in (-1, 1) if at + 2 * side in done}
    for side in sorted((-1, 1), key=lambda side: known.get(side, math.inf)):
        tried(at + side)  # on the better side first
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
