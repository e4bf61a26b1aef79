"""A comparison of optimizers as one page: the answer first, then what it rests on."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from html import escape
from typing import TYPE_CHECKING, Literal

from . import _plots, _words
from ._html import figure, grid, key, pairs, scrolling_table, section, settings, titled
from ._page import filled

if TYPE_CHECKING:
    from ..training import Recipe
    from ..tuning import Comparison
    from ..tuning.outcome import Outcome

__all__ = ["comparison_page"]


def comparison_page(comparison: Comparison) -> str:
    """The page as text."""
    headline, _, rest = comparison.answer.partition(": ")
    short = headline if len(headline) < len(comparison.answer) else comparison.answer
    named = any(rest.startswith(row.label) for row in comparison.rows)
    lede = f"{rest if named else rest[:1].upper() + rest[1:]} {comparison.by_the_clock}"
    return filled(
        "Downslope comparison of optimizers",
        short.rstrip("."),
        lede,
        _numbers(comparison),
        (
            section("Time to target", _times(comparison)),
            section("Curves", _curves(comparison)),
            section("In numbers", _table(comparison)),
            section("Tuning", _tuning(comparison)),
            section("Recipes", _recipes(comparison)),
            section("Environment", _environment(comparison)),
        ),
        comparison.path,
    )


def _numbers(comparison: Comparison) -> Iterator[tuple[str, str, str]]:
    plan = comparison.plan
    better = "higher" if plan["higher_is_better"] else "lower"
    source = "as given" if plan["goal"] is not None else "from the tuning runs"
    yield f"Target {plan['metric']}", f"{comparison.target:.4g}", f"{better} is better; {source}"
    fastest = comparison.rows[0]
    reached = sum(row.reached for row in comparison.rows)
    runs = sum(map(len, comparison.runs.values()))
    yield "Fewest steps, median", _steps(fastest.steps), fastest.label
    yield "Runs that reached it", f"{reached} of {runs}", f"{len(plan['seeds'])} seeds each"
    trials = sum(map(len, comparison.trials.values()))
    yield "Trials", str(trials), "the same number for each"


def _steps(values: Sequence[float]) -> str:
    from ..tuning.statistics import middle

    found = middle(values)
    return f"{found:.0f}" if math.isfinite(found) else "missed"


def _times(comparison: Comparison) -> str:
    from ..tuning.statistics import median_interval

    steps = {row.label: row.steps for row in comparison.rows}
    intervals = {name: median_interval(values) for name, values in steps.items()}
    share = next(iter(intervals.values()))[2]
    told = "; ".join(
        f"{row.label} {', '.join(_cell(v) for v in row.steps)}" for row in comparison.rows
    )
    drawn = _plots.dots(
        "times",
        f"Dot chart of the steps to {comparison.goal}, a row an optimizer: {told}.",
        steps,
        {name: (low, high) for name, (low, high, _) in intervals.items()},
        label="steps",
    )
    profile = _plots.profile(
        "profile",
        "Staircases: share of seeds solved within a multiple of the fewest steps. "
        + "; ".join(
            f"{name} {corners[-1][1]:.0%} within {corners[-1][0]:.3g} times"
            if corners
            else f"{name} none"
            for name, corners in comparison.profile.items()
        )
        + ".",
        comparison.profile,
    )
    caption = (
        "A ring is a run, the bar is the median, and the band holds the true median with "
        f"{share:.0%} probability."
    )
    return grid(
        figure("Steps to the target", drawn, caption),
        figure("Performance profile", profile, f"Share of seeds solved. {_keys(comparison)}"),
    )


def _curves(comparison: Comparison) -> str:
    plan = comparison.plan
    metric = plan["metric"]
    drawings: list[str] = []
    wanted: list[tuple[str, Literal["metric", "loss"], float | None]] = [
        (metric, "metric", comparison.target)
    ]
    if metric != "loss":
        wanted.append(("loss", "loss", None))
    for name, field, level in wanted:
        curves = {
            row.label: [_series(o, field) for o in comparison.runs[row.label] if o.curve]
            for row in comparison.rows
        }
        values = [v for runs in curves.values() for _, vs in runs for v in vs]
        if not values:
            continue
        falls = field == "loss" or not plan["higher_is_better"]
        log = falls and min(values) > 0 and max(values) / min(values) > 30
        svg = _plots.spreads(
            f"curve-{len(drawings)}",
            f"Line chart of the validation {name} over the steps. {_ends(curves)}",
            curves,
            log_y=log,
            level=level,
        )
        caption = _keys(comparison)
        if level is not None:
            caption += " " + key("level", f"target {level:.4g}")
        drawings.append(figure(f"Validation {name}", svg, caption))
    told = (
        "<p>The line is the median over the seeds; the band reaches from the lowest to the "
        "highest.</p>"
    )
    return f"{told}\n{grid(*drawings)}" if drawings else ""


def _series(outcome: Outcome, field: Literal["metric", "loss"]) -> tuple[list[float], list[float]]:
    return [float(p.step) for p in outcome.curve], [getattr(p, field) for p in outcome.curve]


def _ends(curves: dict[str, list[tuple[list[float], list[float]]]]) -> str:
    ends = {name: sorted(values[-1] for _, values in runs) for name, runs in curves.items() if runs}
    return (
        "At the end: "
        + "; ".join(f"{n} from {v[0]:.4g} to {v[-1]:.4g}" for n, v in ends.items())
        + "."
    )


def _keys(comparison: Comparison) -> str:
    return " ".join(key(_plots.lane(k), row.label) for k, row in enumerate(comparison.rows))


def _table(comparison: Comparison) -> str:
    head = comparison.heads()
    rows = [
        [*comparison.cells(row), f"{row.reached} of {len(comparison.plan['seeds'])}"]
        for row in comparison.rows
    ]
    note = (
        "<p>Steps and seconds: the median and the interval that holds it. Seconds are steps times "
        "the median step time of the run, with runs side by side: they compare here, not with "
        "other machines.</p>"
    )
    table = scrolling_table("In numbers", ["optimizer", *head[1:], "reached"], rows)
    return f"{note}\n{table}"


def _tuning(comparison: Comparison) -> str:
    """Every trial: what it had, what it held, how it ended."""
    rows = []
    for label, trials in comparison.trials.items():
        for number, (recipe, outcome) in enumerate(trials):
            held = outcome.held()
            rows.append(
                [
                    label,
                    str(number),
                    f"{recipe.lr:.3g}",
                    _words.shown(recipe.optimizer_arguments()),
                    "none" if held is None else f"{held:.4g}",
                    f"{outcome.ending}{': ' * bool(outcome.finding)}{outcome.finding}",
                ]
            )
    if not rows:
        return ""
    head = ["optimizer", "trial", "lr", "arguments", f"{comparison.plan['metric']} held", "ending"]
    table = scrolling_table("Trials", head, rows)
    return f"<details>\n<summary>All {len(rows)} trials, in numbers</summary>\n{table}\n</details>"


def _recipes(comparison: Comparison) -> str:
    """The fastest one's recipe in full, of the others what is not the default's."""
    blocks = [
        titled(row.label, pairs(f"Recipe of {row.label}", _different(row.recipe)))
        for row in comparison.rows
    ]
    first = comparison.rows[0]
    full = settings(f"All of {first.label}'s recipe", _words.rows_of(first.recipe))
    return (
        f"{grid(*blocks)}\n<details>\n<summary>All settings of {escape(first.label)}</summary>\n"
        f"{full}\n</details>"
    )


def _different(recipe: Recipe) -> Iterator[tuple[str, str]]:
    """What a recipe says that the default leaves open or has otherwise, but for the seed."""
    for name, _, value, default, differs in _words.rows_of(recipe):
        if name in ("optimizer", "lr", "weight_decay", "hyperparameters", "max_steps") or (
            differs and name not in ("seed", "validate_steps")
        ):
            yield name, f"{value} (default {default})" if differs else value


def _environment(comparison: Comparison) -> str:
    rows = [*_words.rows_of_environment(comparison.environment)]
    return grid(
        titled("Machine and versions", pairs("Environment", rows)),
        titled(
            "What was asked",
            pairs(
                "Plan",
                [
                    ("task", str(comparison.plan["task"])),
                    ("seeds", _words.shown(", ".join(map(str, comparison.plan["seeds"])))),
                    ("trials of each", str(comparison.plan["trials"])),
                    ("searched", ", ".join(comparison.plan["search"])),
                    ("parameters", f"{comparison.plan['parameters']:,}"),
                ],
            ),
        ),
    )


def _cell(value: float) -> str:
    return f"{value:.0f}" if math.isfinite(value) else "missed"
