"""What came out of a search: trials, the judgement of the best one, and both in words."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import fmean, stdev
from typing import TYPE_CHECKING, Any

from ..errors import InputError, MissingExtraError
from ..training import Recipe
from .space import Dimension
from .statistics import ALPHA

if TYPE_CHECKING:
    from optuna.study import Study as OptunaStudy

    from .trials import Searcher

__all__ = ["STUDY", "Study", "Tried", "Verdict", "concluded", "corrected_t_test"]

#: What a folder's search came to, as JSON.
STUDY = "study.json"


@dataclass(frozen=True)
class Tried:
    """A trial.

    Args:
        number: in the order in which they were begun.
        params: what was searched, by name; ``optimizer`` where there were several.
        value: the objective; None of a trial that was given up.
        ending: as a run's; ``"pruned"`` also where other trials were ahead.
        finding: why it was given up.
        by: host and process.
        seconds: that it took.
        steps: that it trained, over all folds.
    """

    number: int
    params: Mapping[str, Any]
    value: float | None
    ending: str
    finding: str
    by: str
    seconds: float
    steps: int


@dataclass(frozen=True)
class Verdict:
    """The best trial's recipe against the default, on pairs of runs that neither was chosen by.

    Args:
        best, default: the objective of each pair's runs.
        difference: mean of default less best, or the other way where higher is better: above 0
            the best is better.
        p: of the corrected paired t-test.
    """

    best: tuple[float, ...]
    default: tuple[float, ...]
    difference: float
    p: float

    @classmethod
    def of(
        cls,
        best: Sequence[float],
        default: Sequence[float],
        *,
        folds: int,
        higher_is_better: bool,
    ) -> Verdict:
        """From the values of the pairs; without folds (1) they share no rows beyond their task."""
        sign = -1 if higher_is_better else 1
        gains = [sign * (d - b) for b, d in zip(best, default, strict=True)]
        p = corrected_t_test(gains, 0.0 if folds == 1 else 1 / (folds - 1))
        return cls(tuple(best), tuple(default), fmean(gains), p)

    @property
    def beaten(self) -> bool:
        """Whether the default was beaten by more than noise."""
        return self.difference > 0 and self.p < ALPHA


def corrected_t_test(differences: Sequence[float], ratio: float) -> float:
    """Two-sided p-value of a mean of paired differences whose runs share rows.

    Nadeau and Bengio, Inference for the Generalization Error, Machine Learning 52, 2003: the
    variance of the mean is taken as ``(1 / n + ratio) * s**2`` instead of ``s**2 / n``.

    Args:
        differences: of n pairs, 2 at least.
        ratio: rows held out over rows trained on, in one fold.

    >>> round(corrected_t_test([0.1, 0.2, 0.15, 0.12, 0.18], ratio=0.25), 4)
    0.0056
    """
    try:
        from scipy.stats import t
    except ImportError:
        raise MissingExtraError("scikit-learn", "tune", "Judging a search") from None
    spread = stdev(differences) * math.sqrt(1 / len(differences) + ratio)
    mean = fmean(differences)
    if spread == 0:
        return 1.0 if mean == 0 else 0.0
    return float(2 * t.sf(abs(mean) / spread, len(differences) - 1))


@dataclass(frozen=True)
class Study:
    """A search, as far as it has come.

    Args:
        path: its directory.
        plan: what was asked.
        dimensions: what was searched: optimizer, name, lowest and highest value, and whether it was
            drawn as 1 less it.
        trials: those that have ended.
        baseline: the default recipe's value on the folds of the search.
        default, best: the recipes; no best where every trial was given up.
        verdict: None as long as another process works on.
        importance: share of the values' spread that each parameter explains; empty where there are
            too few trials to say.
        elsewhere: trials that other processes are still at.
    """

    path: Path
    plan: Mapping[str, Any]
    dimensions: tuple[tuple[str, str, float, float, bool], ...]
    trials: tuple[Tried, ...]
    baseline: float | None
    default: Recipe
    best: Recipe | None
    verdict: Verdict | None
    importance: Mapping[str, float]
    elsewhere: int = 0

    @classmethod
    def load(cls, folder: str | Path) -> Study:
        """The study in a directory.

        Raises:
            InputError: there is none.
        """
        file = Path(folder) / STUDY
        try:
            values = json.loads(file.read_text(encoding="utf-8"))
            verdict = values["verdict"]
            return cls(
                path=Path(folder),
                plan=values["plan"],
                dimensions=tuple(
                    (n, d, low, high, lacking)
                    for n, d, low, high, lacking in values["dimensions"]
                ),
                trials=tuple(Tried(**trial) for trial in values["trials"]),
                baseline=values["baseline"],
                default=Recipe(**values["default"]),
                best=None if values["best"] is None else Recipe(**values["best"]),
                verdict=None if verdict is None else Verdict(
                    tuple(verdict["best"]), tuple(verdict["default"]), verdict["difference"],
                    verdict["p"],
                ),
                importance=values["importance"],
                elsewhere=values["elsewhere"],
            )  # fmt: skip
        except (OSError, ValueError, KeyError, TypeError):
            raise InputError(
                f"{str(folder)!r} is not the directory of a search that has come to its end. Give "
                "one that `downslope tune` or tune() made."
            ) from None

    def to_dict(self) -> dict[str, Any]:
        """Plain data, for a file."""
        return {
            **asdict(self),
            "path": str(self.path),
            "default": self.default.model_dump(mode="json"),
            "best": None if self.best is None else self.best.model_dump(mode="json"),
        }

    @property
    def better(self) -> Recipe:
        """The recipe that did better in the judgement: the default, unless the best trial's did."""
        if self.best is None or self.verdict is None or self.verdict.difference <= 0:
            return self.default
        return self.best

    @property
    def what(self) -> str:
        """The objective in words."""
        objective = str(self.plan["objective"])
        return f"cross-validated {objective}" if self.plan["folds"] > 1 else objective

    @property
    def answer(self) -> str:
        """Whether the search beat the default recipe."""
        if self.elsewhere:
            return (
                f"Not decided yet: another process is at {self.elsewhere} trials of this study. "
                "The last one to end says what came out."
            )
        if self.best is None or self.verdict is None:
            return "Every trial was given up, so there is nothing to hold against the default."
        v, folds = self.verdict, self.plan["folds"]
        numbers = f"{fmean(v.best):.4g} against {fmean(v.default):.4g}"
        pairs = f"{len(v.best)} {'folds' if folds > 1 else 'seeds'} that neither was chosen by"
        sign = -1 if self.plan["higher_is_better"] else 1
        wins = sum(sign * b < sign * d for b, d in zip(v.best, v.default, strict=True))
        told = f"{self.what} {numbers} on {pairs} (better in {wins}, p = {v.p:.2g})"
        if v.beaten:
            return f"The search beat the default recipe: {told}."
        if v.difference > 0:
            return f"The search could not beat the default recipe by more than noise: {told}."
        return f"The search could not beat the default recipe: {told}."

    def recipe_file(self) -> str:
        """The better recipe as TOML, with the answer above it."""
        lines = [f"# {self.answer}", "# downslope train TASK --recipe THIS FILE"]
        return "\n".join([*lines, self.better.to_toml()])

    def __str__(self) -> str:
        return "\n".join([self.answer, "", *self.table()])

    def table(self) -> list[str]:
        """What the better recipe has that the default has not, and how the trials ended."""
        given_up = sum(t.value is None for t in self.trials)
        lines = [f"trials      {len(self.trials)}, of which {given_up} were given up"]
        changed = self.better.differences(self.default)
        width = max(12, *(len(name) + 2 for name in changed)) if changed else 12
        for name, (before, now) in changed.items():
            lines.append(f"{name:{width}}{_shown(now)} (default {_shown(before)})")
        if not changed:
            lines.append("kept        the default recipe")
        return lines


def concluded(
    searcher: Searcher,
    study: OptunaStudy,
    spaces: Mapping[str, Sequence[Dimension]],
    bases: Mapping[str, Recipe],
    baseline: float | None,
    best: Recipe | None,
    verdict: Verdict | None,
    elsewhere: int,
) -> Study:
    """The record of a study as it is now."""
    from .search import finished

    trials = []
    for trial in finished(study):
        result = study.user_attrs.get(f"result {trial.number}", {})
        recipe = Recipe(**result["recipe"]) if result else None
        name = recipe.optimizer if recipe is not None else next(iter(bases))
        params: dict[str, Any] = {"optimizer": name} if len(bases) > 1 else {}
        if recipe is not None:
            params |= {d.name: d.of(recipe) for d in spaces[name]}
        trials.append(
            Tried(
                number=trial.number,
                params=params,
                value=trial.value if result.get("value") is not None else None,
                ending=result.get("ending", "failed"),
                finding=result.get("finding", ""),
                by=trial.user_attrs.get("by", ""),
                seconds=trial.duration.total_seconds() if trial.duration is not None else 0.0,
                steps=result.get("steps", 0),
            )
        )
    return Study(
        path=searcher.folder,
        plan=searcher.plan,
        dimensions=tuple(
            (n, d.name, *d.range, d.complement) for n, space in spaces.items() for d in space
        ),
        trials=tuple(trials),
        baseline=baseline,
        default=next(iter(bases.values())),
        best=best,
        verdict=verdict,
        importance=_importance(study, [t.number for t in trials if t.value is not None]),
        elsewhere=elsewhere,
    )


def _importance(study: OptunaStudy, complete: Sequence[int]) -> dict[str, float]:
    """Optuna's estimate, where there are several parameters that every complete trial has."""
    from optuna.importance import get_param_importances

    from .search import ENOUGH

    kept = [t for t in study.get_trials(deepcopy=False) if t.number in complete]
    shared = set.intersection(*(set(t.params) for t in kept)) if kept else set()
    if len(kept) < ENOUGH or len(shared) < 2 or len({t.value for t in kept}) < 2:
        return {}
    found = get_param_importances(study, params=sorted(shared))
    return {name: float(share) for name, share in found.items()}


def _shown(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{k} = {v}" for k, v in value.items()) or "none"
    return f"{value:.4g}" if isinstance(value, float) else str(value)
