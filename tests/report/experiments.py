"""A comparison's journal and a search's file made by hand: no training."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

from downslope import Comparison, Recipe, Study
from downslope.tuning.study import Tried, Verdict

ENVIRONMENT = {"python": "3.11.7", "packages": {"torch": "2.13.0"}, "threads": 1}


def make_comparison(
    folder: Path, *, labels: tuple[str, ...] = ("adamw", "sgd", "lion"), seeds: int = 5
) -> Comparison:
    """The first label is fast, the second slower, the others miss the target with every seed."""
    folder.mkdir(parents=True, exist_ok=True)
    recipes = {label: Recipe(lr=0.01, epochs=2).model_dump(mode="json") for label in labels}
    plan = {
        "event": "plan", "format": 1, "task": "digits", "source": {}, "data": "0",
        "metric": "accuracy", "higher_is_better": True, "contenders": recipes,
        "steps": dict.fromkeys(labels, 100), "seeds": list(range(1, seeds + 1)), "trials": 2,
        "search": ["lr"], "goal": None, "budget": None, "parameters": 8474,
        "state_bytes": dict.fromkeys(labels, 8.0),
    }  # fmt: skip
    entries: list[dict[str, Any]] = [plan, {"event": "environment", **ENVIRONMENT}]
    for k, label in enumerate(labels):
        for number in range(2):
            result = _outcome(k, 0, "pruned" if number else "finished")
            entries.append(_entry("trial", label, number, recipes[label], result))
    entries.append({"event": "target", "value": 0.9})
    entries.append({"event": "choice", "value": dict.fromkeys(labels, 0)})
    entries += [
        _entry("run", label, seed, recipes[label], _outcome(k, seed, "finished"))
        for seed in range(1, seeds + 1)
        for k, label in enumerate(labels)
    ]
    lines = "".join(json.dumps(entry) + "\n" for entry in entries)
    (folder / "journal.jsonl").write_text(lines)
    return Comparison.load(folder)


def _entry(kind: str, label: str, number: int, recipe: Any, result: Any) -> dict[str, Any]:
    return {"event": kind, "label": label, "number": number, "recipe": recipe, "result": result}


def _outcome(rank: int, seed: int, ending: str) -> dict[str, Any]:
    slope = (0.05, 0.025, 0.004)[min(rank, 2)] * (1 + 0.03 * seed)
    curve = [[s, 1 - math.exp(-slope * s), 2.3 * math.exp(-slope * s)] for s in range(5, 101, 5)]
    finding = "lr too high (the loss rises, step 3)" if ending == "pruned" else ""
    return {
        "curve": curve,
        "steps": 100,
        "step_seconds": 0.002,
        "ending": ending,
        "finding": finding,
    }


def make_study(folder: Path, *, trials: int = 20, beaten: bool = True) -> Study:
    """A search over three hyperparameters with some trials given up."""
    folder.mkdir(parents=True, exist_ok=True)
    default = Recipe(lr=1e-3, epochs=2)
    tried = [
        Tried(
            number=k,
            params={"lr": 1e-4 * 1.3**k, "beta1": 0.9 - 0.01 * k, "weight_decay": 0.01},
            value=None if k % 5 == 4 else 0.1 + 0.02 * abs(k - 8),
            ending="pruned" if k % 5 == 4 else "finished",
            finding="lagged behind other trials after 12 steps" if k % 5 == 4 else "",
            by=f"host:{100 + k % 2}",
            seconds=1.5,
            steps=200,
        )
        for k in range(trials)
    ]
    recipes = {"adamw": default.model_dump(mode="json")}
    study = Study(
        path=folder,
        plan={
            "task": "cancer", "objective": "loss", "higher_is_better": False, "folds": 5, "seed": 0,
            "sampler": "tpe", "recipes": recipes, "environment": ENVIRONMENT,
        },
        dimensions=(
            ("adamw", "lr", 1e-4, 1e-2, False),
            ("adamw", "beta1", 0.5, 0.98, True),
            ("adamw", "weight_decay", 2e-3, 5e-2, False),
        ),
        trials=tuple(tried),
        baseline=0.2,
        default=default,
        best=default.replace(lr=8e-4),
        verdict=Verdict.of(
            [0.1, 0.11, 0.12, 0.1], [0.2, 0.22, 0.21, 0.2] if beaten else [0.1, 0.1, 0.1, 0.12],
            folds=5, higher_is_better=False,
        ),
        importance={"lr": 0.8, "1 - beta1": 0.15, "weight_decay": 0.05},
    )  # fmt: skip
    (folder / "study.json").write_text(json.dumps(study.to_dict()))
    return Study.load(folder)
