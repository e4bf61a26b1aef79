"""The report: one HTML page, drawn from the files of a run. Nothing is measured here."""

from __future__ import annotations

import math
from collections.abc import Iterable
from html import escape
from importlib.resources import files
from pathlib import Path
from string import Template
from typing import TYPE_CHECKING

from .. import __version__, doctor
from ..files import write_atomically
from . import _words
from ._figures import Curve, Mark, draw
from ._heat import heat_map, layers
from ._history import History, Series
from ._html import facts, figure, grid, key, pairs, scrolling_table, section, settings, titled

if TYPE_CHECKING:
    from ..finder import RangeTest
    from ..training import Run
    from ..tuning import Comparison, Study

__all__ = ["filled", "write_report"]


def write_report(run: Run | Comparison | Study | str | Path) -> Path:
    """Write ``report.html`` into a run's directory, also of a run that was interrupted.

    The page is complete in itself: style sheet and drawings are inside, nothing is loaded.

    Args:
        run: a run, a comparison or a search, or the path of its directory.

    Returns:
        The path of the page.

    Raises:
        InputError: the directory is none of these.

    >>> import tempfile
    >>> from downslope import Recipe, fit, load_task, write_report
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     run = fit(load_task("digits"), Recipe(lr=3e-3, max_steps=5), f"{folder}/run")
    ...     write_report(run).name
    'report.html'
    """
    from ..training import Run  # loads torch
    from ..tuning import Comparison, Study
    from ..tuning.journal import JOURNAL
    from ..tuning.study import STUDY

    if isinstance(run, str | Path):
        folder = Path(run)
        compared, searched = (folder / JOURNAL).exists(), (folder / STUDY).exists()
        run = (Comparison if compared else Study if searched else Run).load(folder)
    if isinstance(run, Comparison):
        from ._comparison import comparison_page

        return _written(run.path / "report.html", comparison_page(run))
    if isinstance(run, Study):
        from ._study import study_page

        return _written(run.path / "report.html", study_page(run))
    target = run.files.report
    return _written(target, _page(run, History.of(run.records()), run.range_test()))


def _written(target: Path, text: str) -> Path:
    write_atomically(target, text)
    return target


def _page(run: Run, history: History, range_test: RangeTest | None) -> str:
    line = _words.headline(run)
    rows = (*_words.timing_rows(run, history), *_words.data_rows(history))
    sections = (
        section("Healing", _healing(history)),
        section("Findings", _findings(run)),
        section("Curves", _curves(run, history)),
        section("Learning-rate range test", _range_test(range_test) if range_test else ""),
        section("Recipe", settings("Recipe", _words.recipe_rows(run))),
        section(
            "Timing and environment",
            grid(
                titled("Timing and size", pairs("Timing", rows)),
                titled(
                    "Environment",
                    pairs("Environment", _words.environment_rows(run.files.environment)),
                ),
            ),
        ),
    )
    return filled(
        "Downslope training report",
        line,
        _words.lede(run, history),
        _words.facts_of(run, history),
        sections,
        run.path,
    )


def filled(
    kind: str,
    headline: str,
    lede: str,
    numbers: Iterable[tuple[str, str, str]],
    sections: Iterable[str],
    folder: Path,
) -> str:
    """A whole page.

    Args:
        kind: what it is, above the headline.
        headline: the answer in a line.
        lede: the answer in a few sentences.
        numbers: label, value and note of the large numbers below them.
        sections: HTML; empty ones are left out.
        folder: whose files were drawn.
    """
    own = files(__package__)
    return Template(own.joinpath("page.html").read_text("utf-8")).substitute(
        version=__version__,
        kind=escape(kind),
        title=escape(f"{headline} · Downslope"),
        style=own.joinpath("style.css").read_text("utf-8"),
        headline=escape(headline),
        lede=escape(lede),
        facts=facts(numbers),
        sections="\n".join(part for part in sections if part),
        folder=escape(str(folder)),
    )


def _findings(run: Run) -> str:
    """What the doctor says, the cause first; nothing where nothing is wrong."""
    told = []
    history = doctor.History.of(run.records())
    found = [f for f in doctor.findings(history) if f.severity != "note"]
    for number, finding in enumerate(found, start=1):
        rows = [
            ("seen", f"{finding.symptom}, at step {finding.step}"),
            *((name, _words.evidence(value)) for name, value in finding.evidence.items()),
            ("remedy", finding.remedy),
            ("source", finding.source or "exact"),
        ]
        words = titled(f"{finding.severity}: {finding.cause}", pairs(finding.cause, rows))
        seen = doctor.trace(history, finding)
        told.append(words if seen is None else grid(words, _evidence(f"finding-{number}", seen)))
    return "\n".join(told)


def _evidence(name: str, seen: doctor.Trace) -> str:
    """What the doctor looked at, and what it compared that with; nothing where that is nothing."""
    series = Series(list(seen.steps), list(seen.values))
    if not series.finite:
        return ""
    curves, keys = [Curve(series, "train")], [key("train", seen.name)]
    words = _words.told(seen.name, series)
    if seen.beside is not None:
        beside = Series(*map(list, seen.beside))
        curves.append(Curve(beside, "validation", faint=True))
        keys.append(key("validation", seen.beside_name))
        words += f"; {_words.told(seen.beside_name, beside)}"
    if seen.limit is not None:
        keys.append(key("level", f"{seen.limit_name} {seen.limit:.4g}"))
        words += f"; {seen.limit_name} {seen.limit:.4g}"
    svg = draw(name, f"Line chart: {words}.", curves, level=seen.limit)
    return figure("What the doctor saw", svg, " ".join(keys))


def _healing(history: History) -> str:
    """What was found while training, and changed; nothing where nothing was."""
    told = []
    for event in history.heal:
        found = event["finding"]
        rows = [
            ("seen", f"{found['symptom']}, at step {found['step']}"),
            *((name, _words.evidence(value)) for name, value in found["evidence"].items()),
            *(
                (f"{name}, changed", f"{_words.shown(was)} → {_words.shown(now)}")
                for name, (was, now) in event["changes"].items()
            ),
            ("went back to", f"step {event['step']}"),
        ]
        told.append(titled(found["cause"], pairs(found["cause"], rows)))
    return "\n".join(told)


def _curves(run: Run, history: History) -> str:
    """The curves over the steps and the table of epochs; nothing before the first record."""
    if not history.train and not history.validation:
        return ""
    drawings = (
        _loss(history),
        _metric(run, history),
        _learning_rate(run, history),
        _gradient_norm(run, history),
        _gradients(history),
    )
    table = ""
    if history.validation:
        head = ["epoch", "step", "training loss", "validation loss", run.metric_name, "seconds"]
        numbers = scrolling_table("Epoch by epoch", head, _words.epoch_rows(history))
        table = f"<details>\n<summary>Epoch by epoch, in numbers</summary>\n{numbers}\n</details>"
    return grid(*drawings) + "\n" + table


def _loss(history: History) -> str:
    steps = history.series("train", "loss")
    epochs = history.series("validation", "train_loss")
    validation = history.series("validation", "loss")
    svg = draw(
        "loss",
        f"Line chart: {_words.told('training loss', steps)}; "
        f"{_words.told('validation loss', validation)}.",
        [
            Curve(steps, "train", faint=True),
            Curve(epochs, "train"),
            Curve(validation, "validation"),
        ],
        x_end=history.plan.get("total_steps"),
    )
    caption = (
        key("faint", "training step"),
        key("train", "epoch mean"),
        key("validation", "validation"),
    )
    return figure("Loss", svg, " ".join(caption))


def _metric(run: Run, history: History) -> str:
    series = history.series("validation", "metric")
    if not series.finite:
        return ""
    best = next((r for r in history.validation if r["step"] == run.best_step), None)
    marks = [Mark(best["step"], best["metric"], "validation")] if best else []
    name = run.metric_name
    svg = draw(
        "metric",
        f"Line chart: {_words.told(name, series)}.",
        [Curve(series, "validation")],
        x_end=history.plan.get("total_steps"),
        marks=marks,
    )
    caption = key("validation", "validation")
    if best:
        caption += escape(f" Best {best['metric']:.4f} in epoch {best['epoch']}.")
    return figure(f"Validation {name}", svg, caption)


def _learning_rate(run: Run, history: History) -> str:
    series = history.series("train", "lr")
    svg = draw(
        "lr",
        f"Line chart: {_words.told('learning rate', series)}.",
        [Curve(series, "train")],
        linear_y=True,
        x_end=history.plan.get("total_steps"),
    )
    return figure("Learning rate", svg, escape(f"{run.recipe.schedule}, highest {run.lr:.3g}."))


def _gradient_norm(run: Run, history: History) -> str:
    series = history.series("train", "grad_norm")
    limit = run.recipe.clip_norm
    svg = draw(
        "grad-norm",
        f"Line chart: {_words.told('gradient norm', series)}.",
        [Curve(series, "train", faint=True), Curve(history.medians("grad_norm"), "train")],
        level=limit,
        x_end=history.plan.get("total_steps"),
    )
    caption = [key("faint", "step, before clipping"), key("train", "epoch median")]
    if limit is not None and series.finite:
        clipped = sum(v > limit for v in series.finite) / len(series.finite)
        caption.append(key("level", f"clipped at {limit:g} ({clipped:.0%} of steps)"))
    return figure("Gradient norm", svg, " ".join(caption))


def _gradients(history: History) -> str:
    """Where in the model the gradients are; nothing where nobody looked."""
    columns = layers(history.monitor)
    found = [v for _, norms in columns for v in norms.values() if v > 0]
    if not found:
        return ""
    caption = f"Norm before clipping, from {min(found):.2g} (faint) to {max(found):.2g}."
    return figure("Gradients by layer", heat_map(columns), escape(caption))


def _range_test(test: RangeTest) -> str:
    """The sweep, its band where it has one, and what was read from it."""
    found = titled("What it says", pairs("Range test", _words.range_rows(test)))
    if not test.lrs:  # diverged at once: there is nothing to draw
        return found
    smoothed = Series(list(test.lrs), list(test.smoothed))
    keys = [key("faint", "loss"), key("train", "smoothed")]
    marks = []
    if test.steepest is not None and test.suggestion is not None:
        marks = [
            Mark(test.steepest, _height(smoothed, test.steepest), "train"),
            Mark(test.suggestion, _height(smoothed, test.suggestion), "accent"),
        ]
        keys += [key("ring", "steepest fall"), key("ring accent", "suggestion")]
        keys.append(key("accent", "band"))
    svg = draw(
        "range-test",
        _words.range_told(test),
        [
            Curve(Series(list(test.lrs), list(test.losses)), "train", faint=True),
            Curve(smoothed, "train"),
        ],
        x_label="learning rate",
        log_x=True,
        band=test.band,
        marks=marks,
    )
    return grid(figure("Loss over learning rate", svg, " ".join(keys)), found)


def _height(curve: Series, x: float) -> float:
    """The value of a curve at its point nearest to ``x`` (on a logarithmic axis)."""
    nearest = min(range(len(curve.steps)), key=lambda i: abs(math.log(curve.steps[i] / x)))
    return curve.values[nearest]
