"""The phases of a comparison, in their order; what the journal has is not done again."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from ..training import Recipe
from .journal import Journal
from .outcome import Outcome
from .plan import affordable_steps, chosen, default_target, finalists, needs_trials
from .pool import Pool
from .space import placed, points, space_of
from .work import Job

__all__ = ["Course"]

Event = dict[str, Any]

LOOKS = 40  # validations a run, where the recipe does not say how often
PROBE_STEPS = 24  # steps, and validations after every eighth, that a budget is planned by


class Course:
    """Does what is left to do of a comparison.

    Args:
        journal: what was done, and where each result goes.
        pool: who does it.
        folder: the comparison's directory.
        plan: what was asked.
        contenders: their resolved recipes, by label.
        workers: how many work side by side.
        tell: told of each phase and each finished job.
    """

    def __init__(
        self,
        journal: Journal,
        pool: Pool[Job],
        folder: Path,
        plan: Event,
        contenders: Mapping[str, Recipe],
        workers: int,
        tell: Callable[[Event], None],
    ) -> None:
        self._workers = workers
        self._journal = journal
        self._pool = pool
        self._folder = folder
        self._plan = plan
        self._contenders = contenders
        self._tell = tell

    def complete(self) -> None:
        """Do all that is left to do."""
        contenders = self._of_length()
        centres = self._centres(contenders)
        needed = needs_trials(self._plan)
        trials = {label: self._trials(r, centres[label]) for label, r in contenders.items()}
        told = self._do(
            "tuning",
            [
                Job("trial", label, k, trials[label][k], self._folder / "tuning" / f"{label}-{k}")
                for k in range(self._plan["trials"] if needed else 0)
                for label in contenders
            ],
        )
        tuned = {
            label: [Outcome.from_dict(told["trial", label, k]) for k in range(len(trials[label]))]
            if needed
            else []
            for label in contenders
        }
        target = self._kept("target", lambda: self._target(tuned))
        picks = self._choice(trials, tuned, target) if needed else dict.fromkeys(contenders, 0)
        self._kept("choice", lambda: picks)
        self._do(
            "runs that count",
            [
                Job(
                    "run",
                    label,
                    seed,
                    trials[label][pick].replace(seed=seed),
                    self._run(label, seed),
                )
                for seed in self._plan["seeds"]
                for label, pick in picks.items()
                if pick is not None
            ],
        )

    def _choice(
        self,
        trials: Mapping[str, Sequence[Recipe]],
        tuned: Mapping[str, Sequence[Outcome]],
        target: float,
    ) -> dict[str, int | None]:
        """Of each contender the best trial, after the two best have run once more."""
        higher: bool = self._plan["higher_is_better"]
        last = {k: finalists(o, target, higher_is_better=higher) for k, o in tuned.items()}
        seed = max(self._plan["seeds"]) + 1  # neither the tuning's nor of any run that counts
        again = self._do(
            "the best trials once more",
            [
                Job("final", label, k, trials[label][k].replace(seed=seed), self._again(label, k))
                for label, numbers in last.items()
                if len(numbers) > 1
                for k in numbers
            ],
        )
        runs = {label: {k: [tuned[label][k]] for k in numbers} for label, numbers in last.items()}
        for (_, label, k), result in again.items():
            runs[label][k].append(Outcome.from_dict(result))
        return {k: chosen(both, target, higher_is_better=higher) for k, both in runs.items()}

    def _trials(self, recipe: Recipe, centre: float) -> list[Recipe]:
        """The recipes to try: as it is, and the same points of every contender's own space."""
        space = space_of(recipe, centre, self._plan["search"])
        first = recipe.replace(lr=centre)
        drawn = points(len(space), self._plan["trials"] - 1, seed=recipe.seed)
        return [
            first,
            *(placed(first, {d: d.at(v) for d, v in zip(space, at, strict=True)}) for at in drawn),
        ]

    def _again(self, label: str, number: int) -> Path:
        return self._folder / "tuning" / f"{label}-{number}-again"

    def _run(self, label: str, seed: int) -> Path:
        return self._folder / "runs" / f"{label}-{seed}"

    def _of_length(self) -> Mapping[str, Recipe]:
        """The contenders, with as many steps as the budget pays for and as many validations."""
        budget, jobs = self._plan["budget"], []
        if budget is not None:
            short = {"max_steps": PROBE_STEPS, "validate_steps": PROBE_STEPS // 3}
            for label, recipe in self._contenders.items():
                probe = recipe.replace(**short, lr=recipe.lr or recipe.default_lr())
                jobs.append(Job("probe", label, 0, probe, self._folder / "probes" / label))
        probes = self._do("trying out how long steps take", jobs)
        steps = dict(self._plan["steps"])
        if budget is not None:
            steps = self._kept(
                "length",
                lambda: affordable_steps(
                    self._plan, {k: probes["probe", k, 0] for k in steps}, self._workers
                ),
            )
        return {
            label: recipe.replace(
                max_steps=steps[label],
                validate_steps=recipe.validate_steps or max(2, steps[label] // LOOKS),
            )
            for label, recipe in self._contenders.items()
        }

    def _centres(self, contenders: Mapping[str, Recipe]) -> dict[str, float]:
        """The learning rate of each contender: its own, or the range test's."""
        sought = {label: r for label, r in contenders.items() if r.lr is None}
        tests = self._do(
            "range tests",
            [Job("range test", k, 0, r, self._folder) for k, r in sought.items()],
        )
        found = {label: tests["range test", label, 0]["suggestion"] for label in sought}
        return {k: r.lr or found[k] or r.default_lr() for k, r in contenders.items()}

    def _target(self, tuned: Mapping[str, list[Outcome]]) -> float:
        if self._plan["goal"] is not None:
            return float(self._plan["goal"])
        return default_target(tuned, higher_is_better=self._plan["higher_is_better"])

    def _do(self, phase: str, jobs: Sequence[Job]) -> dict[tuple[str, str, int], Any]:
        """The results of the jobs, by their keys; each is in the journal before the next begins."""
        kinds = {job.kind for job in jobs}
        results = {
            (e["event"], e["label"], e["number"]): e["result"]
            for e in self._journal.entries
            if e["event"] in kinds
        }
        left = [job for job in jobs if job.key not in results]
        if left:
            self._tell(
                {"event": "phase", "name": phase, "jobs": len(jobs), "done": len(jobs) - len(left)}
            )
        for job, result in self._pool.run(left):
            kind, label, number = job.key
            entry = {
                "event": kind,
                "label": label,
                "number": number,
                "recipe": job.recipe.model_dump(),
                "result": result,
            }
            self._journal.write(entry)
            results[job.key] = result
            self._tell(entry)
        return results

    def _kept(self, name: str, decide: Callable[[], Any]) -> Any:
        """A decision: the journal's, or one that is made and written down now."""
        for entry in self._journal.entries:
            if entry["event"] == name:
                return entry["value"]
        value = decide()
        self._journal.write({"event": name, "value": value})
        return value
