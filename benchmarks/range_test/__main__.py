"""``python -m benchmarks.range_test``: score `find_lr` and its rivals on the test cases.

The planned runs (25 learning rates, 4 seeds a case) are kept in ``results/range_test``; with
``--train`` those that are missing are made first, which takes hours on one core.
"""

from __future__ import annotations

import argparse
import json
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from .cases import (
    CASES,
    DRAWN_RUNS,
    LENGTHS,
    PLANNED_RUNS,
    RESULTS,
    SEEDS,
    TWICE,
    Case,
    load,
    planned_runs,
    save,
)
from .score import RULES, constants, equivalent, oracle, percentages, score
from .suggest import suggestion, swept

SEED = 200  # of the range tests; the planned runs have others
SCALES = (1.0, 30.0, 1 / 30)
DEFAULTS = {"sgd": 1e-3, "adamw": 1e-3, "lion": 1e-4}


def _train(cases: list[Case], seeds: Sequence[int], file: Path) -> None:
    """Make the planned runs that are missing in a file."""
    curves = load(file)
    for case in cases:
        if case.key not in curves:
            curves[case.key] = planned_runs(case, seeds)
            save(curves, file)
            print(case.key, flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--train", action="store_true", help="make the planned runs first")
    parser.add_argument("--tuning", action="store_true", help="score on the tuning cases")
    options = parser.parse_args()
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
    if options.train:
        drawn = {problem.name for problem in TWICE}
        _train([c for c in CASES if c.problem not in drawn], SEEDS, PLANNED_RUNS)
        _train([c for c in CASES if c.problem in drawn], SEEDS[:2], DRAWN_RUNS)
    curves = load()
    chosen = [c for c in CASES if c.key in curves and c.tuning == options.tuning]
    best = constants(curves)
    scores: dict[tuple[str, int, float], list[float]] = defaultdict(list)
    sure: dict[tuple[str, int], list[float]] = defaultdict(list)
    kept = {}
    for case in chosen:
        curve = curves[case.key]
        scores["oracle", case.steps, 1.0] += oracle(curve)
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
            found = {k: score(curve, equivalent(case, lr, scale)) for k, lr in rates.items()}
            kept[f"{case.key} / x{scale:.3g}"] = {
                "lr": test.suggestion,
                "confidence": test.confidence,
                "cost": test.cost,
                "score": round(found["find_lr"], 3),
            }
            for name, value in found.items():
                scores[name, case.steps, scale].append(value)
            sure[test.confidence, case.steps].append(found["find_lr"])
    part = "tuning" if options.tuning else "test"
    columns = [(steps, scale) for steps in LENGTHS for scale in SCALES]
    lines = [
        f"Percent of {len(chosen)} {part} cases within 1.1x / 1.5x / worse than 3x.",
        "",
        "| rule | " + " | ".join(f"{steps} steps, loss x{s:.2g}" for steps, s in columns) + " |",
        "|---" * (len(columns) + 1) + "|",
    ]
    for name in dict.fromkeys(key[0] for key in scores):
        cells = [percentages(v) if (v := scores.get((name, *c))) else "" for c in columns]
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    lines += ["", "`find_lr` by its confidence, all scales together:", ""]
    lines += ["| confidence | steps | suggestions | score |", "|---|---|---|---|"]
    for (word, steps), values in sorted(sure.items()):
        lines.append(f"| {word} | {steps} | {len(values)} | {percentages(values)} |")
    table = "\n".join(lines) + "\n"
    print(table)
    RESULTS.mkdir(parents=True, exist_ok=True)
    (RESULTS / f"{part}.md").write_text(table, encoding="utf-8")
    (RESULTS / f"{part}-cases.json").write_text(json.dumps(kept, indent=0) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
