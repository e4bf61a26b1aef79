"""`tune`: what it takes, and in which order things are done. Optuna's part is in ``search.py``."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from ..errors import InputError, is_whole
from ..files import write_atomically
from ..randomness import randomness_restored
from ..tasks import LOSS, Task, fingerprint
from ..training import Recipe
from ..training.environment import environment
from . import search as optunas
from ._compare import processes_for
from .journal import ASIDE, named
from .pool import Pool
from .search import Sampler
from .space import Dimension, space_of
from .study import STUDY, Study, Verdict, concluded
from .trials import Searcher, SearchJob

if TYPE_CHECKING:
    from optuna.study import Study as OptunaStudy

__all__ = ["tune"]

Event = dict[str, Any]

FORMAT = 1
REPEATS = 2  # of the folds that the best recipe is judged by
SEEDS = 5  # where there are no folds
SETTLING = 30.0  # seconds in which a process that has just made a study writes what it is about


def tune(
    task: Task,
    optimizers: Sequence[str] | None = None,
    *,
    recipe: Recipe | None = None,
    trials: int = 40,
    folds: int = 5,
    search: Sequence[str] | None = None,
    sampler: Sampler = "tpe",
    storage: str | None = None,
    run_dir: str | Path | None = None,
    processes: int | None = None,
    on_event: Callable[[Event], None] | None = None,
) -> Study:
    """Search for a better recipe, and say whether what was found beats the default.

    1. A *range test* finds the centre of the learning rate's range; the other ranges follow from
       the optimizer's rule (:func:`downslope.tuning.space_of`).
    2. *Trials*, chosen by Optuna: the first near the recipe as it is, the others where the sampler
       thinks. A trial trains on each fold; its value is the best mean validation loss over them
       (or that of the recipe's ``best``). Hyperband looks at its first fold and gives up what lags
       behind; the doctor gives up what cannot recover.
    3. *The answer*: the best trial and the recipe as it is, on folds that neither was chosen by (or
       with other seeds, where there are no folds), compared by a paired t-test that is corrected
       for the rows which folds share (Nadeau and Bengio, Machine Learning 52, 2003). The better of
       the two is written as ``recipe.toml``, for ``downslope train --recipe``.

    The study is kept in a journal file, or in any storage of Optuna's. The same call, in another
    process or on another machine with the same storage, shares the study; after a kill it goes on.

    Args:
        task: what is trained. Folds are parts of its training rows; its validation rows are kept
            out of the search (but with ``folds=1``).
        optimizers: names to choose among; None: the recipe's alone.
        recipe: what is not searched, and where the search begins.
        trials: how many, over all processes and calls together.
        folds: of the cross validation; 1: none.
        search: hyperparameters to search; None: all that there are ranges for.
        sampler: ``"tpe"`` or ``"random"``.
        storage: a URL such as ``sqlite:///study.db``; None: a journal file in ``run_dir``.
        run_dir: a directory; None: one under ``runs`` whose name follows from all that is asked.
        processes: forked ones that train side by side; 0: none but this one. None: one for each
            core, on the CPU.
        on_event: told of ``phase`` events and of each trial that ended.

    Raises:
        InputError: a value that is not allowed, or a storage that cannot be used.
        MissingExtraError: Optuna or scikit-learn is not installed.

    >>> import tempfile
    >>> from downslope import load_task
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     study = tune(load_task("digits"), recipe=Recipe(lr=3e-3, max_steps=4), trials=2,
    ...                  folds=2, search=["lr"], run_dir=folder, processes=0)
    ...     len(study.trials), Recipe.from_toml(study.path / "recipe.toml").optimizer
    (2, 'adamw')
    """
    optunas.import_optuna()
    base = recipe or Recipe()
    bases = _bases(task, base, optimizers)
    count = processes_for("tune", processes, bases.values())
    _check(base, bases, trials, folds, search, sampler)
    plan = _plan(task, bases, folds, search, sampler, base)
    name = named("tune", task, plan)
    folder = Path(run_dir) if run_dir is not None else Path("runs") / name
    place: str | Path = storage or folder / "study.journal"
    _check_folder(folder)
    folder.mkdir(parents=True, exist_ok=True)
    searcher = Searcher(task, folder, place, name, plan)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with (
            optunas.quietly(),
            randomness_restored(),
            Pool[SearchJob](searcher.do, count) as pool,
        ):
            tell = on_event or _nobody
            return _Hunt(searcher, pool, bases, max(count, 1), tell).complete(trials)
    finally:
        torch.set_num_threads(threads)


class _Hunt:
    """The phases of a search."""

    def __init__(
        self,
        searcher: Searcher,
        pool: Pool[SearchJob],
        bases: Mapping[str, Recipe],
        workers: int,
        tell: Callable[[Event], None],
    ) -> None:
        self._searcher = searcher
        self._pool = pool
        self._bases = bases
        self._workers = workers
        self._tell = tell
        self._study, made = searcher.opened()
        _agree(self._study, searcher.plan, searcher.place, made=made)

    def complete(self, trials: int) -> Study:
        """Do all that is left, and read the result."""
        study, searcher = self._study, self._searcher
        bases = self._with_lr()
        spaces = {k: space_of(r, _lr(r), searcher.plan["search"]) for k, r in bases.items()}
        [first, *_] = bases
        baseline = self._once(
            "trying the recipe as it is", [SearchJob("baseline", 0, bases[first], (0,))]
        )[0]
        optunas.reap(study)
        if not study.get_trials(deepcopy=False):
            study.enqueue_trial(_beginning(first, bases, spaces[first]), skip_if_exists=True)
        left = trials - len(optunas.finished(study))
        if left > 0:
            self._tell({"event": "phase", "name": "trials", "jobs": trials, "done": trials - left})
        for job, result in self._pool.run(self._asked(trials, bases, spaces)):
            searcher.told(study, job, result)
            self._tell({"event": "search", "job": job, "result": result})
        elsewhere = optunas.running_elsewhere(study)
        best = searcher.best(study)
        verdict = None
        if best is not None and not elsewhere:
            verdict = self._judged(best, bases[first])
        result = concluded(
            searcher, study, spaces, bases, baseline["value"], best, verdict, len(elsewhere)
        )
        if not elsewhere:
            text = json.dumps(result.to_dict(), indent=1)
            write_atomically(searcher.folder / STUDY, text)
        if verdict is not None:
            write_atomically(searcher.folder / "recipe.toml", result.recipe_file())
        return result

    def _with_lr(self) -> dict[str, Recipe]:
        """The recipes with learning rates, the range test's being the study's from then on."""
        sought = {k: r for k, r in self._bases.items() if r.lr is None}
        known = self._study.user_attrs.get("centres", {})
        if sought and not known:
            jobs = [SearchJob("range test", k, r, ()) for k, r in enumerate(sought.values())]
            tests = self._once("range tests", jobs)
            centres = {
                name: tests[k]["suggestion"] or recipe.default_lr()
                for k, (name, recipe) in enumerate(sought.items())
            }
            if "centres" not in self._study.user_attrs:  # nobody was faster
                self._study.set_user_attr("centres", centres)
            known = self._study.user_attrs["centres"]
        return {
            k: r if r.lr is not None else r.replace(lr=known[k]) for k, r in self._bases.items()
        }

    def _asked(
        self, trials: int, bases: Mapping[str, Recipe], spaces: Mapping[str, Sequence[Dimension]]
    ) -> Iterator[SearchJob]:
        """A job for each trial that is still to be made, asked for when somebody is free."""
        mine: set[int] = set()
        while True:
            ended = {t.number for t in optunas.finished(self._study)}
            others = {t.number for t in optunas.running_elsewhere(self._study)} - mine
            if len(ended | mine) + len(others - ended) >= trials:
                return
            trial = self._study.ask()
            trial.set_user_attr("by", optunas.me())
            mine.add(trial.number)
            recipe = optunas.asked(trial, bases, spaces)
            yield SearchJob("trial", trial.number, recipe, (0,), trial_id=trial._trial_id)

    def _once(self, phase: str, jobs: Sequence[SearchJob]) -> dict[int, Any]:
        """The results of jobs that are done once a study, kept among its attributes."""
        kept = self._study.user_attrs
        left = [job for job in jobs if job.key not in kept]
        if left:
            done = len(jobs) - len(left)
            self._tell({"event": "phase", "name": phase, "jobs": len(jobs), "done": done})
        for job, result in self._pool.run(left):
            self._study.set_user_attr(job.key, result)
            self._tell({"event": "search", "job": job, "result": result})
        kept = self._study.user_attrs
        return {job.number: kept[job.key] for job in jobs}

    def _judged(self, best: Recipe, default: Recipe) -> Verdict:
        """Both recipes on folds, or with seeds, that neither was chosen by."""
        folds = self._searcher.plan["folds"]
        repeats = range(1, 1 + (SEEDS if folds == 1 else REPEATS))
        jobs = [
            SearchJob("check", 2 * k + which, recipe.replace(seed=recipe.seed + repeat), (repeat,))
            for k, repeat in enumerate(repeats)
            for which, recipe in enumerate((best, default))
        ]
        found = self._once("judging the best on folds it was not chosen by", jobs)
        return Verdict.of(
            [v for k, _ in enumerate(repeats) for v in found[2 * k]["values"]],
            [v for k, _ in enumerate(repeats) for v in found[2 * k + 1]["values"]],
            folds=folds,
            higher_is_better=self._searcher.maximize,
        )


def _bases(task: Task, base: Recipe, optimizers: Sequence[str] | None) -> dict[str, Recipe]:
    names = list(dict.fromkeys(optimizers if optimizers is not None else [base.optimizer]))
    if not names:
        raise InputError("tune: one optimizer at least.")
    return {name: base.replace(optimizer=name).resolve(task) for name in names}


def _check(
    base: Recipe,
    bases: Mapping[str, Recipe],
    trials: int,
    folds: int,
    search: Sequence[str] | None,
    sampler: str,
) -> None:
    for name, value in (("trials", trials), ("folds", folds)):
        if not is_whole(value, 1, 100_000):
            raise InputError(f"tune: {name} must be a whole number >= 1, got {value!r}.")
    if sampler not in ("tpe", "random"):
        raise InputError(f"tune: sampler must be 'tpe' or 'random', got {sampler!r}.")
    if base.heal:
        raise InputError("tune: heal = true changes recipes while they are tried. Leave it out.")
    for recipe in bases.values():
        if not space_of(recipe, 1.0, search):
            raise InputError(f"tune: there is nothing to search of {recipe.optimizer}.")


def _check_folder(folder: Path) -> None:
    if folder.exists() and not folder.is_dir():
        raise InputError(f"tune: {str(folder)!r} is a file. Choose a new directory.")
    found = [path.name for path in folder.iterdir()] if folder.exists() else []
    if found and not any(name == "trials" or name.startswith("study.") for name in found):
        raise InputError(f"tune: {str(folder)!r} holds something else. Choose a new directory.")


def _plan(
    task: Task,
    bases: Mapping[str, Recipe],
    folds: int,
    search: Sequence[str] | None,
    sampler: str,
    base: Recipe,
) -> Event:
    """All that a trial's value depends on, as plain data."""
    objective = task.judge(base.best or LOSS)
    return {
        "format": FORMAT,
        "task": task.name,
        "source": dict(task.source),
        "data": fingerprint(task.train, task.validation),
        "metric": task.judge(base.best).name,
        "objective": objective.name,
        "higher_is_better": objective.higher_is_better,
        "recipes": {name: r.model_dump(mode="json") for name, r in bases.items()},
        "search": None if search is None else list(search),
        "folds": folds,
        "seed": base.seed,
        "sampler": sampler,
        "environment": environment(torch.device(next(iter(bases.values())).device)),
    }


def _agree(study: OptunaStudy, plan: Event, place: str | Path, *, made: bool) -> None:
    """Write down what the study is about, or find the same there."""
    if made:
        study.set_user_attr("plan", plan)
        return
    until = time.monotonic() + SETTLING
    while "plan" not in study.user_attrs:
        if time.monotonic() > until:
            raise InputError(f"The study in {str(place)!r} is not one of downslope's.")
        time.sleep(0.1)
    written, mine = study.user_attrs["plan"], json.loads(json.dumps(plan))
    different = [k for k in mine if k not in ASIDE and mine[k] != written.get(k)]
    if different:
        raise InputError(
            f"The study in {str(place)!r} is another one: its {', '.join(different)} differ. "
            "Choose another directory or storage."
        )


def _beginning(
    name: str, bases: Mapping[str, Recipe], space: Sequence[Dimension]
) -> dict[str, Any]:
    """The parameters of the first trial: the recipe as it is, moved into the ranges."""
    chosen: dict[str, Any] = {} if len(bases) == 1 else {"optimizer": name}
    for d in space:
        now = d.complemented(d.of(bases[name]))
        chosen[optunas.key(name, d, bases)] = min(max(now, d.low), d.high)
    return chosen


def _lr(recipe: Recipe) -> float:
    if recipe.lr is None:
        return math.nan
    return recipe.lr


def _nobody(event: Event) -> None:
    """Where nobody listens."""
