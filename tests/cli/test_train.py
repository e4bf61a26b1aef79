from __future__ import annotations

import importlib
import inspect
import re
import signal
import subprocess
import sys
import time
import tomllib
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from downslope import load_task
from downslope.cli import app
from downslope.cli.live import PlainView
from downslope.cli.model import TASK_OPTIONS
from downslope.training import Recipe, Run

RUNNER = CliRunner()


def train(*arguments: object) -> Result:
    return RUNNER.invoke(app, ["train", *map(str, arguments)])


def recipe_of(*arguments: object) -> Recipe:
    """The recipe that a dry run prints, read back."""
    result = train(*arguments, "--dry-run")
    assert result.exit_code == 0, result.stderr
    return Recipe(**tomllib.loads(result.stdout))


def test_digits_ends_with_the_result_and_the_report() -> None:
    """The last line says accuracy, learning rate and where the report is."""
    result = train("digits", "--epochs", 1, "--lr", 0.00512345, "--run-dir", "here")
    last = result.stdout.splitlines()[-1]
    assert re.fullmatch(r"digits: accuracy 0\.\d{4} at lr 0\.00512 -> here/report\.html", last)
    assert Path("here/report.html").is_file()


def test_a_table_finds_its_learning_rate(csv: Path) -> None:
    """Without --lr a range test finds one, and the report shows it."""
    result = train(csv, "--target", "kind", "--epochs", 2, "--run-dir", "here")
    run = Run.load("here")
    test = run.range_test()
    assert test is not None
    assert result.stdout.splitlines()[-1].endswith(f"at lr {run.lr:.3g} -> here/report.html")
    assert "Learning-rate range test" in Path("here/report.html").read_text()


def test_one_line_an_epoch_where_there_is_no_terminal(csv: Path) -> None:
    """A pipe gets a line at the start, a line an epoch and the result."""
    lines = train(csv, "--target", "kind", "--epochs", 3, "--lr", 0.01).stdout.splitlines()
    assert [line.split()[0] for line in lines] == ["shapes:", "epoch", "epoch", "epoch", "shapes:"]


def test_quiet_prints_the_result_only(csv: Path) -> None:
    """`--quiet` leaves the last line."""
    result = train(csv, "--target", "kind", "--epochs", 1, "--lr", 0.01, "--quiet")
    assert result.stdout.count("\n") == 1
    assert result.stderr == ""


def test_runs_are_never_overwritten(csv: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two runs started in the same second get two directories."""
    monkeypatch.setattr(time, "strftime", lambda _: "now")
    for _ in range(2):
        train(csv, "--target", "kind", "--epochs", 1, "--lr", 0.01, "--quiet")
    assert {path.name for path in Path("runs").iterdir()} == {"shapes-now", "shapes-now-2"}


def test_an_empty_value_is_not_taken_for_none() -> None:
    """An option whose value is empty, as from an unset shell variable, is refused."""
    result = train("digits", "--lr", "", "--dry-run")
    assert result.exit_code == 2
    assert "lr must be" in result.stderr


def test_dry_run_prints_the_resolved_recipe(csv: Path) -> None:
    """What would be used is printed as TOML, choices filled in, and nothing is written."""
    before = sorted(Path.cwd().iterdir())
    recipe = recipe_of(csv, "--target", "kind")
    assert recipe.lr is None
    assert None not in (recipe.batch_size, recipe.epochs, recipe.weight_decay)
    assert sorted(Path.cwd().iterdir()) == before


VALUES = {
    "optimizer": "sgd",
    "lr": 0.25,
    "weight_decay": 0.125,
    "schedule": "step",
    "warmup": 0.5,
    "clip_norm": 2.5,
    "precision": "bf16",
    "batch_size": 7,
    "epochs": 3,
    "early_stop": 4,
    "accumulate": 2,
    "max_steps": 6,
    "max_minutes": 1.5,
    "validate_epochs": 2,
    "validate_steps": 8,
    "best": "loss",
    "ema": 0.75,
    "compile": True,
    "heal": True,
    "workers": 1,
    "checkpoint_every": 5,
    "checkpoint_minutes": 0.5,
    "checkpoint_keep": 3,
    "checkpoint_background": True,
    "seed": 9,
    "strategy": "ddp",
    "device": "cpu",
}


def test_every_field_of_the_recipe_is_tried_below() -> None:
    """A new field of the recipe must be tried as an option too."""
    assert set(VALUES) | {"hyperparameters"} == set(Recipe.model_fields)


@pytest.mark.parametrize(("field", "value"), VALUES.items())
def test_every_field_is_an_option(field: str, value: object) -> None:
    """Each setting of a recipe can be given on the command line."""
    option = f"--{field.replace('_', '-')}"
    recipe = recipe_of("digits", option, *([] if value is True else [value]))
    assert getattr(recipe, field) == value


def test_none_switches_off() -> None:
    """`none` is a value where a setting may be absent."""
    assert recipe_of("digits", "--clip-norm", "none").clip_norm is None


def test_further_arguments_of_the_optimizer() -> None:
    """`--set` gives what is no field of the recipe, numbers, pairs and flags alike."""
    recipe = recipe_of("digits", "--set", "betas=[0.8, 0.99]", "--set", "amsgrad=true")
    assert recipe.hyperparameters == {"betas": (0.8, 0.99), "amsgrad": True}


def test_a_file_and_what_overrides_it() -> None:
    """Options come before the file, the file before the defaults."""
    Path("my.toml").write_text(
        'optimizer = "sgd"\nlr = 0.5\nepochs = 2\n[hyperparameters]\nmomentum = 0.9\n'
    )
    recipe = recipe_of("digits", "--recipe", "my.toml", "--lr", 0.1, "--set", "nesterov=true")
    assert (recipe.optimizer, recipe.lr, recipe.epochs) == ("sgd", 0.1, 2)
    assert recipe.hyperparameters == {"momentum": 0.9, "nesterov": True}


def test_a_dry_run_is_a_recipe_file() -> None:
    """What a dry run prints can be given back with --recipe and means the same."""
    printed = train("digits", "--optimizer", "sgd", "--clip-norm", "none", "--dry-run").stdout
    Path("same.toml").write_text(printed)
    assert train("digits", "--recipe", "same.toml", "--dry-run").stdout == printed


def test_tensorboard_writes_beside_the_run(csv: Path) -> None:
    """`--tensorboard` leaves its event file in the run's directory."""
    pytest.importorskip("tensorboard")
    train(csv, "--target", "kind", "--epochs", 1, "--lr", 0.01, "--run-dir", "r", "--tensorboard")
    assert list(Path("r").glob("events.out.tfevents.*"))


def test_a_finished_run_is_resumed_to_its_result(csv: Path) -> None:
    """Resuming what has ended says so, how to go on for longer, and the result again."""
    first = train(csv, "--target", "kind", "--epochs", 1, "--lr", 0.01, "--run-dir", "r")
    again = train("--resume", "r")
    assert again.exit_code == 0
    assert again.stderr.startswith("the run has ended (finished); nothing is left to do: --epochs")
    assert again.stdout.splitlines()[-1] == first.stdout.splitlines()[-1]


def test_a_resumed_run_may_be_changed(csv: Path) -> None:
    """Options beside --resume change the recipe from there on; a dry run shows it."""
    train(csv, "--target", "kind", "--epochs", 1, "--lr", 0.01, "--run-dir", "r")
    changes = ("--epochs", 2, "--set", "betas=[0.5, 0.9]")
    shown = recipe_of("--resume", "r", *changes)
    assert train("--resume", "r", *changes).exit_code == 0
    run = Run.load("r")
    assert run.recipe == shown
    assert (run.recipe.epochs, run.recipe.hyperparameters) == (2, {"betas": (0.5, 0.9)})


def test_one_command_starts_and_resumes(csv: Path) -> None:
    """`--auto-resume`: a scheduler repeats the job as it was; a time limit says how to go on."""
    arguments = (csv, "--target", "kind", "--lr", 0.01, "--max-minutes", 1e-9)
    first, second = (train(*arguments, "--run-dir", "r", "--auto-resume") for _ in range(2))
    assert first.stderr == "time limit; go on with: downslope train --resume r\n"
    assert "resumed after step 1" in second.stdout
    assert first.exit_code == second.exit_code == 0


def test_divergence_is_told_and_drawn(csv: Path) -> None:
    """A run that blows up ends with code 2, one line, and a report of what was recorded."""
    result = train(
        *(csv, "--target", "kind", "--optimizer", "sgd", "--lr", 1e30, "--clip-norm", "none"),
        *("--run-dir", "r", "--quiet"),
    )
    assert result.exit_code == 2
    assert result.stderr.count("\n") == 1
    assert "r/report.html" in result.stderr
    assert "Diverged" in Path("r/report.html").read_text()


HOW_TO_GO_ON = "interrupted; go on with: downslope train --resume r\n"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_run_goes_on(
    csv: Path, monkeypatch: pytest.MonkeyPatch, number: signal.Signals
) -> None:
    """A signal saves, exits with 130 and names the command, which then finishes the run."""
    printed = PlainView.__call__

    def interrupting(view: PlainView, event: dict[str, Any]) -> None:
        printed(view, event)
        if event.get("epoch") == 2 and event["event"] == "validation":
            signal.raise_signal(number)

    monkeypatch.setattr(PlainView, "__call__", interrupting)
    result = train(csv, "--target", "kind", "--lr", 0.01, "--epochs", 4, "--run-dir", "r")
    assert (result.exit_code, result.stderr) == (130, HOW_TO_GO_ON)
    assert "can be resumed" in Path("r/report.html").read_text()

    resumed = train("--resume", "r")
    assert "resumed after step" in resumed.stdout.splitlines()[0]
    assert resumed.stdout.splitlines()[-1].startswith("shapes: accuracy")
    assert Run.load("r").reason == "finished"


def test_ctrl_c_in_a_real_process(csv: Path) -> None:
    """A process that gets SIGINT while it trains ends with 130 and one line, no traceback."""
    options = ["--target", "kind", "--lr", "0.01", "--epochs", "1000", "--run-dir", "r"]
    process = subprocess.Popen(
        [sys.executable, "-m", "downslope", "train", str(csv), *options],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    while not process.stdout.readline().startswith("epoch 2/"):
        assert process.poll() is None
    process.send_signal(signal.SIGINT)
    _, told = process.communicate(timeout=60)
    assert (process.returncode, told) == (130, HOW_TO_GO_ON)


def test_an_interrupt_before_training(csv: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-C while a learning rate is searched leaves nothing behind, and says so."""

    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(
        importlib.import_module("downslope.training.prepare"), "find_lr", interrupted
    )
    before = sorted(Path.cwd().iterdir())
    result = train(csv, "--target", "kind", "--quiet")
    assert result.exit_code == 130
    assert result.stderr == "interrupted; training had not begun, so nothing was written\n"
    assert sorted(Path.cwd().iterdir()) == before


def test_every_argument_of_load_task_is_an_option() -> None:
    """But the seed, which a recipe has, the folder that a resumed run remembers, and the bar."""
    arguments = inspect.signature(load_task).parameters
    names = {name for name, p in arguments.items() if p.kind is p.KEYWORD_ONLY}
    assert {spec.name for spec in TASK_OPTIONS} == names - {"seed", "folder", "on_progress"}


def test_columns_are_declared_by_options() -> None:
    """A table with everything in it trains, says so in its task, and resumes."""
    rows = (f"{i % 7},2024-01-{1 + i % 28:02},{'uv'[i % 2]},id {i},{i}\n" for i in range(60))
    Path("t.csv").write_text("a,day,word,name,y\n" + "".join(rows).replace("\n3,", "\n?,", 1))
    declared = ["--target", "y", "--missing", "impute", "--na", "?", "--ignore", "name"]
    declared += ["--dates", "day", "--categorical", "a"]
    options = ["--lr", 0.01, "--epochs", 2, "--run-dir", "r"]
    result = train("t.csv", *declared, *options)
    assert result.exit_code == 0, result.output
    assert Run.load("r").task().train[0][0].shape == (17,)
    assert train("--resume", "r", "--epochs", 3).exit_code == 0
    assert "--na" in train("--resume", "r", "--na", "x").stderr


def test_an_interrupt_while_the_data_are_read(csv: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-C ends in one line and 130; nothing was written."""

    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("downslope.tasks.load_task", interrupted)
    result = train(csv, "--target", "kind")
    assert result.exit_code == 130
    assert result.stderr == "interrupted; training had not begun, so nothing was written\n"
    assert not Path("runs").exists()
