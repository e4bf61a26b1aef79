"""What the page says in words and numbers: pure functions of a run and its records."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ._history import History, Series

if TYPE_CHECKING:
    from ..finder import RangeTest
    from ..training import Recipe, Run

__all__ = [
    "duration",
    "environment_rows",
    "facts_of",
    "headline",
    "lede",
    "recipe_rows",
    "shown",
    "told",
]


def evidence(value: Any) -> str:
    """A number in four digits, anything else as it is.

    >>> evidence(0.123456), evidence("0.weight")
    ('0.1235', '0.weight')
    """
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def headline(run: Run) -> str:
    """The result of a run in one line, as the command line ends with it too."""
    result = "none yet" if run.best_metric is None else f"{run.best_metric:.4f}"
    return f"{run.task_name}: {run.metric_name} {result} at lr {run.lr:.3g}"


def lede(run: Run, history: History) -> str:
    """How the run went, in two sentences."""
    plan, last = history.plan, history.last
    made = f"{run.recipe.optimizer}, {run.recipe.schedule}"
    done = f"{last.get('step', 0)} of {plan.get('total_steps', '?')} steps"
    took = f"in {duration(run.seconds)}"
    unit = "epochs" if run.recipe.max_steps is None else "total_steps"
    ending = {
        "finished": f"Finished all {plan.get(unit, '?')} {unit.removeprefix('total_')} {took}.",
        "early stop": f"Stopped early after {done} {took}: the {run.metric_name} had stopped "
        "getting better.",
        "interrupted": f"Interrupted after {done} {took}; it can be resumed.",
        "time limit": f"Stopped by its time limit after {done} {took}; it can be resumed.",
        "diverged": f"Diverged after {done}: the loss was no longer a finite number.",
        None: f"Not finished: {done} were recorded {took}.",
    }[run.reason]
    best = f" Best {run.metric_name} after step {run.best_step}." if run.best_step else ""
    return f"Trained with {made}. {ending}{best}"


def facts_of(run: Run, history: History) -> Iterator[tuple[str, str, str]]:
    """The numbers at the top of the page: label, value, note."""
    best = next((r for r in history.validation if r["step"] == run.best_step), None)
    if best is not None:
        direction = "higher" if run.higher_is_better else "lower"
        yield f"Best {run.metric_name}", f"{best['metric']:.4f}", f"{direction} is better"
        yield "Validation loss", f"{best['loss']:.4g}", f"epoch {best['epoch']}, the best one"
    if history.validation:
        newest = history.validation[-1]
        yield "Training loss", f"{newest['train_loss']:.4g}", f"mean of epoch {newest['epoch']}"
    yield "Time", duration(run.seconds), f"{history.last.get('step', 0)} steps"


def timing_rows(run: Run, history: History) -> Iterator[tuple[str, str]]:
    """Name and value of each line about time."""
    plan, last = history.plan, history.last
    steps = last.get("step", 0)
    yield "Training and validating", duration(run.seconds)
    yield "Epochs", f"{last.get('epoch', 0)} of {plan.get('epochs', '?')}"
    yield "Steps", f"{steps} of {plan.get('total_steps', '?')}"
    if steps and run.seconds > 0:
        yield "Steps a second", f"{steps / run.seconds:.4g}"
    speeds = sorted(history.series("train", "samples_per_second").finite)
    if speeds:
        yield "Samples a second, median step", f"{speeds[len(speeds) // 2]:,.0f}"
    if history.heal:
        yield "Healed", f"{len(history.heal)} times"
    if resumed := len(history.starts) - 1 - len(history.heal):
        yield "Resumed", f"{resumed} times"


def data_rows(history: History) -> Iterator[tuple[str, str]]:
    """Name and value of each line about the model and its data."""
    plan = history.plan
    for name, field in (
        ("Parameters", "parameters"),
        ("Training rows", "train_size"),
        ("Validation rows", "validation_size"),
    ):
        if field in plan:
            yield name, f"{plan[field]:,}"


def range_rows(test: RangeTest) -> Iterator[tuple[str, str]]:
    """Name and value of each line about the range test; only what it found."""
    if test.suggestion is not None:
        yield "Suggested learning rate", f"{test.suggestion:.3g}"
    if test.steepest is not None:
        yield "Steepest fall of the loss", f"{test.steepest:.3g}"
    if test.band is not None:
        yield "Band that tutorials recommend", "{:.3g} to {:.3g}".format(*test.band)
    yield "Learning rates tried", str(len(test.lrs))
    if test.diverged_at is not None:
        yield "Diverged, and was stopped, at", f"{test.diverged_at:.3g}"
    if test.races:
        yield "Confidence", test.confidence
    if test.reason:
        yield "Note", test.reason


def range_told(test: RangeTest) -> str:
    """The range test in a sentence or two, for readers who cannot see its curve."""
    swept = (
        f"Line chart: the loss over learning rates from {test.lrs[0]:.3g} to {test.lrs[-1]:.3g}."
    )
    if test.suggestion is None:
        return swept
    if test.steepest is not None:
        swept += f" It falls most steeply at {test.steepest:.3g}."
    return f"{swept} Suggested is {test.suggestion:.3g}."


def recipe_rows(run: Run) -> Iterator[tuple[str, str, str, str, bool]]:
    """Of each setting: name, meaning, value, default, and whether they differ.

    A default that leaves the choice to the task or the device cannot differ from what was chosen.
    """
    yield from rows_of(run.recipe)


def rows_of(recipe: Recipe) -> Iterator[tuple[str, str, str, str, bool]]:
    """The same of a recipe alone."""
    for name, field in type(recipe).model_fields.items():
        value, default = getattr(recipe, name), field.get_default(call_default_factory=True)
        differs = default not in (None, "auto") and value != default
        yield name, field.description or "", shown(value), shown(default), differs


def environment_rows(path: Path) -> Iterator[tuple[str, str]]:
    """Name and value of each line of the environment's file; groups are flattened."""
    if path.is_file():
        yield from rows_of_environment(json.loads(path.read_text(encoding="utf-8")))


def rows_of_environment(environment: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """The same of what such a file holds."""
    for name, value in environment.items():
        if isinstance(value, dict):
            yield from ((inner, shown(version)) for inner, version in value.items())
        else:
            yield name.replace("_", " "), shown(value)


def epoch_rows(history: History, limit: int = 200) -> Iterator[list[str]]:
    """Numbers of each epoch; of a longer run, evenly chosen ones and the last."""
    every = -(-len(history.validation) // limit)
    for index, record in enumerate(history.validation):
        if index % every == 0 or record is history.validation[-1]:
            yield [
                str(record["epoch"]),
                str(record["step"]),
                f"{record['train_loss']:.4g}",
                f"{record['loss']:.4g}",
                f"{record['metric']:.4f}",
                f"{record['seconds']:.1f}",
            ]


def told(name: str, series: Series) -> str:
    """A curve in one sentence, for readers who cannot see it.

    >>> told("training loss", Series([1.0, 2.0, 3.0], [2.5, 0.1, 0.2]))
    'training loss from 2.5 at step 1 to 0.2 at step 3, lowest 0.1, highest 2.5'
    """
    if not series.finite:
        return f"no {name} was recorded"
    first, last = series.finite[0], series.finite[-1]
    return (
        f"{name} from {first:.4g} at step {series.steps[0]:g} to {last:.4g} at step "
        f"{series.steps[-1]:g}, lowest {min(series.finite):.4g}, highest {max(series.finite):.4g}"
    )


def duration(seconds: float) -> str:
    """A time span in the two largest units that it has.

    >>> duration(7.26), duration(65), duration(3720)
    ('7.3 s', '1 min 5 s', '1 h 2 min')
    """
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest} s"
    return f"{minutes // 60} h {minutes % 60} min"


def shown(value: Any) -> str:
    """A setting's value as a reader writes it.

    >>> shown(None), shown(0.00331), shown({"betas": (0.9, 0.99)}), shown({})
    ('none', '0.00331', 'betas = (0.9, 0.99)', 'none')
    """
    if value is None or value == {}:
        return "none"
    if isinstance(value, dict):
        return ", ".join(f"{name} = {shown(inner)}" for name, inner in value.items())
    if isinstance(value, float):
        return f"{value:.6g}"
    return str(value)
