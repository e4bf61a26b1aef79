"""`compare`: what it takes, and in which order things are done."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from ..errors import InputError, InputTypeError, is_whole
from ..randomness import randomness_restored
from ..tasks import Task, fingerprint
from ..training import Recipe
from ..training.environment import environment
from .comparison import Comparison
from .course import Course
from .journal import ASIDE, JOURNAL, Journal, named
from .pool import Pool, default_workers
from .space import space_of
from .work import Job, do

__all__ = ["compare"]

Event = dict[str, Any]
Contenders = Sequence[str] | Mapping[str, "str | Recipe"]

FORMAT = 2


def compare(
    task: Task,
    optimizers: Contenders,
    *,
    recipe: Recipe | None = None,
    seeds: int = 5,
    trials: int = 5,
    search: Sequence[str] = ("lr",),
    goal: float | None = None,
    budget: float | None = None,
    run_dir: str | Path | None = None,
    processes: int | None = None,
    on_event: Callable[[Event], None] | None = None,
) -> Comparison:
    """Find out by experiment which optimizer reaches a target soonest, or that none does.

    1. *Tuning*, the same for each: a range test, then ``trials`` runs: the first with its learning
       rate, the others at quasi-random points of the search space around it, the same points for
       all. All but
       the first end early where the doctor sees no hope for them.
    2. *The target*, fixed before any run that counts: ``goal``, or 99 % of the way to the best
       value that at least half of the optimizers hold (the mean metric over the last quarter of
       the validations of each one's best trial). The two trials of each
       optimizer that reach it first run once more with another seed, and the one that is there
       first on average is chosen.
    3. *The runs that count*: the chosen recipe with seeds that were not used before, optimizers in
       turn. One that misses the target counts as taking for ever.
    4. *The answer*: two optimizers differ where an exact rank-sum test of their steps to the target
       says so (p < 0.05); one is called the fastest only where it differs from all others.

    The recipe's seed begins it all: tuning uses it, the runs that count those that follow. What was
    done is kept in ``run_dir``; the same call goes on where the last one was stopped or killed.
    Every run has one thread; they share the machine, so their step times compare with one another,
    and with nothing else.

    After AlgoPerf: Dahl et al., Benchmarking Neural Network Training Algorithms, arXiv 2306.07179,
    scaled to one task and one machine.

    Args:
        task: what is trained.
        optimizers: names, or labels with a name or a whole recipe each.
        recipe: what all have in common besides the optimizer.
        seeds: how many runs that count each has; with 3 or fewer nothing can be told apart.
        trials: how many trials each has; 1: the range test's learning rate alone.
        search: hyperparameters to search, as :func:`downslope.tuning.space_of` names them.
        goal: the target, a value of the task's metric (or of the recipe's ``best``).
        budget: minutes that the whole comparison may take; runs are made as short as that asks for,
            all alike. None: as long as the recipe says.
        run_dir: a directory; None: one under ``runs`` whose name follows from all that is asked.
        processes: forked ones that train side by side; 0: none but this one. None: one for each
            core, on the CPU.
        on_event: told what is done: ``phase`` events (name, jobs, done) and each finished job.

    Raises:
        InputError: a value that is not allowed, another comparison in ``run_dir``, or another
            process at work there.

    >>> import tempfile
    >>> from downslope import Recipe, load_task
    >>> short = Recipe(lr=3e-3, max_steps=6, validate_steps=3)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     result = compare(load_task("digits"), {"a": short, "b": short}, seeds=3, trials=1,
    ...                      run_dir=folder, processes=0)
    >>> print(result.answer)
    No difference that is more than noise in reaching accuracy ...: a after ...
    """
    base = recipe or Recipe()
    contenders = {
        label: c.replace(seed=base.seed).resolve(task)
        for label, c in _contenders(optimizers, base).items()
    }
    _check(contenders, seeds, trials, search, goal, budget)
    plan = _plan(task, contenders, seeds, trials, search, goal, budget, base.seed)
    folder = Path(run_dir) if run_dir is not None else Path("runs") / named("compare", task, plan)
    count = processes_for("compare", processes, contenders.values())
    if not (folder / JOURNAL).exists() and folder.exists() and any(folder.iterdir()):
        raise InputError(f"{str(folder)!r} holds something else. Choose a new directory.")
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # in the workers that are forked now, and where there are none
    try:
        with randomness_restored(), Journal(folder) as journal:
            _begin(journal, plan, folder, contenders)
            with Pool[Job](lambda job, alive: do(task, job, alive), count) as pool:
                tell = on_event or _nobody
                Course(journal, pool, folder, plan, contenders, count, tell).complete()
    finally:
        torch.set_num_threads(threads)
    return Comparison.load(folder)


def _contenders(optimizers: Contenders, base: Recipe) -> dict[str, Recipe]:
    """A recipe for each label."""
    if isinstance(optimizers, str):
        raise InputTypeError(f"compare: optimizers is a list of names, got the text {optimizers!r}")
    if not isinstance(optimizers, Mapping):
        twice = [name for k, name in enumerate(optimizers) if name in optimizers[:k]]
        if twice:
            raise InputError(
                f"compare: {twice[0]!r} is named twice. Give each a label of its own, such as "
                f"again={twice[0]}."
            )
        optimizers = {name: name for name in optimizers}
    return {
        label: base.replace(optimizer=what) if isinstance(what, str) else what
        for label, what in optimizers.items()
    }


def _check(
    contenders: Mapping[str, Recipe],
    seeds: int,
    trials: int,
    search: Sequence[str],
    goal: float | None,
    budget: float | None,
) -> None:
    if len(contenders) < 2:
        raise InputError(f"compare: two optimizers at least, got {list(contenders)}.")
    for name, value in (("seeds", seeds), ("trials", trials)):
        if not is_whole(value, 1, 1000):
            raise InputError(
                f"compare: {name} must be a whole number from 1 to 1000, got {value!r}."
            )
    for name, limit in (("goal", goal), ("budget", budget)):
        if limit is not None and not abs(limit) < float("inf"):
            raise InputError(f"compare: {name} must be a finite number, got {limit!r}.")
    if budget is not None and budget <= 0:
        raise InputError(f"compare: budget must be more than 0 minutes, got {budget!r}.")
    for label, recipe in contenders.items():
        if not label or "/" in label or label.startswith("."):
            raise InputError(f"compare: {label!r} cannot be a label: it names a folder.")
        if recipe.heal:
            raise InputError(
                f"compare: {label!r} has heal = true, which changes recipes while they are "
                "compared. Leave it out."
            )
        space_of(recipe, 1.0, search)


def _plan(
    task: Task,
    contenders: Mapping[str, Recipe],
    seeds: int,
    trials: int,
    search: Sequence[str],
    goal: float | None,
    budget: float | None,
    seed: int,
) -> Event:
    """All that the outcome depends on, as plain data."""
    judges = {label: task.judge(r.best) for label, r in contenders.items()}
    names = {judge.name for judge in judges.values()}
    if len(names) > 1:
        raise InputError(f"compare: all must be judged by one metric, got {sorted(names)}.")
    [judge, *_] = judges.values()
    return {
        "event": "plan",
        "format": FORMAT,
        "task": task.name,
        "source": dict(task.source),
        "data": fingerprint(task.train, task.validation),
        "metric": judge.name,
        "higher_is_better": judge.higher_is_better,
        "contenders": {label: r.model_dump(mode="json") for label, r in contenders.items()},
        "steps": {label: r.total_steps(task) for label, r in contenders.items()},
        "seeds": [seed + 1 + k for k in range(seeds)],
        "trials": trials,
        "search": list(search),
        "goal": goal,
        "budget": budget,
        **_memory(task, contenders),
    }


def _memory(task: Task, contenders: Mapping[str, Recipe]) -> Event:
    with randomness_restored():
        model = task.model()
    parameters = [p for p in model.parameters() if p.requires_grad]
    count = sum(p.numel() for p in parameters)
    state = {
        label: recipe.build_optimizer(parameters).memory().predicted.state / count
        for label, recipe in contenders.items()
    }
    return {"parameters": count, "state_bytes": state}


def _begin(journal: Journal, plan: Event, folder: Path, contenders: Mapping[str, Recipe]) -> None:
    """Write the plan down, or find it there."""
    written = json.loads(json.dumps(plan))
    if not journal.entries:
        journal.write(plan)
        [first, *_] = contenders.values()
        journal.write({"event": "environment", **environment(torch.device(first.device))})
        return
    before = journal.entries[0]
    different = sorted(k for k in {*before, *written} - ASIDE if before.get(k) != written.get(k))
    if different:
        raise InputError(
            f"{str(folder)!r} holds another comparison: its {_listed(different)} differ. Choose "
            "another directory, or ask the same again."
        )


def _listed(names: Iterable[str]) -> str:
    return ", ".join(names)


def processes_for(owner: str, processes: int | None, recipes: Iterable[Recipe]) -> int:
    """How many processes to fork: what was asked for, or one for each core of a CPU.

    Raises:
        InputError: a number that is not allowed, or processes on a device.
    """
    on_cpu = all(r.device == "cpu" for r in recipes)
    if processes is None:
        return default_workers() if on_cpu else 0
    if not is_whole(processes, 0, 256):
        raise InputError(
            f"{owner}: processes must be a whole number from 0 to 256, got {processes!r}."
        )
    if processes and not on_cpu:
        raise InputError(f"{owner}: processes share a CPU's cores; on a device use processes = 0.")
    return processes


def _nobody(event: Event) -> None:
    """Where nobody listens."""
