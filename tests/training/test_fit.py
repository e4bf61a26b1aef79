"""From a task and a recipe to a run: the loop, its events, and its directory."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F

import downslope
from downslope import Metric, RangeTest, Recipe, Run, Task, fit, load_task
from downslope.errors import CheckpointError, InputError
from downslope.tasks import batches, permutation
from downslope.training import _fit, checkpoint
from downslope.training.learning_rate import schedule

from .tiny import BATCH, RECIPE, ROWS, STEPS, data, network, plain, recorded, tiny


@pytest.fixture(scope="module")
def events() -> list[dict[str, Any]]:
    return []


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory, events: list[dict[str, Any]]) -> Run:
    return fit(tiny(), RECIPE, tmp_path_factory.mktemp("run") / "run", on_event=[events.append])


def test_it_trains_as_the_guides_teach(run: Run) -> None:
    """The same weights as the plain loop of the tutorials with torch's own AdamW."""
    torch.manual_seed(0)
    model = network()
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.01, weight_decay=0.01)
    lr = schedule(run.recipe, 3 * STEPS)
    step = 0
    for epoch in range(3):
        model.train()
        for x, y in batches(data(0), BATCH, order=permutation(ROWS, 0, epoch)):
            optimizer.param_groups[0]["lr"] = 0.01 * lr(step)
            optimizer.zero_grad()
            loss = F.mse_loss(model(x), y)
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            step += 1
    ends = [run.model("last", task=tiny()).state_dict(), model.state_dict()]
    for end in ends:
        # Before a batch norm a bias has no gradient but rounding, of which AdamW makes whole steps;
        # the norm's mean follows it.
        del end["0.bias"], end["1.running_mean"]
    torch.testing.assert_close(*ends)


def test_events_are_the_records(run: Run, events: list[dict[str, Any]]) -> None:
    """A view sees what is kept."""
    assert events == run.records()


def test_events_have_the_fields_that_others_read(run: Run) -> None:
    """One schema for the live view, the report and TensorBoard."""
    fields = {
        "start": "task metric higher_is_better parameters train_size validation_size epochs "
        "steps_per_epoch total_steps lr resumed_from",
        "train": "step epoch loss lr grad_norm samples_per_second seconds",
        "validation": "step epoch train_loss loss metric best seconds",
        "end": "step epoch best_metric best_step seconds reason",
    }
    for kind, names in fields.items():
        assert set(recorded(run, kind)[0]) == {"event", *names.split()}


def test_steps_epochs_and_rates_are_counted(run: Run) -> None:
    """Steps and epochs from 1, one record a step, the schedule's learning rates."""
    steps = recorded(run, "train")
    lr = schedule(run.recipe, 3 * STEPS)
    assert [r["step"] for r in steps] == list(range(1, 3 * STEPS + 1))
    assert [r["epoch"] for r in steps] == [1] * STEPS + [2] * STEPS + [3] * STEPS
    assert [r["lr"] for r in steps] == pytest.approx([0.01 * lr(i) for i in range(3 * STEPS)])


def test_the_epoch_s_training_loss_is_the_mean_over_its_rows(run: Run) -> None:
    """A short last batch counts for less."""
    losses = [r["loss"] for r in recorded(run, "train")][:STEPS]
    sizes = [BATCH] * (STEPS - 1) + [ROWS - BATCH * (STEPS - 1)]
    mean = sum(a * b for a, b in zip(losses, sizes, strict=True)) / ROWS
    assert recorded(run, "validation")[0]["train_loss"] == pytest.approx(mean)


def test_the_best_checkpoint_has_the_best_metric(run: Run) -> None:
    """Evaluated again, it gives the number that the run reports."""
    metrics = [r["metric"] for r in recorded(run, "validation")]
    x, y = tiny().validation[:]
    again = tiny().metric.function(run.model("best", task=tiny())(x), y)
    assert run.best_metric == min(metrics) == pytest.approx(again)
    assert recorded(run, "validation")[metrics.index(min(metrics))]["step"] == run.best_step


def test_the_recorded_loss_is_the_validation_loss(run: Run) -> None:
    """In evaluation mode, over all rows: for MSE the square of RMSE."""
    last = recorded(run, "validation")[-1]
    assert last["loss"] == pytest.approx(last["metric"] ** 2, rel=1e-5)


def test_the_directory_says_how_it_was_made(run: Run) -> None:
    """Recipe, task, environment, records and both checkpoints."""
    names = {str(p.relative_to(run.path)) for p in run.path.rglob("*") if p.is_file()}
    assert names == {
        "recipe.toml",
        "task.json",
        "environment.json",
        "records.jsonl",
        "checkpoints/last.pt",
        "checkpoints/step-00000014.pt",
        "checkpoints/best.pt",
    }
    assert Recipe.from_toml(run.files.recipe) == run.recipe == RECIPE.resolve(tiny())
    assert json.loads(run.files.environment.read_text())["packages"]["torch"] == torch.__version__


def test_the_weights_depend_on_the_seed_alone(run: Run, tmp_path: Path) -> None:
    """Whatever random numbers were drawn before; another seed gives other weights."""
    torch.rand(17)
    again = fit(tiny(), RECIPE, tmp_path / "again")
    other = fit(tiny(), RECIPE.replace(seed=1), tmp_path / "other")
    weights = [next(r.model("last", task=tiny()).parameters()) for r in (run, again, other)]
    assert weights[0].equal(weights[1])
    assert not weights[0].equal(weights[2])


def test_a_run_stands_for_its_directory(run: Run) -> None:
    """Where a path is taken."""
    assert Path(run) == run.path
    assert downslope.diagnose(run) == downslope.diagnose(run.path)


def test_a_run_reads_back_as_it_was_returned(run: Run) -> None:
    """The directory holds everything."""
    assert Run.load(run.path) == run
    assert run.range_test() is None


def test_a_task_built_in_python_cannot_be_built_again(run: Run) -> None:
    """The message says what to do instead."""
    with pytest.raises(InputError, match="built in Python"):
        run.task()


def test_the_lr_comes_from_the_range_test_when_left_out(tmp_path: Path) -> None:
    """It is kept with the run, told step by step, and does not change the weights' start."""
    task = line(tmp_path / "line.csv")
    events: list[dict[str, Any]] = []
    found = fit(task, Recipe(epochs=2), tmp_path / "a", on_event=[events.append])
    test = found.range_test()
    assert test is not None
    assert found.lr == found.recipe.lr == test.suggestion
    sweep = [e for e in events if e["event"] == "find_lr"]
    assert len(sweep) >= len(test.lrs)
    assert {"iteration", "iterations", "lr", "loss"} <= set(sweep[0])
    given = fit(task, Recipe(epochs=2, lr=found.lr), tmp_path / "b")
    assert given.best_metric == found.best_metric


def line(file: Path) -> Task:
    """A table of 100 points on a line."""
    file.write_text("x,y\n" + "".join(f"{i},{2.5 * i}\n" for i in range(100)))
    return load_task(str(file), target="y")


def test_a_run_finds_its_own_data_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also from another working directory, and it notices when the file has changed."""
    monkeypatch.chdir(tmp_path)
    run = fit(line(Path("line.csv")), RECIPE, "run")
    monkeypatch.chdir("/")
    run = Run.load(tmp_path / "run")
    assert run.task().train_rows == line(tmp_path / "line.csv").train_rows
    assert fit(run.task(), None, run.path, resume=True) == run
    (tmp_path / "line.csv").write_text((tmp_path / "line.csv").read_text().replace("2.5", "2.6"))
    with pytest.raises(InputError, match=r"line.csv' or the split has changed"):
        fit(run.task(), None, run.path, resume=True)


def flat(outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """A loss that nothing changes."""
    return (0 * outputs).mean()


def test_a_range_test_without_an_answer_says_so(tmp_path: Path) -> None:
    """Training takes the optimizer's default, with a warning, not in silence."""
    with pytest.warns(UserWarning, match=r"No learning rate was found for 'tiny': .*0.001"):
        run = fit(tiny(loss=flat), Recipe(epochs=1), tmp_path / "run")
    assert run.lr == 0.001


def test_without_an_answer_training_takes_what_is_usual(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The rate that goes by the weights and gradients, where the range test knows it."""
    nothing = RangeTest(
        "adamw", (), (), (), None, None, None, None, "no clear answer", fallback=0.02
    )
    monkeypatch.setattr(_fit, "range_test", lambda *_: nothing)
    with pytest.warns(UserWarning, match="starts with what is usual for such weights .*, 0.02"):
        assert fit(tiny(), Recipe(epochs=1), tmp_path / "run").lr == 0.02


def test_a_worse_epoch_leaves_the_best_checkpoint(tmp_path: Path) -> None:
    """It stays the one of the epoch before."""
    metrics = iter([3.0, 1.0, 2.0])
    task = tiny(metric=lambda outputs, targets: next(metrics))
    run = fit(task, RECIPE, tmp_path / "run")
    assert (run.best_metric, run.best_step) == (1.0, 2 * STEPS)
    assert checkpoint.load(run.files.best)["progress"]["step"] == 2 * STEPS
    assert checkpoint.load(run.files.last)["progress"]["step"] == 3 * STEPS


def constant(outputs: torch.Tensor, targets: torch.Tensor) -> float:
    return 1.0


def test_early_stop_counts_epochs_without_a_better_metric(tmp_path: Path) -> None:
    """The first epoch is the best, the next two are not better: three in all."""
    recipe = RECIPE.replace(epochs=50, early_stop=2)
    run = fit(tiny(metric=constant), recipe, tmp_path / "run")
    assert (run.reason, len(recorded(run, "validation")), run.best_step) == ("early stop", 3, STEPS)


def test_clipping_limits_the_step_and_not_the_record(tmp_path: Path) -> None:
    """Plain SGD moves by lr times at most the clip; the recorded norm is the one before."""
    recipe = Recipe(
        optimizer="sgd", lr=1.0, schedule="constant", epochs=1, batch_size=ROWS, clip_norm=0.01
    )
    run = fit(tiny(scale=100.0), recipe, tmp_path / "run")
    torch.manual_seed(0)
    before = torch.nn.utils.parameters_to_vector(network().parameters())
    after = torch.nn.utils.parameters_to_vector(run.model("last", task=tiny()).parameters())
    assert (after - before).norm().item() == pytest.approx(0.01, rel=1e-3)
    assert recorded(run, "train")[0]["grad_norm"] > 1.0


def test_without_clipping_the_norm_is_recorded(tmp_path: Path) -> None:
    """``clip_norm=None`` leaves the step what the loss asks for, and records its norm."""
    recipe = Recipe(
        optimizer="sgd", lr=1e-3, schedule="constant", epochs=1, batch_size=ROWS, clip_norm=None
    )
    run = fit(tiny(scale=100.0), recipe, tmp_path / "run")
    torch.manual_seed(0)
    before = torch.nn.utils.parameters_to_vector(network().parameters())
    after = torch.nn.utils.parameters_to_vector(run.model("last", task=tiny()).parameters())
    norm = recorded(run, "train")[0]["grad_norm"]
    assert norm > 100.0
    assert (after - before).norm().item() == pytest.approx(1e-3 * norm, rel=1e-3)


def test_a_step_in_parts_is_the_same_step(tmp_path: Path) -> None:
    """Parts of unequal size count by their rows: 8 rows in 3 parts, the last step's 4 in 2."""
    task = tiny(model=plain)
    a, b = (
        fit(task, RECIPE.replace(accumulate=k), tmp_path / str(k)).model("last", task=task)
        for k in (1, 3)
    )
    torch.testing.assert_close(a.state_dict(), b.state_dict(), rtol=1e-4, atol=1e-6)


def test_the_average_is_that_of_the_weights(tmp_path: Path) -> None:
    """Computed again, in float64, from the weights after each step; it is what is evaluated."""
    seen: list[list[torch.Tensor]] = []
    task = tiny(model=plain)

    def look(model: torch.nn.Module, *_: object) -> None:
        if model.training:
            seen.append([p.detach().double().clone() for p in model.parameters()])

    def watched() -> torch.nn.Module:
        model = plain()
        model.register_forward_pre_hook(look)
        return model

    run = fit(tiny(model=watched), RECIPE.replace(ema=0.7), tmp_path / "run")
    last = checkpoint.load(run.files.last)
    seen.append([p.double() for p in last["model"].values()])
    average = seen[0]
    for step, now in enumerate(seen[1:], start=1):
        decay = min(0.7, (1 + step) / (10 + step))
        average = [decay * a + (1 - decay) * w for a, w in zip(average, now, strict=True)]
    model = run.model("last", task=task)
    torch.testing.assert_close([p.detach().double() for p in model.parameters()], average)
    x, y = task.validation[:]
    metric = recorded(run, "validation")[-1]["metric"]
    assert metric == pytest.approx(task.metric.function(model(x), y), rel=1e-5)


@pytest.mark.parametrize(
    ("changes", "steps"),
    [
        ({"validate_steps": 5}, [5, 10, 15, 20, 21]),
        ({"validate_epochs": 2}, [14, 21]),
        ({"validate_steps": 7}, [7, 14, 21]),
        ({"max_steps": 10}, [7, 10]),
        ({"max_steps": 14, "validate_steps": 100}, [14]),
    ],
    ids=str,
)
def test_validations_come_when_asked_for_and_at_the_end(
    tmp_path: Path, changes: dict[str, int], steps: list[int]
) -> None:
    """By steps or by epochs; never twice at one place."""
    run = fit(tiny(), RECIPE.replace(**changes), tmp_path / "run")
    assert [r["step"] for r in recorded(run, "validation")] == steps
    assert run.reason == "finished"
    assert len(recorded(run, "train")) == steps[-1]


def test_the_schedule_ends_where_the_steps_end(tmp_path: Path) -> None:
    """Ten steps of a linear schedule, of 21 that three epochs have."""
    recipe = RECIPE.replace(max_steps=10, schedule="linear", warmup=0.0)
    lrs = [r["lr"] for r in recorded(fit(tiny(), recipe, tmp_path / "run"), "train")]
    assert lrs == pytest.approx([0.01 * (1 - i / 10) for i in range(10)])


def test_a_time_limit_saves_and_can_be_resumed(tmp_path: Path) -> None:
    """Each session has its time; one step at least is made in each."""
    recipe = RECIPE.replace(max_minutes=1e-9)
    run = fit(tiny(), recipe, tmp_path / "run")
    assert (run.reason, len(recorded(run, "train"))) == ("time limit", 1)
    run = fit(tiny(), None, run.path, resume=True)
    assert (run.reason, len(recorded(run, "train"))) == ("time limit", 2)


def mean_error(outputs: torch.Tensor, targets: torch.Tensor) -> float:
    return (outputs - targets).abs().mean().item()


def test_several_metrics_and_the_one_that_counts(tmp_path: Path) -> None:
    """All are recorded; the best checkpoint is best by the one that the recipe names."""
    further = (Metric("error", mean_error, higher_is_better=False),)
    task = dataclasses.replace(tiny(), metrics=further)
    run = fit(task, RECIPE.replace(best="error"), tmp_path / "run")
    rows = recorded(run, "validation")
    assert run.metric_name == "error"
    assert run.best_metric == min(r["metric"] for r in rows)
    assert [r["metrics"]["rmse"] ** 2 for r in rows] == pytest.approx([r["loss"] for r in rows])
    with pytest.raises(InputError, match=r"Unknown metric of 'tiny' 'acc'.*error, loss, rmse"):
        fit(task, RECIPE.replace(best="acc"), tmp_path / "other")


def test_best_by_loss_takes_the_lowest(tmp_path: Path) -> None:
    """Whatever direction the task's metric has."""
    run = fit(tiny(), RECIPE.replace(best="loss"), tmp_path / "run")
    assert (run.metric_name, run.higher_is_better) == ("loss", False)
    assert run.best_metric == min(r["loss"] for r in recorded(run, "validation"))


def test_without_a_directory_one_is_made_under_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two runs a moment apart get two."""
    monkeypatch.chdir(tmp_path)
    first, second = (fit(tiny(), RECIPE.replace(epochs=1)) for _ in range(2))
    assert first.path.parent == Path("runs")
    assert first.path != second.path
    assert first.path.name.startswith("tiny-")


@pytest.mark.parametrize("which", ["best", "last"])
def test_a_model_that_does_not_fit_is_one_clear_error(run: Run, which: str) -> None:
    """Not torch's dump of shapes."""
    other = tiny(model=lambda: torch.nn.Linear(3, 1))
    with pytest.raises(CheckpointError, match="does not fit the model") as caught:
        run.model(which, task=other)  # type: ignore[arg-type]  # one of two words
    assert "\n" not in str(caught.value)
