"""``python -m benchmarks.range_test.limit``: what races could tell if every rate were raced.

For the problems that may be fitted on, 51 rates are raced from one start, on the same batches, and
judged as `find_lr` judges. The best one (of the average over five neighbours) is moved by the shift
that is best in hindsight for its optimizer and the length of the run; once as it is, once after
what `find_lr` makes of it: the usual rate's pull, classes or values, weights a target, depth. No
choice of *which* rates to race does much better with races of that length. The last rows need no
races: they are one whole sweep of planned runs, of another seed than those it is scored by.
The figures go to ``results/range_test/limit.md``. Half an hour on one core.

With ``--whole`` the races are the planned runs of 300 steps themselves, all 25 rates of them, still
without the rows held out and judged by those: what no range test that judges so can pass. On 150
cases drawn at random; the figures go to ``results/range_test/whole.md``. A few minutes.
"""

from __future__ import annotations

import argparse
import math
import random
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import chain, islice, pairwise

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from downslope.finder._pool import FEWEST_BATCHES, HELD
from downslope.finder._races import Race, Races
from downslope.finder._suggest import planned_lr, usual_lr
from downslope.finder._trial import OTHERS, RECENT

from .cases import CASES, DRAWN_RUNS, LENGTHS, POINTS, RESULTS, SPAN, Case, Curve, load, schedule
from .fit import shift
from .many import OPTIMIZERS, Copies, order
from .score import ONE_SWEEP, oracles, percentages, score, smooth
from .suggest import trial

SEED, RATES = 200, 51
HORIZONS = (8, 16, 24, 40, 54, 72, 100, 128)  # a range test of a run of 300 steps has three of 54
NEIGHBOURS = np.array([1, 2, 3, 2, 1]) / 9
WORST = 2.0  # times the first loss: what is worse, or has diverged, counts as that
HELD_ROWS = (20, 40, 128)  # that part the table of whole runs
SAMPLE, SAMPLE_SEED = 150, 2  # of the cases, for that table


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


@dataclass(frozen=True)
class Best:
    """What is left of races at all rates: the best one, and what `find_lr` asks besides.

    Args:
        lrs: the best rate after each number of steps.
        races: a race at that rate, with the losses of all.
        usual: the usual rate.
    """

    lrs: dict[int, float]
    races: dict[int, Races]
    usual: float | None

    def planned(self, case: Case, horizon: int) -> float:
        """What `find_lr` would make of that best rate."""
        return planned_lr(case.optimizer, self.races[horizon], self.usual, case.steps)


def raced(case: Case) -> Best:
    """The best of all rates after each number of steps."""
    copies, lrs = _Raced(case), np.geomspace(*SPAN[case.optimizer], RATES)
    test = trial(case, SEED)
    pool = test.pool(HORIZONS[-1])
    run, usual = test.run(pool), usual_lr(case.optimizer, *test.lengths(pool))
    first = float(copies.judged()[0])
    worst = WORST * first
    rates, races, trained = {}, {}, []
    for step in range(1, HORIZONS[-1] + 1):
        trained.append(copies.step(torch.tensor(lrs)))
        if step in HORIZONS:
            held = np.nan_to_num(copies.judged(), nan=worst, posinf=worst).clip(max=worst)
            smoothed = np.convolve(np.pad(held, 2, mode="edge"), NEIGHBOURS, "valid")
            at = int(smoothed.argmin())
            learnt = torch.stack(trained[-RECENT:]).mean(0).nan_to_num(math.inf).min()
            race = Race(float(lrs[at]), (float(held[at]),), trained=float(learnt))
            rates[step] = race.lr
            races[step] = Races((race,), step, (first,), run)
    return Best(rates, races, usual)


def whole(case: Case) -> tuple[float, int]:
    """The rate whose planned run is best by the rows held out, and how many those are."""
    copies = _Raced(case, POINTS, case.steps)
    worst = WORST * copies.judged().mean()
    factor, lrs = schedule(case.steps), torch.tensor(case.lrs)
    for step in range(case.steps):
        copies.step(factor(step) * lrs)
    losses = np.nan_to_num(copies.judged(), nan=worst, posinf=worst).clip(max=worst)
    return float(case.lrs[smooth(losses).argmin()]), copies.held_rows


def cases(curves: Mapping[str, Curve], lengths: Iterable[int] = LENGTHS) -> list[Case]:
    """Those that may be fitted on and have planned runs."""
    return [c for c in CASES if c.key in curves and c.tuning and c.steps in lengths]


def of_whole_runs(found: Mapping[Case, tuple[float, int]], curves: Mapping[str, Curve]) -> str:
    """The table of planned runs judged by rows held out."""
    scores: dict[int, list[float]] = defaultdict(list)
    for case, (lr, rows) in found.items():
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
        "by the rows that it holds out. Cases are drawn at random. Wanted are 85/97/1.",
        "",
        "| rows held out | cases | score |",
        "|---|---|---|",
        *(f"| {ranges[k]} | {len(v)} | {percentages(v)} |" for k, v in sorted(scores.items())),
        f"| all | {sum(map(len, scores.values()))} | {percentages(chain(*scores.values()))} |",
    ]
    return "\n".join(lines) + "\n"


def of_races(found: Mapping[tuple[str, str, int], Best], curves: Mapping[str, Curve]) -> str:
    """The table of all rates raced; ``found`` by problem, optimizer and batch size."""
    plain: dict[tuple[int, str, int], list[tuple[Curve, float]]] = defaultdict(list)
    ruled: dict[tuple[int, str, int], list[tuple[Curve, float]]] = defaultdict(list)
    sweeps: dict[tuple[int, int], list[float]] = defaultdict(list)
    count: dict[int, int] = defaultdict(int)
    for case in cases(curves):
        best, curve = found.get((case.problem, case.optimizer, case.batch_size)), curves[case.key]
        if best is None:
            continue
        count[case.steps] += 1
        sweeps[len(curve.losses) - 1, case.steps] += oracles(curve)[ONE_SWEEP]
        for horizon in HORIZONS:
            at = horizon, case.optimizer, case.steps
            plain[at].append((curve, best.lrs[horizon]))
            ruled[at].append((curve, best.planned(case, horizon)))

    def moved(pairs: Mapping[tuple[int, str, int], list[tuple[Curve, float]]], *at: int) -> str:
        horizon, steps = at
        each = (shift(pairs[horizon, name, steps])[1] for name in OPTIMIZERS)
        return percentages(chain.from_iterable(each))

    lines = [
        "Percent of runs within 1.1x / 1.5x / worse than 3x, if all of 51 rates were raced for so",
        "many steps and the best one moved by the best shift in hindsight; `by rule`: after what",
        "`find_lr` makes of it. Three races of 54 steps are what a run of 300 affords, three of 60",
        "one of 1,500. Wanted are 85/97/1.",
        "",
        "| steps of a race | "
        + " | ".join(f"run of {n} ({count[n]} cases) | by rule" for n in LENGTHS)
        + " |",
        "|---" * (1 + 2 * len(LENGTHS)) + "|",
    ]
    for horizon in HORIZONS:
        cells = [moved(pairs, horizon, n) for n in LENGTHS for pairs in (plain, ruled)]
        lines.append(f"| {horizon} | " + " | ".join(cells) + " |")
    for by in sorted({by for by, _ in sweeps}):
        cells = [f"{percentages(sweeps[by, n])} | " for n in LENGTHS]
        lines.append(f"| a sweep of planned runs, scored by {by} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--whole", action="store_true", help="the planned runs themselves")
    options = parser.parse_args()
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
    curves = {**load(), **load(DRAWN_RUNS)}
    if options.whole:
        drawn = cases(curves, LENGTHS[:1])
        random.Random(SAMPLE_SEED).shuffle(drawn)
        name, table = (
            "whole",
            of_whole_runs({case: whole(case) for case in drawn[:SAMPLE]}, curves),
        )
    else:
        same = {(c.problem, c.optimizer, c.batch_size): c for c in cases(curves)}
        name, table = "limit", of_races({key: raced(case) for key, case in same.items()}, curves)
    print(table)
    (RESULTS / f"{name}.md").write_text(table, encoding="utf-8")


if __name__ == "__main__":
    main()
