"""A run that was interrupted or killed goes on to the same bits."""

from __future__ import annotations

import contextlib
import random
import signal
import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from downslope import Recipe, Run, Task, fit
from downslope.errors import CheckpointError, InputError
from downslope.training import checkpoint
from downslope.training.learning_rate import schedule
from downslope.training.state import State

from .tiny import RECIPE, STEPS, Noisy, Stop, break_at, data, measured, plug, tiny

# Parts of a checkpoint that hold times, or the length of records that hold times.
CLOCKS = ("seconds", "records_size")
REPOSITORY = Path(__file__).parents[2]
EVERY_THREE = RECIPE.replace(checkpoint_every=3)

# In the middle of an epoch, at its end, in the middle of a later one; a signal is obeyed after the
# next step, or in the validation that comes before it; a kill loses two steps.
SHOTS = {"SIGTERM:3": 4, "SIGINT:7": 7, "SIGTERM:10": 11, "SIGKILL:17": 15}


def identical(a: Any, b: Any) -> bool:
    """Whether two checkpoints' parts are equal to the last bit."""
    if isinstance(a, torch.Tensor):
        return a.dtype == b.dtype and a.equal(b)
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(identical(a[k], b[k]) for k in a)
    if isinstance(a, (list, tuple)):
        return len(a) == len(b) and all(map(identical, a, b))
    return bool(a == b)


def assert_same(resumed: Run, whole: Run) -> None:
    """The same weights, optimizer state, random state and records, bit for bit."""
    for which in ("last", "best"):
        a = checkpoint.load(getattr(resumed.files, which))
        b = checkpoint.load(getattr(whole.files, which))
        different = [k for k in a if k not in CLOCKS and not identical(a[k], b[k])]
        assert not different, which
    assert measured(resumed) == measured(whole)
    assert resumed.best_metric == whole.best_metric


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """The run that nobody interrupted."""
    return fit(tiny(), EVERY_THREE, tmp_path_factory.mktemp("whole"))


@pytest.fixture(scope="module")
def shot(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Runs that a real process left behind, by the signal and the step at which it came."""
    folder = tmp_path_factory.mktemp("shot")
    folders = {name: folder / str(i) for i, name in enumerate(SHOTS)}
    process = subprocess.run(
        [sys.executable, "-m", "tests.training.worker", *(f"{p}:{n}" for n, p in folders.items())],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert process.stdout.split() == ["interrupted"] * 3, process.stderr
    assert process.returncode == -9
    return folders


@pytest.mark.parametrize("name", SHOTS)
def test_a_shot_process_is_resumed_to_the_same_bits(
    whole: Run, shot: dict[str, Path], name: str
) -> None:
    """Signals in and between epochs, and a kill, leave no trace in the result."""
    before = Run.load(shot[name])
    resumed = fit(tiny(), None, shot[name], resume=True)
    starts = [r["resumed_from"] for r in resumed.records() if r["event"] == "start"]
    assert before.reason == (None if "KILL" in name else "interrupted")
    assert starts == [None, SHOTS[name]]
    assert_same(resumed, whole)


@pytest.mark.parametrize(
    "changes",
    [
        {"schedule": "plateau", "warmup": 0.2},
        {"precision": "fp16"},
        {"precision": "bf16"},
        {"optimizer": "sgd", "hyperparameters": {"momentum": 0.9}},
        {"clip_norm": None, "schedule": "step"},
        {"optimizer": "adamwschedulefree", "schedule": "constant", "validate_steps": 4},
        {"accumulate": 3, "ema": 0.9, "validate_steps": 4},
        {"checkpoint_background": True, "checkpoint_keep": 1},
    ],
    ids=str,
)
def test_every_kind_of_recipe_resumes_to_the_same_bits(tmp_path: Path, changes: dict) -> None:
    """Schedules, loss scales and optimizer states are all in the checkpoint."""
    recipe = EVERY_THREE.replace(**changes)
    break_at(11, tiny(), recipe, tmp_path / "broken")
    resumed = fit(tiny(), None, tmp_path / "broken", resume=True)
    assert_same(resumed, fit(tiny(), recipe, tmp_path / "whole"))


def test_random_numbers_of_a_data_set_are_resumed(tmp_path: Path) -> None:
    """What it draws from Python's, NumPy's and torch's generators depends on seed and batch."""
    break_at(11, tiny(Noisy()), EVERY_THREE, tmp_path / "broken")
    resumed = fit(tiny(Noisy()), None, tmp_path / "broken", resume=True)
    assert_same(resumed, fit(tiny(Noisy()), EVERY_THREE, tmp_path / "whole"))


def test_workers_change_nothing(tmp_path: Path) -> None:
    """Interrupted with two processes reading ahead, and resumed with none: the same bits."""
    two = EVERY_THREE.replace(workers=2)
    break_at(11, tiny(Noisy()), two, tmp_path / "broken")
    resumed = fit(tiny(Noisy()), None, tmp_path / "broken", resume=True, changes={"workers": 0})
    whole = fit(tiny(Noisy()), EVERY_THREE, tmp_path / "whole")
    assert measured(resumed) == measured(whole)


def test_a_model_may_draw_from_every_generator(tmp_path: Path) -> None:
    """Python's and NumPy's global generators go on where the checkpoint was, as torch's does."""

    class Jitter(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x * (1 + 0.1 * random.random() + 0.1 * np.random.random())  # noqa: NPY002 - the claim

    task = tiny(model=lambda: torch.nn.Sequential(Jitter(), torch.nn.Linear(3, 1)))
    break_at(11, task, EVERY_THREE, tmp_path / "broken")
    resumed = fit(task, None, tmp_path / "broken", resume=True)
    assert_same(resumed, fit(task, EVERY_THREE, tmp_path / "whole"))


def test_a_validation_that_was_broken_off_is_made_again(tmp_path: Path) -> None:
    """A signal while the model is validated does not wait for its end, nor leave it out."""
    recipe = EVERY_THREE.replace(validate_steps=5, batch_size=2, epochs=1, ema=0.9)
    model = tiny().model
    calls = iter(range(10_000))

    def signalling() -> torch.nn.Module:
        network = model()

        def look(module: torch.nn.Module, *_: object) -> None:
            if not module.training and next(calls) == 8:
                signal.raise_signal(signal.SIGTERM)

        network.register_forward_pre_hook(look)
        return network

    run = fit(tiny(model=signalling), recipe, tmp_path / "broken")
    assert run.reason == "interrupted"
    assert [r["step"] for r in run.records() if r["event"] == "validation"] == [5]
    resumed = fit(tiny(), None, run.path, resume=True)
    assert_same(resumed, fit(tiny(), recipe, tmp_path / "whole"))


def test_a_named_change_is_made_and_recorded(tmp_path: Path) -> None:
    """Epochs, learning rate, weight decay, a hyperparameter; those after it are by the new one."""
    break_at(11, tiny(), EVERY_THREE, tmp_path / "run")
    changes = {
        "epochs": 4,
        "lr": 0.02,
        "weight_decay": 0.5,
        "hyperparameters": {"betas": [0.5, 0.9]},
    }
    run = fit(tiny(), None, tmp_path / "run", resume=True, changes=changes)
    told = [r for r in run.records() if r["event"] == "recipe"]
    assert [r["step"] for r in told] == [9]
    assert told[0]["changes"]["lr"] == [0.01, 0.02]
    assert set(told[0]["changes"]) == set(changes)
    assert Recipe.from_toml(run.files.recipe) == run.recipe
    assert (run.recipe.epochs, run.lr) == (4, 0.02)
    [group] = checkpoint.load(run.files.last)["optimizer"]["param_groups"]
    assert (group["weight_decay"], group["betas"]) == (0.5, (0.5, 0.9))
    steps = [r for r in run.records() if r["event"] == "train"]
    rates = schedule(run.recipe, 4 * STEPS)
    assert [r["step"] for r in steps] == [*range(1, 4 * STEPS + 1)]
    assert steps[9]["lr"] == pytest.approx(0.02 * rates(9))


def test_a_finished_run_may_be_given_more_epochs(tmp_path: Path) -> None:
    """It goes on where it ended."""
    fit(tiny(), RECIPE, tmp_path / "run")
    run = fit(tiny(), None, tmp_path / "run", resume=True, changes={"epochs": 4})
    assert len([r for r in run.records() if r["event"] == "train"]) == 4 * STEPS


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"seed": 1}, "cannot change its seed .* from 0 to 1: the order"),
        ({"batch_size": 4}, "cannot change its batch_size"),
        ({"optimizer": "sgd"}, "cannot change its optimizer"),
        ({"lr": -1.0}, "lr must be"),
        ({"rate": 1.0}, "Unknown recipe key 'rate'"),
        ({"max_steps": 3}, "has taken 7 steps .1 epochs. so far: it cannot end after 3"),
    ],
)
def test_other_changes_are_refused(broken: Path, changes: dict[str, Any], message: str) -> None:
    """What would make it another run, and what is no recipe."""
    with pytest.raises(InputError, match=message):
        fit(tiny(), None, broken, resume=True, changes=changes)


def test_auto_starts_and_resumes(tmp_path: Path, whole: Run) -> None:
    """The same call begins a run, and goes on with it after a kill."""
    for _ in range(2):
        with contextlib.suppress(Stop):
            fit(
                *(tiny(), EVERY_THREE, tmp_path / "run"),
                resume="auto",
                on_event=[partial(plug, 11)],
            )
    assert_same(fit(tiny(), EVERY_THREE, tmp_path / "run", resume="auto"), whole)


def test_auto_starts_again_what_had_not_begun(tmp_path: Path, whole: Run) -> None:
    """A kill between the settings and the first checkpoint; another's folder is left alone."""
    fit(tiny(), EVERY_THREE, tmp_path / "run")
    for path in (tmp_path / "run" / "checkpoints").iterdir():
        path.unlink()
    (tmp_path / "run" / ".task.json.x.tmp").write_text("half")
    assert_same(fit(tiny(), EVERY_THREE, tmp_path / "run", resume="auto"), whole)
    (tmp_path / "mine").write_text("mine")
    with pytest.raises(InputError, match="exists already"):
        fit(tiny(), EVERY_THREE, tmp_path, resume="auto")


def test_a_run_that_broke_before_its_first_epoch_resumes_from_its_start(tmp_path: Path) -> None:
    """There is a checkpoint before the first step."""
    break_at(2, tiny(), RECIPE, tmp_path / "run")
    run = fit(tiny(), None, tmp_path / "run", resume=True)
    assert [r["resumed_from"] for r in run.records() if r["event"] == "start"] == [None, 0]
    assert [r["step"] for r in run.records() if r["event"] == "train"] == [*range(1, 22)]


def test_a_run_without_a_checkpoint_says_how_to_start(tmp_path: Path) -> None:
    """A disk that was full before the first one leaves settings to start again with."""
    fit(tiny(), RECIPE, tmp_path / "run")
    for path in (tmp_path / "run" / "checkpoints").iterdir():
        path.unlink()
    with pytest.raises(CheckpointError, match=r"before its first checkpoint.*--auto-resume"):
        fit(tiny(), None, tmp_path / "run", resume=True, changes={"epochs": 4})


def test_the_given_recipe_may_repeat_the_run_s(tmp_path: Path, whole: Run) -> None:
    """A job that is started again with the same arguments goes on."""
    break_at(11, tiny(), EVERY_THREE, tmp_path / "run")
    assert_same(fit(tiny(), EVERY_THREE, tmp_path / "run", resume=True), whole)


def test_a_finished_run_is_returned_as_it_is(whole: Run) -> None:
    """Resuming it trains nothing and writes nothing."""
    content = whole.files.records.read_bytes()
    assert fit(tiny(), None, whole.path, resume=True) == whole
    assert whole.files.records.read_bytes() == content


def test_another_number_of_threads_is_warned_of(tmp_path: Path) -> None:
    """Torch's dropout draws other masks then, so the bits are not promised."""
    break_at(2, tiny(), RECIPE, tmp_path / "run")
    torch.set_num_threads(2)
    try:
        with pytest.warns(UserWarning, match="started with 1 threads and goes on with 2"):
            fit(tiny(), None, tmp_path / "run", resume=True)
    finally:
        torch.set_num_threads(1)


def test_temporary_files_of_a_killed_writer_are_removed(tmp_path: Path) -> None:
    """They would gather, one a kill."""
    break_at(11, tiny(), RECIPE, tmp_path / "run")
    left = tmp_path / "run" / "checkpoints" / ".last.pt.abc.tmp"
    left.write_bytes(b"half")
    fit(tiny(), None, tmp_path / "run", resume=True)
    assert not left.exists()


@pytest.fixture(scope="module")
def broken(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("broken") / "run"
    break_at(STEPS + 1, tiny(), RECIPE, folder)
    return folder


@pytest.mark.parametrize(
    ("task", "recipe", "message"),
    [
        (tiny(), RECIPE.replace(lr=0.02), "lr = 0.01, not 0.02"),
        (tiny(), RECIPE.replace(epochs=4), "epochs = 3, not 4"),
        (tiny(data(5)), None, "other data"),
    ],
)
def test_other_settings_or_data_are_not_resumed(
    broken: Path, task: Task, recipe: Recipe | None, message: str
) -> None:
    """The result would be neither the old run's nor a new one's."""
    with pytest.raises(InputError, match=message):
        fit(task, recipe, broken, resume=True)


def test_another_model_is_not_resumed(broken: Path) -> None:
    """A checkpoint that does not fit is one line, not a dump of shapes."""
    other = tiny(model=lambda: torch.nn.Linear(3, 1))
    with pytest.raises(CheckpointError, match="does not fit this task") as caught:
        fit(other, None, broken, resume=True)
    assert "\n" not in str(caught.value)


def test_resuming_needs_a_run(tmp_path: Path) -> None:
    """Nothing, or another folder, cannot be resumed."""
    with pytest.raises(InputError, match="needs the run_dir"):
        fit(tiny(), resume=True)
    with pytest.raises(InputError, match="not the directory of a run"):
        fit(tiny(), run_dir=tmp_path, resume=True)


def test_a_damaged_checkpoint_offers_the_one_before(tmp_path: Path, whole: Run) -> None:
    """One line names it; from there the run ends as if nothing had happened."""
    break_at(11, tiny(), EVERY_THREE, tmp_path / "run")
    checkpoints = tmp_path / "run" / "checkpoints"
    damaged = bytearray((checkpoints / "last.pt").read_bytes())
    damaged[-300] ^= 4
    (checkpoints / "last.pt").write_bytes(damaged)
    before = checkpoints / "step-00000007.pt"
    with pytest.raises(CheckpointError, match=f"is damaged.*{before}' is sound"):
        fit(tiny(), None, tmp_path / "run", resume=True)
    assert_same(fit(tiny(), resume=before), whole)


def test_a_checkpoint_of_another_run_is_refused(tmp_path: Path, whole: Run) -> None:
    """Its directory is where it lies."""
    with pytest.raises(InputError, match="is not of the run in"):
        fit(tiny(), None, tmp_path, resume=whole.files.last)


def test_a_missing_checkpoint_is_one_clear_error(tmp_path: Path) -> None:
    """It is named, with the reason."""
    break_at(2, tiny(), RECIPE, tmp_path / "run")
    (tmp_path / "run" / "checkpoints" / "last.pt").unlink()
    with pytest.raises(CheckpointError, match=r"last.pt.*No such file"):
        fit(tiny(), None, tmp_path / "run", resume=True)


def test_the_recipe_decides_by_what_is_clipped() -> None:
    """A state that was saved with another threshold, or with none, is clipped by the recipe's."""
    first, second = (EVERY_THREE.replace(clip_norm=c).resolve(tiny()) for c in (1.0, 0.25))
    saved = State(tiny(), first).state_dict(records_size=0)
    state = State(tiny(), second)
    for with_threshold in (True, False):
        if not with_threshold:
            del saved["optimizer"]["param_groups"][0]["clip_norm"]
        state.take_up(saved, "last")
        assert state.optimizer.param_groups[0]["clip_norm"] == 0.25
