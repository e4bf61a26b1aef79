"""``python -m benchmarks.range_test.fit``: the numbers of ``downslope/finder/_suggest.py``.

It runs `find_lr` on every problem that may be fitted on and prints, for each family of optimizers,
how far the best rate of a planned run lies from the best of the races: the shift whose expected
cost is least. The cost counts how many runs end worse than 1.1, 1.5 and 3 times the best, and is
averaged over shifts nearby, so that what costs much on one side (a rate too high, mostly) is kept
away from.
"""

from __future__ import annotations

import argparse
import math
from collections import defaultdict
from collections.abc import Iterable

import numpy as np
import torch
from numpy.typing import NDArray

from downslope.finder._suggest import moved

from .cases import CASES, DRAWN_RUNS, LENGTHS, Case, Curve, load
from .score import percentages, score
from .suggest import suggestion

__all__ = ["expected_cost", "shift"]

SEEDS = (200,)
NEARBY = 0.1  # decades: what the race itself may be off by
SHIFTS = np.arange(-2.0, 1.01, 0.02)

Array = NDArray[np.float64]


def expected_cost(scores: Array) -> Array:
    """Of scores at shifts of 0.02 decades: 1 for each limit passed, more for what is lost besides.

    The limits are softened and their cost averaged over :data:`NEARBY`, so that no single case
    decides by a hair.
    """

    def above(limit: float, softness: float) -> Array:
        return 1 / (1 + np.exp(-(np.log(scores) - math.log(limit)) / softness))

    lost = 0.4 * np.log(np.minimum(scores, 8.0))
    cost = lost + above(1.1, 0.03) + above(1.5, 0.08) + 1.5 * above(3.0, 0.15)
    away = np.arange(-15, 16) * 0.02
    weights = np.exp(-0.5 * (away / NEARBY) ** 2)
    padded = np.pad(cost, 15, mode="edge")
    return np.convolve(padded, weights / weights.sum(), "valid")


def shift(curves: Iterable[tuple[Curve, float]]) -> tuple[float, list[float]]:
    """The shift of least mean cost, and the scores that it gives.

    Args:
        curves: planned runs, and the best rate of races.
    """
    scores = np.array([[score(c, lr * 10**d) for d in SHIFTS] for c, lr in curves])
    mean = np.mean([expected_cost(row) for row in scores], axis=0)
    best = int(mean.argmin())
    return float(SHIFTS[best]), scores[:, best].tolist()


def raced(case: Case, seed: int) -> tuple[float, float] | None:
    """A range test's answer before it is moved by its optimizer's numbers, and the run's length.

    In races; what is added for classes or values and for the weights a target stays in.
    """
    test = suggestion(case, seed)
    if test.suggestion in (None, test.usual):  # none, or a plateau
        return None
    ratio = case.steps / test.race_steps
    return test.suggestion / 10 ** moved(test.optimizer, ratio), ratio


def of_classes(case: Case) -> bool:
    """Whether a case's targets are classes."""
    return not case.what.data().targets.is_floating_point()


def main() -> None:
    argparse.ArgumentParser(description=__doc__).parse_args()
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
    curves = {**load(), **load(DRAWN_RUNS)}
    found: dict[tuple[str, int], list[tuple[Curve, float]]] = defaultdict(list)
    ratios: dict[int, list[float]] = defaultdict(list)
    sides: dict[tuple[str, int], list[tuple[Curve, float]]] = defaultdict(list)
    none = 0
    for case in CASES:
        if case.key in curves and case.tuning:
            for seed in SEEDS:
                best = raced(case, seed)
                if best is None:
                    none += 1
                else:
                    lr, ratio = best
                    found[case.optimizer, case.steps].append((curves[case.key], lr))
                    ratios[case.steps].append(ratio)
                    side = "classes" if of_classes(case) else "values"
                    answer = lr * 10 ** moved(case.optimizer, ratio)
                    sides[side, case.steps].append((curves[case.key], answer))
    near, far = (float(np.median(ratios[steps])) for steps in LENGTHS)
    print(f"near: {near:.1f} times the races' length; no answer by races: {none}")
    for optimizer in sorted({name for name, _ in found}):
        shifts = []
        for steps in LENGTHS:
            runs = found[optimizer, steps]
            by, scores = shift(runs)
            shifts.append(by)
            print(f"{optimizer} {steps}: {len(runs)} tests, shift {by:+.2f}, {percentages(scores)}")
        length = (shifts[1] - shifts[0]) / math.log10(far / near)
        print(f"{optimizer}: offset {shifts[0]:+.2f}, length {length:+.2f}")
    for (side, steps), runs in sorted(sides.items()):
        by, scores = shift(runs)
        print(f"{side} {steps}: {len(runs)} answers, better by {by:+.2f}, {percentages(scores)}")


if __name__ == "__main__":
    main()
