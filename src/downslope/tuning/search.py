"""Optuna's part: a study that processes share, what is asked of it, and who still works at it."""

from __future__ import annotations

import contextlib
import os
import socket
import time
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from ..errors import InputError, MissingExtraError
from ..training import Recipe
from .space import Dimension, placed

if TYPE_CHECKING:
    import optuna
    from optuna.study import Study as OptunaStudy
    from optuna.trial import FrozenTrial, Trial

__all__ = [
    "asked",
    "finished",
    "import_optuna",
    "key",
    "opened",
    "quietly",
    "reap",
    "running_elsewhere",
]

Sampler = Literal["tpe", "random"]
Spaces = Mapping[str, Sequence[Dimension]]

#: How often as long as the slowest finished trial another machine's may take before it counts as
#: dead, and how long at least, in seconds.
PATIENCE = 10.0, 60.0
FIRST_LOOK = 9  # hyperband judges after a ninth of a run, when a warmup is over
ATTEMPTS = 6  # to open a data base, half a second apart
ENOUGH = 10  # complete trials from which it can be said which parameter matters


def import_optuna() -> Any:
    """The package.

    Raises:
        MissingExtraError: it is not installed.
    """
    try:
        import optuna
    except ImportError:
        raise MissingExtraError("optuna", "tune", "A search") from None
    return optuna


@contextlib.contextmanager
def quietly() -> Iterator[None]:
    """Without Optuna's line for every trial; warnings of its own are left."""
    logging = import_optuna().logging
    before = logging.get_verbosity()
    logging.set_verbosity(logging.WARNING)
    try:
        yield
    finally:
        logging.set_verbosity(before)


def opened(
    storage: str | Path,
    name: str,
    *,
    maximize: bool,
    sampler: Sampler,
    validations: int,
    seed: int,
) -> tuple[OptunaStudy, bool]:
    """The study of that name, and whether it was made just now.

    Args:
        storage: a URL that Optuna knows, or the path of a journal file.
        name: of the study.
        maximize: whether larger values are better.
        sampler: how points are chosen.
        validations: how many a run has at most: hyperband's largest resource.
        seed: of the sampler, in the process that makes the study; others draw for themselves.

    Raises:
        InputError: the storage cannot be opened.
    """
    optuna = import_optuna()
    direction: Literal["maximize", "minimize"] = "maximize" if maximize else "minimize"
    for attempt in range(ATTEMPTS):
        try:
            place = storage_of(storage)
            try:
                study = optuna.create_study(storage=place, study_name=name, direction=direction)
                made = True
            except optuna.exceptions.DuplicatedStudyError:
                study = optuna.load_study(storage=place, study_name=name)
                made = False
            break
        except (ImportError, OSError, ValueError, optuna.exceptions.OptunaError) as error:
            raise _unusable(storage, error) from error
        except Exception as error:  # another process may be making the data base's tables just now
            if type(error).__module__.partition(".")[0] != "sqlalchemy":
                raise
            if attempt == ATTEMPTS - 1:
                raise _unusable(storage, error) from error
            time.sleep(0.5)
    drawn = seed if made else None
    study.sampler = {"tpe": optuna.samplers.TPESampler, "random": optuna.samplers.RandomSampler}[
        sampler
    ](seed=drawn)
    study.pruner = pruner_of(validations)
    return study, made


def storage_of(storage: str | Path) -> Any:
    """Optuna's storage for a URL, or for a journal file."""
    from optuna.storages import JournalStorage
    from optuna.storages.journal import JournalFileBackend

    if isinstance(storage, str) and "://" in storage:
        return storage
    return JournalStorage(JournalFileBackend(str(storage)))


def pruner_of(validations: int) -> optuna.pruners.BasePruner:
    """Hyperband over a run's validations; none where there are too few to judge by."""
    from optuna.pruners import HyperbandPruner, NopPruner

    if validations < 3:
        return NopPruner()
    first = max(1, validations // FIRST_LOOK)
    return HyperbandPruner(min_resource=first, max_resource=validations, reduction_factor=3)


def asked(trial: Trial, bases: Mapping[str, Recipe], spaces: Spaces) -> Recipe:
    """The recipe of a trial: which optimizer, and a value in each of its dimensions.

    Args:
        trial: suggests.
        bases: the recipe of each optimizer, by name.
        spaces: their dimensions.
    """
    names = list(bases)
    name = names[0] if len(names) == 1 else trial.suggest_categorical("optimizer", names)
    values = {
        d: d.value(trial.suggest_float(key(name, d, bases), d.low, d.high, log=True))
        for d in spaces[name]
    }
    return placed(bases[name], {d: float(f"{v:.4g}") for d, v in values.items()})


def key(name: str, dimension: Dimension, bases: Mapping[str, Recipe]) -> str:
    """How a dimension is called in the study; of several optimizers each has its own."""
    shown = f"1 - {dimension.name}" if dimension.complement else dimension.name
    return shown if len(bases) == 1 else f"{name}: {shown}"


def me() -> str:
    """This process, for others."""
    return f"{socket.gethostname()}:{os.getpid()}"


def finished(study: OptunaStudy) -> list[FrozenTrial]:
    """The trials that have ended, however they did."""
    from optuna.trial import TrialState

    ended = (TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL)
    trials = study.get_trials(deepcopy=False, states=ended)
    return [t for t in trials if killed(t.number) not in study.user_attrs]


def killed(number: int) -> str:
    """The study's note that a trial does not count, because its process was killed."""
    return f"killed {number}"


def running_elsewhere(study: OptunaStudy) -> list[FrozenTrial]:
    """The trials that other living processes are at."""
    return [t for t in _running(study) if t.user_attrs.get("by") != me() and _alive(t, study)]


def reap(study: OptunaStudy) -> None:
    """Ask again for the trials of processes that were killed."""
    from optuna.trial import TrialState

    for trial in _running(study):
        if not _alive(trial, study):
            study.set_user_attr(killed(trial.number), value=True)
            study.tell(trial.number, state=TrialState.FAIL, skip_if_finished=True)
            study.enqueue_trial(trial.params)


def _running(study: OptunaStudy) -> list[FrozenTrial]:
    from optuna.trial import TrialState

    return study.get_trials(deepcopy=False, states=(TrialState.RUNNING,))


def _alive(trial: FrozenTrial, study: OptunaStudy) -> bool:
    """Whether whoever began a trial is still there, as far as can be known."""
    host, _, process = str(trial.user_attrs.get("by", "")).rpartition(":")
    if host == socket.gethostname() and process.isdigit():
        try:
            os.kill(int(process), 0)
        except ProcessLookupError:
            return False
        except PermissionError:
            return True
        return True
    factor, least = PATIENCE
    took = [t.duration.total_seconds() for t in finished(study) if t.duration is not None]
    began = trial.datetime_start or datetime.now()
    age = time.time() - began.timestamp()
    return age < max(least, factor * max(took, default=0.0))


def _unusable(storage: str | Path, error: Exception) -> InputError:
    reason = str(error).splitlines()[0] if str(error) else type(error).__name__
    return InputError(
        f"The study's storage {str(storage)!r} cannot be used: {reason}. Give a URL such as "
        "sqlite:///study.db or mysql://user@host/name, or leave it out for a journal file."
    )
