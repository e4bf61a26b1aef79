"""What a search's worker does, and what is told to the study."""

from __future__ import annotations

import hashlib
import math
import os
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from ..tasks import LOSS, Task
from ..training import Recipe
from ..training.prepare import range_test
from . import search as optunas
from .folds import cross_validated, folded
from .outcome import Outcome
from .work import Pruned, trained, warm_up

if TYPE_CHECKING:
    from optuna.study import Study as OptunaStudy
    from optuna.trial import Trial

__all__ = ["SearchJob", "Searcher"]

Event = dict[str, Any]


@dataclass(frozen=True)
class SearchJob:
    """One thing to do for a search.

    Args:
        kind: a range test, a trial, the recipe as it is, or a judgement at the end.
        number: of the trial, or in its kind.
        recipe: resolved; with a learning rate, unless that is what is sought.
        repeats: which drawings of the folds it trains on; 0 is the search's own.
        trial_id: of the trial, in the storage.
    """

    kind: Literal["range test", "trial", "baseline", "check"]
    number: int
    recipe: Recipe
    repeats: tuple[int, ...]
    trial_id: int = -1

    @property
    def key(self) -> str:
        """What its result is kept under in the study."""
        digest = hashlib.sha256(self.recipe.model_dump_json().encode()).hexdigest()[:8]
        return f"{self.kind} {self.number} {digest}"


class Searcher:
    """What the processes of a search have in common: they are forked with it.

    Args:
        task: what is trained.
        folder: where runs are kept.
        place: the study's storage.
        name: the study's.
        plan: what is asked.
    """

    def __init__(self, task: Task, folder: Path, place: str | Path, name: str, plan: Event) -> None:
        self.task = task
        self.folder = folder
        self.place = place
        self.name = name
        self.plan = plan
        self.maximize: bool = plan["higher_is_better"]
        self._folds = lru_cache(1)(
            lambda repeat: folded(task, plan["folds"], plan["seed"] + repeat)
        )

    def opened(self) -> tuple[OptunaStudy, bool]:
        """The study, and whether it was made just now."""
        return optunas.opened(
            self.place,
            self.name,
            maximize=self.maximize,
            sampler=self.plan["sampler"],
            validations=self._validations(),
            seed=self.plan["seed"],
        )

    def do(self, job: SearchJob, alive: Callable[[], None]) -> Event:
        """Do a job in a worker; returns plain data."""
        warm_up(self.task, job.recipe)
        if job.kind == "range test":
            return range_test(self.task, job.recipe, lambda _: alive()).to_dict()
        watcher = None
        if job.kind == "trial":
            with optunas.quietly():
                watcher = _Watcher(self._trial(job), by_loss=self._by_loss)
        outcomes: list[Outcome] = []
        name = job.key.replace(" ", "-")
        if job.kind != "trial":  # two processes may be at it at the same time
            name += f"-{os.getpid()}"
        for repeat in job.repeats:
            for k, fold in enumerate(self._folds(repeat)):
                outcome = trained(
                    fold,
                    job.recipe,
                    self.folder / "trials" / name / f"{repeat}-{k}",
                    prune=job.kind == "trial",
                    alive=alive,
                    on_event=watcher,
                )
                watcher = None  # the first fold alone is held against other trials'
                outcomes.append(outcome)
                if outcome.failed:
                    return self._result(outcomes, None)
        return self._result(outcomes, self._value(outcomes))

    def told(self, study: OptunaStudy, job: SearchJob, result: Event) -> None:
        """Hand a trial's result to the study."""
        from optuna.trial import TrialState

        study.set_user_attr(f"result {job.number}", {**result, "recipe": job.recipe.model_dump()})
        if result["value"] is None:
            study.tell(job.number, state=TrialState.PRUNED, skip_if_finished=True)
        else:
            study.tell(job.number, result["value"], skip_if_finished=True)

    def best(self, study: OptunaStudy) -> Recipe | None:
        """The recipe of the best trial; None where every trial was given up."""
        from optuna.trial import TrialState

        done = [
            t
            for t in study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
            if f"result {t.number}" in study.user_attrs
        ]
        if not done:
            return None
        sign = -1 if self.maximize else 1
        number = min(done, key=lambda t: sign * (math.inf if t.value is None else t.value)).number
        return Recipe(**study.user_attrs[f"result {number}"]["recipe"])

    @property
    def _by_loss(self) -> bool:
        return bool(self.plan["objective"] == LOSS)

    def _trial(self, job: SearchJob) -> Trial:
        """The trial, to report to from another process than the one that asked for it."""
        from optuna.trial import Trial

        study, _ = self.opened()
        return Trial(study, job.trial_id)

    def _validations(self) -> int:
        """How many validations a run has, about."""
        recipe = Recipe(**next(iter(self.plan["recipes"].values())))
        total = recipe.total_steps(self.task)
        every = recipe.validate_steps or recipe.validate_epochs * recipe.steps_per_epoch(self.task)
        return -(-total // every)

    def _value(self, outcomes: list[Outcome]) -> float:
        return cross_validated(outcomes, by_loss=self._by_loss, higher_is_better=self.maximize)

    def _result(self, outcomes: list[Outcome], value: float | None) -> Event:
        last = outcomes[-1]
        return {
            "value": value,
            "values": [] if value is None else [self._value([o]) for o in outcomes],
            "ending": last.ending,
            "finding": last.finding,
            "steps": sum(o.steps for o in outcomes),
        }


class _Watcher:
    """Reports the first fold's validations; raises where the study's pruner has seen enough."""

    def __init__(self, trial: Trial, *, by_loss: bool) -> None:
        self._trial = trial
        self._field = "loss" if by_loss else "metric"
        self._seen = 0

    def __call__(self, event: Event) -> None:
        if event["event"] != "validation":
            return
        self._seen += 1
        self._trial.report(event[self._field], self._seen)
        if self._trial.should_prune():
            raise Pruned(f"lagged behind other trials after {event['step']} steps")
