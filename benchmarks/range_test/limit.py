"""``python -m benchmarks.range_test.limit``: what races could tell if every rate were raced.

For the problems that may be fitted on, 51 rates are raced from one start, on the same batches, and
judged as `find_lr` judges; the best one (of the average over five neighbours) is moved by the shift
that is best in hindsight for its optimizer and the length of the run. No choice of *which* rates to
race does much better with races of that length: what is missing to the best rate is the horizon.
The figures go to ``results/range_test/limit.md``. Ten minutes on one core.

With ``--whole`` the races are the planned runs of 300 steps themselves, all 25 rates of them, still
without the rows held out and judged by those: what no range test that judges so can pass. On the
problems of ``drawn.py`` and ``small.py``; the figures go to ``results/range_test/whole.md``.
"""

from __future__ import annotations

import argparse
from collections import defaultdict
from itertools import chain, islice, pairwise

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from downslope.finder._pool import FEWEST_BATCHES, HELD
from downslope.finder._trial import OTHERS

from .cases import CASES, DRAWN_RUNS, LENGTHS, POINTS, RESULTS, SPAN, Case, Curve, load, schedule
from .drawn import DRAWN
from .fit import shift
from .many import OPTIMIZERS, Copies, order
from .score import percentages, score, smooth
from .small import SMALL

SEED, RATES = 200, 51
HORIZONS = (8, 16, 24, 40, 56, 72)
NEIGHBOURS = np.array([1, 2, 3, 2, 1]) / 9
WORST = 2.0  # times the first loss: what is worse, or has diverged, counts as that
HELD_ROWS = (20, 40, 128)  # that part the table of whole runs


class _Raced(Copies):
    """Copies with one start that train on a range test's batches, but for those held out."""

    def __init__(self, case: Case, rates: int = RATES, steps: int = HORIZONS[-1]) -> None:
        super().__init__(case.what, case.optimizer, [SEED], rates, case.batch_size)
        self._rates = rates
        rows = len(self.data.inputs)
        count = min(steps + HELD, max(1, rows // case.batch_size))
        found = list(islice(order(rows, case.batch_size, SEED), count))
        held = min(HELD, count // 4)
        if count >= FEWEST_BATCHES:
            self._held, self._train = found[:held], found[held:]
        else:  # a quarter of the rows of each
            self._held = [batch[: len(batch) // 4] for batch in found]
            self._train = [batch[len(batch) // 4 :] for batch in found]
        self._next = 0

    @property
    def held_rows(self) -> int:
        """How many rows are never trained on."""
        return sum(len(batch) for batch in self._held)

    def next_rows(self) -> Tensor:
        self._next += 1
        return self._train[(self._next - 1) % len(self._train)][None]

    @torch.no_grad()
    def judged(self) -> NDArray[np.float64]:
        """The held-out loss of each copy, rows with another row's targets counted in."""
        own, others, count = torch.zeros(self._rates), torch.zeros(self._rates), 0
        targets = self.data.targets
        for rows in self._held:
            own += self.loss(rows[None])
            y = targets[rows]
            count += y[..., 0].numel() if y.is_floating_point() and y.dim() > 1 else y.numel()
            self.data.targets[rows] = y.roll(len(rows) // 2, 0)
            others += self.loss(rows[None])
            targets[rows] = y
        share = OTHERS / (count + OTHERS)
        return (((1 - share) * own + share * others) / len(self._held)).double().numpy()


def raced(case: Case) -> dict[int, float]:
    """The best of all rates after each number of steps."""
    copies, found = _Raced(case), {}
    lrs = np.geomspace(*SPAN[case.optimizer], RATES)
    worst = WORST * copies.judged().mean()
    for step in range(1, HORIZONS[-1] + 1):
        copies.step(torch.tensor(lrs))
        if step in HORIZONS:
            losses = np.nan_to_num(copies.judged(), nan=worst, posinf=worst).clip(max=worst)
            smooth = np.convolve(np.pad(losses, 2, mode="edge"), NEIGHBOURS, "valid")
            found[step] = float(lrs[smooth.argmin()])
    return found


def whole(case: Case) -> tuple[float, int]:
    """The rate whose planned run is best by the rows held out, and how many those are."""
    copies = _Raced(case, POINTS, case.steps)
    worst = WORST * copies.judged().mean()
    factor, lrs = schedule(case.steps), torch.tensor(case.lrs)
    for step in range(case.steps):
        copies.step(factor(step) * lrs)
    losses = np.nan_to_num(copies.judged(), nan=worst, posinf=worst).clip(max=worst)
    return float(case.lrs[smooth(losses).argmin()]), copies.held_rows


def whole_runs() -> None:
    """Judge the planned runs of 300 steps by the rows that a range test holds out."""
    curves, names = {**load(), **load(DRAWN_RUNS)}, {problem.name for problem in (*DRAWN, *SMALL)}
    scores: dict[int, list[float]] = defaultdict(list)
    for case in CASES:
        if case.key in curves and case.steps == LENGTHS[0] and case.problem in names:
            lr, rows = whole(case)
            scores[int(np.digitize(rows, HELD_ROWS))].append(score(curves[case.key], lr))
    limits = [str(limit) for limit in HELD_ROWS]
    ranges = [
        f"fewer than {limits[0]}",
        *(f"{low} to {int(high) - 1}" for low, high in pairwise(limits)),
        f"{limits[-1]} and more",
    ]
    lines = [
        "Percent of cases within 1.1x / 1.5x / worse than 3x, if the planned runs of 300 steps of",
        "25 rates are all made, on the rows that a range test trains on, and the best one chosen",
        "by the rows that it holds out.",
        "",
        "| rows held out | cases | score |",
        "|---|---|---|",
        *(f"| {ranges[k]} | {len(v)} | {percentages(v)} |" for k, v in sorted(scores.items())),
        f"| all | {sum(map(len, scores.values()))} | {percentages(chain(*scores.values()))} |",
    ]
    table = "\n".join(lines) + "\n"
    print(table)
    (RESULTS / "whole.md").write_text(table, encoding="utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--whole", action="store_true", help="the planned runs themselves")
    options = parser.parse_args()
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
    if options.whole:
        whole_runs()
        return
    curves = {**load(), **load(DRAWN_RUNS)}
    best: dict[tuple[str, str, int], dict[int, float]] = {}
    pairs: dict[tuple[int, str, int], list[tuple[Curve, float]]] = defaultdict(list)
    for case in CASES:
        if case.key not in curves or not case.tuning:
            continue
        same = (case.problem, case.optimizer, case.batch_size)
        best[same] = best[same] if same in best else raced(case)
        for horizon, lr in best[same].items():
            pairs[horizon, case.optimizer, case.steps].append((curves[case.key], lr))
    lines = [
        "Percent of runs within 1.1x / 1.5x / worse than 3x, if all of 51 rates were raced for so",
        "many steps and the best one moved by the best shift in hindsight.",
        "",
        "| steps of a race | " + " | ".join(f"run of {steps}" for steps in LENGTHS) + " |",
        "|---" * (1 + len(LENGTHS)) + "|",
    ]
    for horizon in HORIZONS:
        cells = []
        for steps in LENGTHS:
            each = (shift(pairs[horizon, name, steps])[1] for name in OPTIMIZERS)
            cells.append(percentages(chain.from_iterable(each)))
        lines.append(f"| {horizon} | " + " | ".join(cells) + " |")
    table = "\n".join(lines) + "\n"
    print(table)
    (RESULTS / "limit.md").write_text(table, encoding="utf-8")


if __name__ == "__main__":
    main()
