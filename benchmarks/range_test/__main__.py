"""``python -m benchmarks.range_test``: score `find_lr` and its rivals on the test cases.

The planned runs (25 learning rates, 8 or 12 seeds a test case) are kept in
``results/range_test``; with ``--train`` those that are missing are made first, which takes hours on
one core.
"""

from __future__ import annotations

import argparse
import json
import math
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch

from .cases import (
    CASES,
    DRAWN_RUNS,
    LENGTHS,
    PLANNED_RUNS,
    RESULTS,
    TWICE,
    Case,
    completed,
    load,
    save,
)
from .score import RULES, best_lr, constants, equivalent, oracles, percentages, score
from .suggest import suggestion, swept

SEED = 200  # of the range tests; the planned runs have others
SCALES = (1.0, 30.0, 1 / 30)
DEFAULTS = {"sgd": 1e-3, "adamw": 1e-3, "lion": 1e-4}
FAILED = 1.5  # times the best: such cases are named
FEWER = (4, 8)  # seeds, to see what their number does

#: By rule, then by what they are of: two numbers.
Scores = dict[str, dict[tuple[int, float], list[float]]]


def _train(cases: list[Case], file: Path) -> None:
    """Make the planned runs that are missing in a file."""
    curves = load(file)
    for case in cases:
        done = curves.get(case.key)
        if done is None or len(done.losses) < len(case.seeds):
            curves[case.key] = completed(case, done)
            save(curves, file)
            print(case.key, flush=True)


def _table(scores: Scores, columns: Mapping[tuple[int, float], str]) -> list[str]:
    """A row a rule, a column a kind of score."""
    return [
        "| rule | " + " | ".join(columns.values()) + " |",
        "|---" * (len(columns) + 1) + "|",
        *(
            f"| {name} | "
            + " | ".join(percentages(by[c]) if c in by else "" for c in columns)
            + " |"
            for name, by in scores.items()
        ),
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--train", action="store_true", help="make the planned runs first")
    parser.add_argument("--tuning", action="store_true", help="score on the tuning cases")
    options = parser.parse_args()
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
    if options.train:
        drawn = {problem.name for problem in TWICE}
        _train([c for c in CASES if c.problem not in drawn], PLANNED_RUNS)
        _train([c for c in CASES if c.problem in drawn], DRAWN_RUNS)
    curves = load()
    chosen = [c for c in CASES if c.key in curves and c.tuning == options.tuning]
    seeds = {n: min(len(curves[c.key].losses) for c in chosen if c.steps == n) for n in LENGTHS}
    counts = {n: [*(count for count in FEWER if count < most), most] for n, most in seeds.items()}
    best = constants(curves)
    scores: Scores = defaultdict(lambda: defaultdict(list))
    by_seeds: Scores = defaultdict(lambda: defaultdict(list))
    sure: dict[tuple[str, int], list[float]] = defaultdict(list)
    kept, failed = {}, []
    for case in chosen:
        by_count = {count: curves[case.key].of(range(count)) for count in counts[case.steps]}
        for count, curve in by_count.items():
            for name, values in oracles(curve).items():
                by_seeds[name][case.steps, count] += values
                if count == seeds[case.steps]:
                    scores[name][case.steps, 1.0] += values
        for scale in SCALES:
            test, sweep = suggestion(case, SEED, scale), swept(case, SEED, scale)
            read = [np.array(x) for x in (sweep.lrs, sweep.smoothed, sweep.losses)]
            rates = {
                "find_lr": test.suggestion or test.fallback or DEFAULTS[case.optimizer],
                "a usual step, no race": test.usual or DEFAULTS[case.optimizer],
                "tuned constant": best[case.optimizer],
                "library default": DEFAULTS[case.optimizer],
                **{name: rule(*read) for name, rule in RULES.items()},
            }
            for name, rate in rates.items():
                lr = equivalent(case, rate, scale)
                scores[name][case.steps, scale].append(score(by_count[seeds[case.steps]], lr))
                if scale == 1:
                    for count, curve in by_count.items():
                        by_seeds[name][case.steps, count].append(score(curve, lr))
            latest = scores["find_lr"][case.steps, scale][-1]
            if latest > FAILED:
                off = math.log10(equivalent(case, rates["find_lr"], scale) / best_lr(curve))
                failed.append(
                    f"| {case.key} | x{scale:.2g} | {latest:.2f} | {off:+.1f} | {test.confidence} |"
                )
            sure[test.confidence, case.steps].append(latest)
            kept[f"{case.key} / x{scale:.3g}"] = {
                "lr": test.suggestion,
                "confidence": test.confidence,
                "cost": test.cost,
                "score": round(latest, 3),
            }
    part = "tuning" if options.tuning else "test"
    lines = [
        f"Percent of {len(chosen)} {part} cases within 1.1x / 1.5x / worse than 3x. Seeds of the",
        "planned runs: " + ", ".join(f"{k} of {n} steps" for n, k in seeds.items()) + ".",
        "",
        *_table(scores, {(n, s): f"{n} steps, loss x{s:.2g}" for n in LENGTHS for s in SCALES}),
        "",
        "The plain loss, scored by fewer of the seeds:",
        "",
        *_table(by_seeds, {(n, k): f"{n} steps, {k} seeds" for n in LENGTHS for k in counts[n]}),
        "",
        "`find_lr` by its confidence, all scales together:",
        "",
        "| confidence | steps | suggestions | score |",
        "|---|---|---|---|",
        *(
            f"| {word} | {steps} | {len(values)} | {percentages(values)} |"
            for (word, steps), values in sorted(sure.items())
        ),
        "",
        f"`find_lr` beyond {FAILED}x of the best, and how many decades above its rate:",
        "",
        "| case | loss | score | decades | confidence |",
        "|---|---|---|---|---|",
        *failed,
    ]
    table = "\n".join(lines) + "\n"
    print(table)
    RESULTS.mkdir(parents=True, exist_ok=True)
    (RESULTS / f"{part}.md").write_text(table, encoding="utf-8")
    (RESULTS / f"{part}-cases.json").write_text(json.dumps(kept, indent=0) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
