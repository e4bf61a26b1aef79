"""A search for a recipe as one page: the answer first, then what it rests on."""

from __future__ import annotations

from collections.abc import Iterator
from html import escape
from statistics import fmean
from typing import TYPE_CHECKING

from . import _plots, _words
from ._html import figure, grid, key, pairs, scrolling_table, section, settings, titled
from ._page import filled

if TYPE_CHECKING:
    from ..tuning import Study
    from ..tuning.study import Tried

__all__ = ["study_page"]

LACKING = "1 - "  # before the name of a decay rate, whose scale is that of what it lacks of 1
MOST = 4  # slices that are drawn
SHOWN = 200  # trials in the table


def study_page(study: Study) -> str:
    """The page as text."""
    headline, _, rest = study.answer.partition(": ")
    return filled(
        "Downslope search for a recipe",
        headline.rstrip("."),
        f"{rest[:1].upper()}{rest[1:]}" if rest else study.answer,
        _numbers(study),
        (
            section("Judgement", _judgement(study)),
            section("Trials", _trials(study)),
            section("What the search changed", _changes(study)),
            section("Recipe", settings("Recipe", _words.rows_of(study.better))),
            section("Environment", _environment(study)),
        ),
        study.path,
    )


def _numbers(study: Study) -> Iterator[tuple[str, str, str]]:
    what = study.what
    if study.verdict is not None:
        yield "Best recipe", f"{fmean(study.verdict.best):.4g}", f"{what}, other folds"
        yield "Default recipe", f"{fmean(study.verdict.default):.4g}", "on the same"
    given_up = sum(t.value is None for t in study.trials)
    yield "Trials", str(len(study.trials)), f"{given_up} given up"
    places = len({t.by for t in study.trials})
    yield (
        "Time in trials",
        _words.duration(sum(t.seconds for t in study.trials)),
        (f"{places} process{'es' * (places > 1)}"),
    )


def _judgement(study: Study) -> str:
    verdict = study.verdict
    if verdict is None:
        return f"<p>{escape(study.answer)}</p>"
    both = list(zip(verdict.best, verdict.default, strict=True))
    told = "; ".join(f"{best:.4g} against {default:.4g}" for best, default in both)
    svg = _plots.pairs_of(
        "pairs",
        f"Pairs of {study.what}, the best trial's recipe against the default: {told}.",
        both,
        label=study.what,
    )
    caption = f"{key('accent', 'best trial')} {key('ring', 'default')} A row is a pair of runs."
    rows = [
        ("mean, best trial", f"{fmean(verdict.best):.5g}"),
        ("mean, default", f"{fmean(verdict.default):.5g}"),
        ("pairs", str(len(both))),
        ("p, corrected paired t-test", f"{verdict.p:.2g}"),
        ("beaten", "yes" if verdict.beaten else "no"),
    ]
    return grid(
        figure("Best against default", svg, caption), titled("In numbers", pairs("Judgement", rows))
    )


def _trials(study: Study) -> str:
    done = [t for t in study.trials if t.value is not None]
    if not done:
        return ""
    drawings = [_history(study, done)]
    if study.importance:
        told = "; ".join(f"{name} {share:.0%}" for name, share in study.importance.items())
        svg = _plots.bars("importance", f"Importance of parameters: {told}.", study.importance)
        drawings.append(figure("Which parameter matters", svg, "Optuna's estimate."))
    drawings += _slices(study, done)
    return f"{grid(*drawings)}\n{_table(study)}"


def _history(study: Study, done: list[Tried]) -> str:
    higher = study.plan["higher_is_better"]
    best: list[tuple[float, float]] = []
    for trial in done:
        value = _value(trial)
        if not best or ((value > best[-1][1]) == higher and value != best[-1][1]):
            best.append((float(trial.number), value))
    best.append((float(max(t.number for t in study.trials)), best[-1][1]))
    values = [_value(t) for t in done]
    svg = _plots.scatter(
        "history",
        f"{study.what} by trial: {len(done)} trials from {min(values):.4g} to {max(values):.4g}; "
        f"the best is {best[-1][1]:.4g}.",
        [(float(t.number), _value(t)) for t in done],
        label="trial",
        log_y=_wide(values),
        best=best,
        level=study.baseline,
    )
    caption = f"{key('train', 'best so far')} {key('level', 'the recipe as it was')}"
    return figure(f"{study.what[:1].upper()}{study.what[1:]} by trial", svg, caption)


def _slices(study: Study, done: list[Tried]) -> Iterator[str]:
    """The value over each parameter, those that matter most."""
    sign = -1 if study.plan["higher_is_better"] else 1
    found = list(dict.fromkeys(name for _, name, *_ in study.dimensions))
    rank = {name.removeprefix(LACKING): share for name, share in study.importance.items()}
    for k, name in enumerate(sorted(found, key=lambda n: -rank.get(n, 0.0))[:MOST]):
        having = [t for t in done if name in t.params]
        if not having:
            continue
        best = min(having, key=lambda t: sign * _value(t))
        lacking = any(d[1] == name and d[4] for d in study.dimensions)
        label = f"{LACKING}{name}" if lacking else name
        points = [(_at(t, name, lacking=lacking), _value(t)) for t in having]
        svg = _plots.scatter(
            f"slice-{k}",
            f"{study.what} over {label}, best at {_at(best, name, lacking=lacking):.3g}.",
            points,
            label=label,
            log_x=min(x for x, _ in points) > 0,
            log_y=_wide([y for _, y in points]),
            emphasised=(_at(best, name, lacking=lacking), _value(best)),
        )
        yield figure(f"By {name}", svg, key("ring accent", f"best trial, number {best.number}"))


def _table(study: Study) -> str:
    names = list(dict.fromkeys(n for t in study.trials for n in t.params))
    sign = -1 if study.plan["higher_is_better"] else 1
    order = sorted(
        study.trials,
        key=lambda t: (t.value is None, sign * (t.value if t.value is not None else 0.0), t.number),
    )
    rows = [
        [
            str(t.number),
            "none" if t.value is None else f"{t.value:.5g}",
            *(_words.evidence(t.params.get(n, "")) for n in names),
            str(t.steps),
            f"{t.ending}{': ' * bool(t.finding)}{t.finding}",
        ]
        for t in order[:SHOWN]
    ]
    table = scrolling_table("Trials", ["trial", study.what, *names, "steps", "ending"], rows)
    return f"<details>\n<summary>The trials, best first</summary>\n{table}\n</details>"


def _changes(study: Study) -> str:
    changed = [
        (name, f"{_words.shown(now)} (default recipe {_words.shown(before)})")
        for name, (before, now) in study.better.differences(study.default).items()
    ]
    return pairs("Changes", changed) or "<p>Nothing: the default recipe is kept.</p>"


def _environment(study: Study) -> str:
    plan = study.plan
    asked = [
        ("task", str(plan["task"])),
        ("optimizers", ", ".join(plan["recipes"])),
        ("searched", ", ".join(dict.fromkeys(n for _, n, *_ in study.dimensions))),
        ("folds", str(plan["folds"])),
        ("sampler", str(plan["sampler"])),
        ("seed", str(plan["seed"])),
    ]
    return grid(
        titled(
            "Machine and versions",
            pairs("Environment", _words.rows_of_environment(plan["environment"])),
        ),
        titled("What was asked", pairs("Plan", asked)),
    )


def _value(trial: Tried) -> float:
    assert trial.value is not None
    return trial.value


def _at(trial: Tried, name: str, *, lacking: bool) -> float:
    value = float(trial.params[name])
    return 1 - value if lacking else value


def _wide(values: list[float]) -> bool:
    return min(values) > 0 and max(values) / min(values) > 10
